"""Mixing augmentations × network on FER2013, each cell a recipe as a person would run it.

    python benchmarks/mixing.py --root FER2013 --weights mobilefacenet=FILE vit_tiny=FILE    # reduced, on two cores
    python benchmarks/mixing.py --root FER2013 --weights mobilefacenet=FILE --full           # whole, on a GPU

A cell is ``eac fit`` and a test of its last epoch, in a folder of its own under ``--runs``. A finished cell is not run
again and one that was broken off goes on, so that several processes may share the work (``--seeds 0`` here,
``--seeds 1 2`` there). At the end comes the table of all that is there; ``--report`` runs nothing.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from measuring import markdown
from noise import execute
from noise_report import is_finished

from eac_lightning.cli.training import EACCLI

MIXINGS = ("plain", "cutout", "mixup", "cutmix", "fmix")
REDUCED = {
    "mobilefacenet": [
        "--trainer.max_epochs=12", "--data.image_size=48", "--model.lr=3.0e-3", "--model.lr_decay=0.8",
    ],
    "vit_tiny": [
        "--trainer.max_epochs=12", "--model.backbone_options={patch_size: 8, depth: 6}", "--model.lr=3.0e-4",
        "--model.lr_decay=0.8",
    ],
}  # fmt: skip
"""What is changed about the recipes for two cores: the same for every mixing of a network."""

COMMON = [
    "--data.layout=fer2013", "--data.subset=6000", "--trainer.precision=bf16-mixed", "--trainer.limit_val_batches=16",
    "--trainer.num_sanity_val_steps=0",
]  # fmt: skip
FIGURES = {"accuracy": "accuracy", "macro_precision": "precision", "mean_class_accuracy": "recall", "macro_f1": "F1"}


def run(asked: argparse.Namespace) -> None:
    """Run the cells that are not there yet."""
    for seed in asked.seeds:
        for network in asked.networks:
            for mixing in asked.mixings:
                folder = asked.runs / network / mixing / str(seed)
                options = [] if asked.full else [*COMMON, *REDUCED[network]]
                # Without the recipes' callbacks the calibration error is that of the network as it was trained.
                recipe = ["-c", f"fer2013_{network}_{mixing}", "--trainer.callbacks=[]"]
                options = [*recipe, *options, f"--seed_everything={seed}", *asked.options]
                settings = argparse.Namespace(
                    root=asked.root, threads=asked.threads, weights=asked.weights.get(network)
                )
                execute(settings, folder, options, EACCLI, "auto" if asked.full else "cpu")


def read(runs: Path) -> list[dict[str, Any]]:
    """Return the figures of every finished cell."""
    cells = []
    for path in sorted(runs.glob("*/*/*/results.json")):
        if is_finished(path.parent):
            network, mixing, seed = path.parent.relative_to(runs).parts
            results = json.loads(path.read_text())
            fit = results["fit"]
            cells.append({
                "network": network, "mixing": mixing, "seed": int(seed), "test": results["test"],
                "seconds": fit["seconds"], "epochs": len(fit["history"]),
                "val_accuracy": [epoch["val/accuracy"] for epoch in fit["history"]],
            })  # fmt: skip
    return cells


def table(cells: list[dict[str, Any]]) -> str:
    """Return means and standard deviations over the seeds, in per cent."""
    rows = []
    for network in dict.fromkeys(cell["network"] for cell in cells):
        for mixing in MIXINGS:
            group = [cell for cell in cells if (cell["network"], cell["mixing"]) == (network, mixing)]
            if group:
                values = [_spread([100 * cell["test"][f"test/{name}"] for cell in group]) for name in (*FIGURES, "ece")]
                minutes = min(cell["seconds"] for cell in group) / 60  # what else the machine does only adds
                rows.append([network, mixing, *values, f"{minutes:.1f}", len(group)])
    return markdown(["network", "mixing", *FIGURES.values(), "ECE", "minutes", "seeds"], rows)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="FER2013: its CSV or class folders")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NETWORK=FILE", help="what a network begins from")
    parser.add_argument("--runs", type=Path, default=Path("runs/mixing"))
    parser.add_argument("--networks", nargs="+", default=list(REDUCED), choices=list(REDUCED))
    parser.add_argument("--mixings", nargs="+", default=list(MIXINGS), choices=MIXINGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--full", action="store_true", help="the recipes as they are: for a GPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", action="append", default=[], help="more for `eac fit`, such as --data.subset=99")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    asked = parser.parse_args()
    asked.weights = dict(pair.split("=", 1) for pair in asked.weights)
    if not asked.report:
        run(asked)
    cells = read(asked.runs)
    if asked.json:
        asked.json.write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    print(table(cells))


if __name__ == "__main__":
    main()
