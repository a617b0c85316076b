"""Out of distribution: which score tells what from the faces that a network was trained on.

    python benchmarks/ood.py --root FERPLUS --weights mobilefacenet_ms1m.pt --photos PHOTOS

Far: noise, textures and backgrounds of photographs, and synthetic faces, against a network of all seven classes. Near:
the faces of one class, against a network that was trained without it, for each class in turn. The inside is always the
test split; a held-out class's faces are those of validation and test. The scores are fitted on the training faces.

One line of JSON for each network, seed and outside; what the file holds already is not run again. At the end come the
tables of all that is there with these settings; ``--table`` runs nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_labels import be_quiet, read
from measuring import markdown
from ood_pictures import DRAWN, backgrounds
from torch import Tensor

from eac_lightning import ClassificationModule, FERDataModule, FERModule
from eac_lightning._lightning import L
from eac_lightning.cli.ood import features_and_logits
from eac_lightning.ood import (
    Energy,
    KNearestNeighbours,
    Mahalanobis,
    MaximumSoftmax,
    OODScore,
    RelativeMahalanobis,
    ood_report,
)

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FAR = (*DRAWN, "backgrounds")
BATCH = 64
LR, LAST_LR = 3e-3, 0.1  # the learning rate falls to a tenth, however many epochs

Said = dict[str, Tensor]
"""``"features"`` (N, C) and ``"logits"`` (N, K) of some pictures."""


def scores(shrinkage: float) -> dict[str, OODScore]:
    return {
        "relative Mahalanobis": RelativeMahalanobis(shrinkage),
        "relative Mahalanobis, normalised": RelativeMahalanobis(shrinkage, normalize=True),
        "Mahalanobis": Mahalanobis(shrinkage),
        "Mahalanobis, normalised": Mahalanobis(shrinkage, normalize=True),
        "10th nearest neighbour": KNearestNeighbours(),
        "maximum softmax": MaximumSoftmax(),
        "energy": Energy(),
    }


def data_module(arguments: argparse.Namespace, classes: list[str], seed: int) -> FERDataModule:
    return FERDataModule(
        arguments.root,
        arguments.layout,
        classes=classes,
        image_size=arguments.size,
        batch_size=BATCH,
        augment="flip",
        subset=arguments.faces,
        seed=seed,
    )


def train(arguments: argparse.Namespace, data: FERDataModule, seed: int) -> tuple[FERModule, float]:
    """Return a network trained on the data, and its accuracy on the test split."""
    L.seed_everything(seed, verbose=False)
    module = ClassificationModule(
        class_names=list(data.class_names),
        backbone=arguments.backbone,
        weights=str(arguments.weights) if arguments.weights else None,
        image_size=arguments.size,
        lr=LR,
        lr_decay=LAST_LR ** (1 / arguments.epochs),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=arguments.epochs,
            accelerator=arguments.accelerator,
            precision="bf16-mixed",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=data)
        accuracy = trainer.test(module, datamodule=data, verbose=False)[0]["test/accuracy"]
    return module.eval(), accuracy


def ask(module: FERModule, images: Tensor) -> Said:
    said = [features_and_logits(module, part) for part in images.split(BATCH)]
    features, logits = (torch.cat(parts) for parts in zip(*said, strict=True))
    return {"features": features, "logits": logits}


def faces(data: FERDataModule, split: str) -> tuple[Tensor, Tensor]:
    """Return (N, 1 or 3, S, S) uint8 faces and (N,) labels of a split."""
    dataset = data.dataset(split)
    batch = dataset[range(len(dataset))]
    return batch["image"], batch["label"]


def outsides(arguments: argparse.Namespace, network: str, names: list[str], seed: int) -> dict[str, Tensor]:
    """Return the pictures of each outside of a network."""
    if network != "all":
        data = data_module(arguments, list(CLASSES), seed)
        pairs = [faces(data, split) for split in ("val", "test")]
        held_out = CLASSES.index(network)
        return {network: torch.cat([image[label == held_out] for image, label in pairs])}
    pictures = {}
    for name in names:
        rng = np.random.default_rng([seed, FAR.index(name)])
        if name == "backgrounds":
            pictures[name] = backgrounds(arguments.photos, arguments.pictures, arguments.size, rng)
        else:
            pictures[name] = DRAWN[name](arguments.pictures, arguments.size, rng)
    return pictures


def execute(arguments: argparse.Namespace, network: str, names: list[str], seed: int) -> list[dict[str, Any]]:
    """Train a network and return a line for each outside."""
    started = time.perf_counter()
    data = data_module(arguments, [name for name in CLASSES if name != network], seed)
    module, accuracy = train(arguments, data, seed)
    seconds = round(time.perf_counter() - started, 1)
    training, labels = faces(data, "train")
    known = ask(module, training)
    fitted = {name: score.fit(known[score.reads], labels) for name, score in scores(arguments.shrinkage).items()}
    inside = ask(module, faces(data, "test")[0])
    lines = []
    for name, images in outsides(arguments, network, names, seed).items():
        outside = ask(module, images)
        figures = {
            kind: ood_report(score.score(inside[score.reads]), score.score(outside[score.reads]))
            for kind, score in fitted.items()
        }
        lines.append(
            {
                **cell(arguments, network, name, seed),
                "training_faces": len(labels),
                "inside": len(inside["logits"]),
                "outside": len(images),
                "accuracy": accuracy,
                "seconds": seconds,
                "scores": figures,
            }
        )
    return lines


def cell(arguments: argparse.Namespace, network: str, out: str, seed: int) -> dict[str, Any]:
    """Return what a line is known by."""
    return {"network": network, "out": out, "seed": seed, **settings(arguments)}


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what all lines of a table have in common."""
    names = ("layout", "backbone", "size", "epochs", "faces", "pictures", "shrinkage")
    weights = arguments.weights.name if arguments.weights else None
    return {"weights": weights, **{name: getattr(arguments, name) for name in names}}


