"""What several processes do, in one launch: `suite.py FOLDER PROCESSES`; test_same_as_one.py reads what it leaves."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eac_lightning import (
    CAMCallback,
    ClassificationModule,
    ConfusionMatrixCallback,
    ELRModule,
    FERDataModule,
    LabelAuditCallback,
    PredictionWriter,
    SCNModule,
    SymmetricNoise,
    register_backbone,
)
from eac_lightning._lightning import L, loggers
from eac_lightning.callbacks.failures import FailureReport


@register_backbone("plain")
class Plain(nn.Module):
    """No batch norm: its statistics are of one process's share of a batch."""

    num_features, output_stride = 8, 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU())

    def forward_features(self, image: Tensor) -> Tensor:
        features: Tensor = self.layers(image)
        return features


class Steps(L.Callback):
    """Keeps which faces this process was given in each step."""

    def __init__(self) -> None:
        self.drawn: list[tuple[int, int, list[int]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.drawn.append((trainer.current_epoch, batch_idx, batch["index"].tolist()))


def trainer(folder: Path, processes: int, epochs: int, callbacks: list[L.Callback]) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=loggers.CSVLogger(folder, name="", version=""),
        callbacks=[*callbacks, FailureReport()],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def train(folder: Path, processes: int, module: type[Any], sampler: str, faces: Path, epochs: int = 3) -> None:
    """Train on global batches of eight faces; leave weights, memory and the faces of each step."""
    torch.manual_seed(0)
    data = FERDataModule(
        faces, image_size=16, batch_size=8 // processes, sampler=sampler, noise=SymmetricNoise(0.3), seed=0
    )
    options = {"relabel_epoch": 0, "relabel_margin": 0.0} if module is SCNModule else {}
    network = module(class_names=list(data.class_names), backbone="plain", lr=0.01, seed=0, **options)
    steps = Steps()
    run = trainer(folder, processes, epochs, [steps, LabelAuditCallback(), LabelAuditCallbackPassive()])
    run.fit(network, datamodule=data)
    (folder / f"steps_{run.global_rank}.json").write_text(json.dumps(steps.drawn))
    torch.save(network.state_dict(), folder / f"weights_{run.global_rank}.pt")


class LabelAuditCallbackPassive(LabelAuditCallback):
    """A second audit, of what training says anyway, in a folder of its own."""

    def __init__(self) -> None:
        super().__init__(passive=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        torch.save(self.state_dict(), Path(trainer.default_root_dir) / f"passive_{trainer.global_rank}.pt")


def evaluate(folder: Path, processes: int, faces: Path) -> None:
    """Judge every split with weights that are the same whatever was trained; leave the figures of each rank."""
    torch.manual_seed(1)
    data = FERDataModule(faces, image_size=16, batch_size=2)
    network = ClassificationModule(class_names=list(data.class_names), backbone="plain")
    run = trainer(folder, processes, 1, [ConfusionMatrixCallback(), PredictionWriter(), CAMCallback(samples=2)])
    figures = [run.validate(network, datamodule=data, verbose=False), run.test(network, datamodule=data, verbose=False)]
    run.predict(network, datamodule=data, return_predictions=False)
    (folder / f"figures_{run.global_rank}.json").write_text(json.dumps(figures))


def main(folder: Path, processes: int) -> None:
    faces = folder.parent
    train(folder / "shuffle", processes, ClassificationModule, "shuffle", faces / "even")
    train(folder / "balanced", processes, ClassificationModule, "balanced", faces / "even")
    train(folder / "odd", processes, ClassificationModule, "shuffle", faces / "odd", epochs=1)
    train(folder / "elr", processes, ELRModule, "shuffle", faces / "even")
    train(folder / "scn", processes, SCNModule, "shuffle", faces / "even")
    evaluate(folder / "even", processes, faces / "even")
    evaluate(folder / "odd", processes, faces / "odd")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
