"""Classes of which some are rare: cross-entropy, class weights, balanced sampling, logit adjustment, focal loss.

    python benchmarks/imbalance.py --root FER2013 --weights mobilefacenet_ms1m.pt --faces 3000 --epochs 10

FER2013's own labels, of which 1.5 % are disgust. All methods have the same faces, start and schedule, and mirrored
faces as the only augmentation; the figures are those of the last epoch on the whole test split. One line of JSON a
run; runs that the file holds already are not run again, so that several processes may share the work (``--seeds 0``
here, ``--seeds 1 2`` there). ``--table`` prints the table of what is there.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from few_labels import be_quiet, fit, read
from measuring import markdown

from eac_lightning import ClassificationModule, FERDataModule
from eac_lightning._lightning import L

METHODS: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "class weights": {"loss_options": {"class_weights": "balanced"}},
    "balanced sampling": {"sampler": "balanced"},
    "logit adjustment": {"loss": "logit_adjustment"},
    "focal loss": {"loss": "focal"},
    "focal loss, class weights": {"loss": "focal", "loss_options": {"class_weights": "balanced"}},
}
FIGURES = {
    "accuracy": "test/accuracy",
    "mean-class accuracy": "test/mean_class_accuracy",
    "macro F1": "test/macro_f1",
    "macro precision": "test/macro_precision",
    "ECE": "test/ece",
}
LAST_LR = 0.03  # of the first


def execute(arguments: argparse.Namespace, run: dict[str, Any]) -> dict[str, Any]:
    settings = dict(METHODS[run["method"]])
    data = FERDataModule(
        arguments.root,
        layout="fer2013",
        image_size=run["size"],
        batch_size=32,
        augment="flip",
        subset=run["faces"],
        sampler=settings.pop("sampler", "shuffle"),
        seed=run["seed"],
    )
    L.seed_everything(run["seed"])
    module = ClassificationModule(
        class_names=list(data.class_names),
        backbone="mobilefacenet",
        weights=None if arguments.weights is None else str(arguments.weights),
        image_size=run["size"],
        lr=3e-3,
        lr_decay=LAST_LR ** (1 / run["epochs"]),
        seed=run["seed"],
        **settings,
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = fit(module, data, run["epochs"], Path(folder))
        seconds = time.perf_counter() - started
        figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
        figures |= trainer.test(module, datamodule=data, verbose=False)[0]
    counts = dict(zip(data.class_names, data.class_counts, strict=True))
    return {**run, "class_counts": counts, "seconds": round(seconds, 1), "figures": figures}


def table(lines: list[dict[str, Any]]) -> str:
    """Return a table for each start, number of faces, epochs and pixels, in per cent; mean and deviation over seeds."""
    settings = sorted({_setting(line) for line in lines})
    return "\n\n".join(_table([line for line in lines if _setting(line) == setting]) for setting in settings)


def _setting(line: dict[str, Any]) -> tuple[bool, int, int, int]:
    return line["pretrained"], line["faces"], line["epochs"], line["size"]


def _table(lines: list[dict[str, Any]]) -> str:
    counts = lines[0]["class_counts"]
    rarest = min(counts, key=counts.__getitem__)
    columns = {**FIGURES, f"recall of {rarest}": f"test/recall/{rarest}"}
    rows = []
    for method in METHODS:
        found = [line["figures"] for line in lines if line["method"] == method]
        if found:
            rows.append([method, *(_mean([100 * figures[key] for figures in found]) for key in columns.values())])
    pretrained, faces, epochs, size = _setting(lines[0])
    start = "pretrained" if pretrained else "from scratch"
    head = f"{faces:,} faces ({rarest}: {counts[rarest]}), {size} px, {epochs} epochs, {start}"
    return head + "\n\n" + markdown(["method", *columns], rows)


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the folder of fer2013.csv")
    parser.add_argument("--weights", type=Path, help="the face-recognition network's weights")
    parser.add_argument("--out", type=Path, default=Path("docs/results/imbalance.jsonl"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--faces", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=48, help="pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        be_quiet()
        for seed in arguments.seeds:
            for method in arguments.methods:
                run = {"method": method, "faces": arguments.faces, "epochs": arguments.epochs, "size": arguments.size,
                       "seed": seed, "pretrained": arguments.weights is not None}  # fmt: skip
                if any(run.items() <= line.items() for line in read(arguments.out)):
                    continue
                result = execute(arguments, run)
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                with arguments.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                shown = {name: round(100 * result["figures"][key], 1) for name, key in FIGURES.items()}
                print(run, result["seconds"], shown, flush=True)
    print(table(read(arguments.out)))


if __name__ == "__main__":
    main()