def table(lines: list[dict[str, Any]], outs: tuple[str, ...]) -> str:
    """Return AUROC (± deviation) and FPR@95 in %, means over seeds; the best AUROC of each column in bold."""
    columns = [[line for line in lines if line["out"] == out] for out in outs]
    present = [(out, column) for out, column in zip(outs, columns, strict=True) if column]
    rows = []
    best = [max(statistics.mean(_figures(column, kind, "auroc")) for kind in scores(0)) for _, column in present]
    for kind in scores(0):
        cells = [
            _cell(_figures(column, kind, "auroc"), _figures(column, kind, "fpr95"), most)
            for (_, column), most in zip(present, best, strict=True)
        ]
        rows.append([kind, *cells])
    return markdown(["AUROC / FPR@95", *(f"{out} ({column[0]['outside']})" for out, column in present)], rows)


def _figures(column: list[dict[str, Any]], kind: str, figure: str) -> list[float]:
    return [100 * line["scores"][kind][figure] for line in column]


def _cell(aurocs: list[float], fprs: list[float], best: float) -> str:
    mean = statistics.mean(aurocs)
    shown = f"**{mean:.1f}**" if mean == best else f"{mean:.1f}"
    spread = f" ± {statistics.stdev(aurocs):.1f}" if len(aurocs) > 1 else ""
    return f"{shown}{spread} / {statistics.mean(fprs):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the data set, such as the folder of fer2013.csv and fer2013new.csv")
    parser.add_argument("--layout", default="ferplus")
    parser.add_argument("--weights", type=Path, help="the face-recognition network's weights")
    parser.add_argument("--backbone", default="mobilefacenet")
    parser.add_argument("--photos", type=Path, help="photographs for the backgrounds; without, there are none")
    parser.add_argument("--faces", type=int, default=4000, help="training faces")
    parser.add_argument("--pictures", type=int, default=1000, help="of each far outside")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shrinkage", type=float, default=0.01, help="of covariances; many networks have dead units")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=("all", *CLASSES), default=["all", *CLASSES])
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("docs/results/ood.jsonl"))
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        be_quiet()
        for seed in arguments.seeds:
            for network in arguments.networks:
                run(arguments, network, seed)
    lines = [line for line in read(arguments.out) if settings(arguments).items() <= line.items()]
    for outs in (FAR, CLASSES):
        if any(line["out"] in outs for line in lines):
            print(table(lines, outs) + "\n")


def run(arguments: argparse.Namespace, network: str, seed: int) -> None:
    """Add the lines of a network that the file does not hold."""
    wanted = [network] if network != "all" else [name for name in FAR if name != "backgrounds" or arguments.photos]
    held = read(arguments.out)
    missing = [
        name
        for name in wanted
        if not any(cell(arguments, network, name, seed).items() <= line.items() for line in held)
    ]
    if not missing:
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for line in execute(arguments, network, missing, seed):
        with arguments.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        aurocs = {kind: round(of["auroc"], 3) for kind, of in line["scores"].items()}
        print(
            network, seed, line["out"], f"accuracy {line['accuracy']:.3f}", f"{line['seconds']} s", aurocs, flush=True
        )


if __name__ == "__main__":
    main()
