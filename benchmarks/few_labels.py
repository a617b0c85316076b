"""FaceNet2ExpNet where labels are few: from scratch, fine-tuned face net, FaceNet2ExpNet, and EAC after it.

    python benchmarks/few_labels.py --root FERPLUS --weights mobilefacenet_ms1m.pt --unlabelled FACES --out RUNS.jsonl

One line of JSON a run; runs that the file holds already are not run again, so that several processes may share the
work (``--seeds 0`` here, ``--seeds 1 2`` there). ``--table`` prints the table of what is there.
"""

import argparse
import functools
import hashlib
import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eac_lightning import (
    ClassificationModule,
    EACModule,
    FaceNet2ExpNetModule,
    FERDataModule,
    FERModule,
    SymmetricNoise,
    create_backbone,
)
from eac_lightning._lightning import L
from eac_lightning.models.teacher import FrozenTeacher

SIZE = 48
BATCH, BATCH_STAGE1 = 32, 64
EPOCHS = {50: 30, 200: 15, 1000: 4}  # of training on labels, by faces a class
STAGE1 = {50: 40, 200: 20, 1000: 6}  # of the regression on the labelled faces alone
STAGE1_UNLABELLED = 3
METHODS = {
    "scratch": "student from scratch",
    "fine_tuned": "fine-tuned face net",
    "facenet2expnet": "FaceNet2ExpNet",
    "facenet2expnet_unlabelled": "FaceNet2ExpNet, unlabelled faces too",
    "facenet2expnet_eac": "FaceNet2ExpNet, unlabelled faces too, + EAC",
}


class RememberingTeacher:
    """Asks a teacher once a picture: its answers follow from the pixels alone, and it sees each face many times."""

    def __init__(self, teacher: FrozenTeacher) -> None:
        self.teacher, self.num_features = teacher, teacher.num_features
        self.known: dict[bytes, Tensor] = {}

    def __call__(self, image: Tensor) -> Tensor:
        keys = [
            hashlib.blake2b(face.numpy().tobytes(), digest_size=16).digest()
            for face in image[:, :1].half().contiguous()
        ]
        new = [position for position, key in enumerate(keys) if key not in self.known]
        for start in range(0, len(new), 32):
            part = new[start : start + 32]
            self.known |= zip([keys[position] for position in part], self.teacher(image[part]).half(), strict=True)
        return torch.stack([self.known[key] for key in keys]).float()


@functools.cache
def teacher(weights: Path, layer: str | None = None, size: int | None = None) -> RememberingTeacher:
    return RememberingTeacher(FrozenTeacher(create_backbone("mobilefacenet", str(weights)), layer, size))


def data_module(
    arguments: argparse.Namespace, run: dict[str, Any], unlabelled: bool = False, batch: int = BATCH
) -> FERDataModule:
    return FERDataModule(
        arguments.root,
        layout="ferplus",
        image_size=SIZE,
        batch_size=batch,
        augment="flip",
        noise=SymmetricNoise(run["noise"]) if run["noise"] else None,
        per_class=run["per_class"],
        unlabelled_root=str(arguments.unlabelled) if unlabelled else None,
        seed=run["seed"],
    )


def fit(module: FERModule, data: FERDataModule, epochs: int, folder: Path) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=epochs,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=data)
    return trainer


def student(arguments: argparse.Namespace, run: dict[str, Any], unlabelled: bool) -> Path:
    """Train stage 1 if that was not done before, and return the file of its student."""
    # The regression reads no labels: with all faces it is the same for every number of labels and every noise.
    name = f"unlabelled_seed{run['seed']}" if unlabelled else f"{run['per_class']}_seed{run['seed']}"
    folder: Path = arguments.students / name
    if not (folder / "student.safetensors").is_file():
        epochs = STAGE1_UNLABELLED if unlabelled else STAGE1[run["per_class"]]
        teach(arguments, run, folder, unlabelled, epochs)
    return folder / "student.safetensors"


