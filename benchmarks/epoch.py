"""Whole training epochs as ``eac fit`` runs them, against the same steps on tensors in memory.

    python benchmarks/epoch.py --root FERPLUS --layout ferplus --json docs/results/performance_epoch.json

One run of recipe ``eac_mobilefacenet`` with its DataModule, callbacks, logger and checkpoints; before each of its
epochs the plain loop trains a copy of the network for one epoch on its batches, which were kept as floats of the final
size. An epoch is timed from its beginning to its last step; validation and checkpoints come after.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Any

from measuring import machine, markdown, ratio, save, summary

from eac_lightning import CAMCallback, ConfusionMatrixCallback, EACModule, FERDataModule
from eac_lightning._lightning import L, callbacks, loggers
from eac_lightning.runs.checkpoints import BestCheckpoint, LastCheckpoint


class Turns(L.Callback):
    """Times each epoch, and one of the plain loop before it."""

    def __init__(self, batches: list[Any], module: EACModule, clock: Any) -> None:
        self.seconds: dict[str, list[float]] = {"plain loop": [], "eac fit": [], "validation, checkpoints": []}
        self.batches, self.module, self.clock = batches, module.train(), clock
        (self.optimizer,), _ = module.configure_optimizers()

    def on_train_epoch_start(self, *_: Any) -> None:
        began = self.clock()
        for batch in self.batches:
            self.optimizer.zero_grad()
            self.module.compute_loss(batch).loss.backward()
            self.optimizer.step()
        self.seconds["plain loop"].append(self.clock() - began)
        self.began = self.clock()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.is_last_batch:
            self.ended = self.clock()
            self.seconds["eac fit"].append(self.ended - self.began)

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds["validation, checkpoints"].append(self.clock() - self.ended)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--layout", default="auto")
    parser.add_argument("--faces", type=int, default=3000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--backbone", default="mobilefacenet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/epoch"))
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    data = FERDataModule(
        asked.root, asked.layout, image_size=asked.size, batch_size=64, subset=asked.faces, augment="flip"
    )
    data.setup("fit")
    module = EACModule(class_names=list(data.class_names), backbone=asked.backbone, image_size=asked.size, lr=5e-4)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    turns = Turns(batches, copy.deepcopy(module), time.process_time if asked.clock == "cpu" else time.perf_counter)
    L.Trainer(
        max_epochs=asked.repeats + 1,
        default_root_dir=asked.runs,
        logger=loggers.CSVLogger(asked.runs, name="", version=""),
        log_every_n_steps=10,
        enable_model_summary=False,
        callbacks=[
            CAMCallback(),
            ConfusionMatrixCallback(),
            BestCheckpoint(asked.runs),
            LastCheckpoint(asked.runs),
            callbacks.RichProgressBar(leave=False),
            turns,
        ],
    ).fit(module, datamodule=data)
    seconds = {name: values[1:] for name, values in turns.seconds.items()}  # the first epoch warms up
    found = ratio(seconds["eac fit"], seconds["plain loop"])
    print(machine(), "\n")
    print(markdown(["part of an epoch", "ms"], [[name, summary(values)] for name, values in seconds.items()]))
    print(f"\n{asked.faces} faces, {asked.size} px, {asked.backbone}: {found:.3f} times the plain loop")
    save(
        asked.json,
        f"epoch {asked.backbone} {asked.size} px",
        {"faces": asked.faces, "seconds": seconds, "ratio": found},
    )


if __name__ == "__main__":
    main()
