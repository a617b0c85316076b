"""What FaceNet2ExpNet's first stage depends on: one setting changed at a time.

    python benchmarks/stage1_settings.py --root FERPLUS --weights mobilefacenet_ms1m.pt --unlabelled FACES

200 labels a class, no noise, seed 0: stage 1 on the labelled faces alone unless the variant says otherwise, then
cross-entropy as in ``few_labels.py``. Accuracies are of the validation split. Variants that the file holds already are
not run again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import few_labels

from eac_lightning import ClassificationModule
from eac_lightning._lightning import L

RUN = {"per_class": 200, "noise": 0.0, "seed": 0}
EPOCHS = few_labels.STAGE1[200]
VARIANTS: dict[str, dict[str, Any]] = {
    "as in the table": {},
    "teacher sees the faces at 48 px": {"teacher_size": 48},
    "student's map 3x3 (stride 16)": {"student_stride": 16},
    "learning rate 1e-3": {"stage1_lr": 1e-3},
    "L1 norm": {"norm": 1},
    "sum, learning rate 1e-2": {"reduction": "sum"},
    "layer features.12, before its ReLU": {"teacher_layer": "features.12", "student_signed": True},
    "stage 1 three times as long": {"epochs": 3 * EPOCHS},
    "unlabelled faces too, 3 epochs": {"unlabelled": True, "epochs": 3},
    "unlabelled faces too, 9 epochs": {"unlabelled": True, "epochs": 9},
}


def execute(arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, float]:
    chosen = {"unlabelled": False, "epochs": EPOCHS, **settings}
    folder = arguments.students / "settings"
    stage1 = few_labels.teach(arguments, RUN, folder, **chosen)
    data = few_labels.data_module(arguments, RUN)
    epochs = few_labels.EPOCHS[200]
    L.seed_everything(0)
    module = ClassificationModule(
        class_names=list(data.class_names),
        backbone="expnet",
        weights=str(folder / "student.safetensors"),
        lr=1e-3,
        lr_decay=0.01 ** (1 / epochs),
        image_size=few_labels.SIZE,
        seed=0,
    )
    figures = few_labels.fit(module, data, epochs, folder / "refined").callback_metrics
    return {**stage1, **{name: float(figures[f"val/{name}"]) for name in ("accuracy", "mean_class_accuracy")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    few_labels.add_data(parser)
    parser.add_argument("--students", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/stage1_settings.json"))
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    few_labels.be_quiet()
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for name in arguments.only:
        if name not in results:
            results[name] = execute(arguments, VARIANTS[name])
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print("| setting | regression, val | accuracy | mean-class |\n|---|---|---|---|")
    for name, row in results.items():
        accuracies = " | ".join(f"{100 * row[key]:.1f}" for key in ("accuracy", "mean_class_accuracy"))
        print(f"| {name} | {row['val/regression']:.4f} | {accuracies} |")


if __name__ == "__main__":
    main()