def teach(
    arguments: argparse.Namespace, run: dict[str, Any], folder: Path, unlabelled: bool, epochs: int, **settings: Any
) -> dict[str, float]:
    """Run stage 1 alone, into ``folder``, and return its figures; they are kept in ``stage1.json`` too."""
    data = data_module(arguments, {**run, "noise": 0.0}, unlabelled, BATCH_STAGE1)
    L.seed_everything(run["seed"])
    module = FaceNet2ExpNetModule(
        class_names=list(data.class_names),
        image_size=SIZE,
        teacher="mobilefacenet",
        teacher_weights=str(arguments.weights),
        stage1_epochs=epochs,
        lr_decay=0.1 ** (1 / epochs),
        seed=run["seed"],
        **{"stage1_lr": 1e-2, **settings},
    )
    asked = (settings.get("teacher_layer"), settings.get("teacher_size"))
    module._teacher = teacher(arguments.weights, *asked)  # type: ignore[assignment]
    started = time.perf_counter()
    trainer = fit(module, data, epochs, folder)
    figures = {key: float(value) for key, value in trainer.callback_metrics.items() if "regression" in key}
    figures["seconds"] = round(time.perf_counter() - started, 1)
    (folder / "stage1.json").write_text(json.dumps({"epochs": epochs, **settings, **figures}) + "\n")
    return figures


def create(arguments: argparse.Namespace, run: dict[str, Any], data: FERDataModule) -> FERModule:
    common: dict[str, Any] = {
        "class_names": list(data.class_names),
        "image_size": SIZE,
        "seed": run["seed"],
        "lr_decay": 0.01 ** (1 / EPOCHS[run["per_class"]]),  # to a hundredth, however many epochs
    }
    method = run["method"]
    weights = None
    if method.startswith("facenet2expnet"):
        weights = str(student(arguments, run, unlabelled=method != "facenet2expnet"))
    L.seed_everything(run["seed"])
    if method == "fine_tuned":
        return ClassificationModule(backbone="mobilefacenet", weights=str(arguments.weights), lr=3e-3, **common)
    if method.endswith("_eac"):
        return EACModule(backbone="expnet", weights=weights, lr=1e-3, consistency_weight=1.0, **common)
    return ClassificationModule(backbone="expnet", weights=weights, lr=1e-3, **common)


def execute(arguments: argparse.Namespace, run: dict[str, Any]) -> dict[str, Any]:
    data = data_module(arguments, run)
    module = create(arguments, run, data)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = fit(module, data, EPOCHS[run["per_class"]], Path(folder))
        seconds = time.perf_counter() - started
        figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
        figures |= trainer.test(module, datamodule=data, verbose=False)[0]
    return {**run, "faces": len(data.dataset("train")), "seconds": round(seconds, 1), "figures": figures}


def table(lines: list[dict[str, Any]], figure: str = "test/accuracy") -> str:
    cells: dict[tuple[str, float, int], list[float]] = {}
    for line in lines:
        cells.setdefault((line["method"], line["noise"], line["per_class"]), []).append(100 * line["figures"][figure])
    columns = sorted({key[1:] for key in cells})
    head = " | ".join(f"{size} a class{f', {noise:.0%} wrong' if noise else ''}" for noise, size in columns)
    rows = [f"| {figure} | {head} |", "|---|" + "---|" * len(columns)]
    for method, text in METHODS.items():
        values = [cells.get((method, *column), []) for column in columns]
        rows.append(f"| {text} | {' | '.join(map(_mean, values))} |")
    return "\n".join(rows)


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def be_quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)  # one process a core


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, help="the folder of fer2013.csv and fer2013new.csv")
    parser.add_argument("--weights", type=Path, help="the face-recognition network's weights")
    parser.add_argument("--unlabelled", type=Path, help="a folder of training faces, labels not read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data(parser)
    parser.add_argument("--students", type=Path, default=Path("runs/few_labels"), help="where stage 1 is kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results/few_labels.jsonl"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--per-class", type=int, nargs="+", default=list(EPOCHS))
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--stage1", action="store_true", help="train only the students of stage 1")
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        be_quiet()
        grid = [
            {"method": method, "per_class": size, "noise": noise, "seed": seed}
            for seed in arguments.seeds
            for size in arguments.per_class
            for noise in arguments.noise
            for method in arguments.methods
        ]
        for run in grid:
            if arguments.stage1:
                if run["method"].startswith("facenet2expnet"):
                    student(arguments, run, unlabelled=run["method"] != "facenet2expnet")
                continue
            if any(run.items() <= line.items() for line in read(arguments.out)):
                continue
            result = execute(arguments, run)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            with arguments.out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(
                run,
                result["seconds"],
                {k: round(result["figures"][f"{k}/accuracy"], 4) for k in ("val", "test")},
                flush=True,
            )
    for figure in ("test/accuracy", "test/mean_class_accuracy"):
        print(table(read(arguments.out), figure) + "\n")


if __name__ == "__main__":
    main()
