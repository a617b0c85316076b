"""Methods against label noise: method × noise × seed, one start, noise draw and schedule for all of them.

    python benchmarks/noise.py --root FERPLUS --weights mobilefacenet_ms1m.pt \\
        --json docs/results/noise_benchmark.json --figures docs/images

Each cell is ``eac fit`` and a test of its last epoch, in a folder of its own under ``--runs``. A finished cell is not
run again and one that was broken off goes on, so that several processes may share the work (``--seeds 0`` here,
``--seeds 1 2`` there). At the end come the tables of all that is there; ``--report`` runs nothing.
"""

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise_report import is_finished, report

from eac_lightning.audit.record import Observations
from eac_lightning.callbacks.label_audit import LabelAuditCallback
from eac_lightning.cli.training import EACCLI, prepare_arguments, train

METHODS: dict[str, tuple[str, list[str]]] = {
    "cross-entropy": ("ce_mobilefacenet", []),
    "label smoothing": ("label_smoothing_mobilefacenet", []),
    "GCE": ("gce_mobilefacenet", []),
    "SCE": ("sce_mobilefacenet", []),
    "ELR": ("elr_mobilefacenet", []),
    "SCN": ("scn_mobilefacenet", ["--model.relabel_epoch", "3"]),  # a quarter of the way, as the paper's 10 of 40
    "RUL": ("rul_mobilefacenet", []),
    "EAC": ("eac_mobilefacenet", []),
}
NOISES: dict[str, list[str]] = {
    "clean": [],
    "symmetric_10": ["-c", "noise/symmetric_10"],
    "symmetric_20": ["-c", "noise/symmetric_20"],
    "symmetric_30": ["-c", "noise/symmetric_30"],
    # The votes are read for the draw alone: training is on the labels.
    "instance_30": ["-c", "noise/instance_30"],
}


class Recorder(LabelAuditCallback):
    """An audit that keeps every epoch's answers, for the curves: N·K half-precision numbers an epoch."""

    def __init__(self) -> None:
        super().__init__(mirror="last")
        self.logits: list[torch.Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "logits": self.logits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.logits = list(state_dict["logits"])

    def keep(self, epoch: int, seen: Observations) -> None:
        if self.record is None or epoch in self.record.epochs:
            return
        super().keep(epoch, seen)
        present = seen.columns["given"] >= 0
        self.logits.append(seen.columns["logits"][present].half())

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_fit_end(trainer, pl_module)
        np.savez_compressed(Path(trainer.default_root_dir) / "logits.npz", logits=torch.stack(self.logits).numpy())


class Cell(EACCLI):
    """A fit with a recorder."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        self.config_init[self.subcommand]["trainer"]["callbacks"] = [Recorder()]
        return super().instantiate_trainer(**kwargs)


def run(arguments: argparse.Namespace) -> None:
    for seed in arguments.seeds:
        for noise in arguments.noises:
            for method in arguments.methods:
                recipe, options = METHODS[method]
                folder = arguments.runs / noise / method.replace(" ", "_") / str(seed)
                overlays = ["-c", "data/ferplus", *NOISES[noise], "-c", arguments.budget]
                more = [*options, f"--seed_everything={seed}", *arguments.options]
                execute(arguments, folder, ["-c", recipe, *overlays, *more])


def execute(
    arguments: argparse.Namespace,
    folder: Path,
    options: list[str],
    kind: type[EACCLI] = Cell,
    accelerator: str = "cpu",
) -> None:
    """Fit and test into ``folder``, unless that was done before."""
    if is_finished(folder):
        return
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    weights = ["--model.weights", str(arguments.weights)] if arguments.weights else []
    resume = ["--ckpt_path", "last"] if (folder / "last.ckpt").is_file() else []
    command = [
        "fit", *options, "--data.root", str(arguments.root), *weights, "--trainer.accelerator", accelerator,
        "--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false", *resume,
    ]  # fmt: skip
    cell = train(prepare_arguments(command), kind)
    if cell is None:
        sys.exit(2)
    cell.trainer.test(cell.model, datamodule=cell.datamodule, verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/noise_benchmark"))
    parser.add_argument("--budget", default="noise_benchmark/laptop", help="the overlay with the schedule")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--noises", nargs="+", default=["clean", "symmetric_30"], choices=list(NOISES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--options", action="append", default=[], help="more for `eac fit`: --options=--data.subset=500"
    )
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    parser.add_argument("--figures", type=Path, help="folder for the curves")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments)
    report(arguments.runs, list(METHODS), arguments.json, arguments.figures)


if __name__ == "__main__":
    main()
