"""Short fits through the real command line, and callbacks that disturb them once."""

import resource
from pathlib import Path
from typing import Any

import torch

from eac_lightning._lightning import L, plugins

EPOCHS = 3


def fit(faces: Path, *more: str, folder: str = "run") -> list[str]:
    """Return the command of a fit of three epochs."""
    return [
        "fit", "-c", "ce_mobilefacenet", "--model.backbone=tiny", "--model.lr=0.01", "--trainer.accelerator=cpu",
        f"--trainer.max_epochs={EPOCHS}", "--trainer.callbacks=[]", "--trainer.enable_progress_bar=false",
        f"--data.root={faces}", "--data.image_size=16", "--data.batch_size=8",
        f"--trainer.default_root_dir={folder}", *more,
    ]  # fmt: skip


def disturbed(kind: str, marker: str = "disturbed") -> str:
    """Return the option of a callback that does something in the second epoch, unless ``marker`` is there."""
    return f"--trainer.callbacks+={{class_path: tests.runs.fitting.Disturbance, init_args: {{kind: {kind}, marker: {marker}}}}}"


class Disturbance(L.Callback):
    """Raises an error, interrupts, or takes away the room for files."""

    def __init__(self, kind: str, marker: str) -> None:
        self.kind = kind
        self.marker = Path(marker)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if trainer.current_epoch != 1 or self.marker.exists():
            return
        self.marker.touch()
        if self.kind == "error":
            raise RuntimeError("the power is gone")
        if self.kind == "interrupt":
            raise KeyboardInterrupt
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


class Steps(L.Callback):
    """Logs something at every step."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        pl_module.log("mine", float(trainer.global_step), on_step=True, on_epoch=False)


class OwnCheckpointIO(plugins.TorchCheckpointIO):
    """A user's own way to write checkpoints."""

    written: list[str] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self.written.append(Path(path).name)
        super().save_checkpoint(checkpoint, path, storage_options)


def weights(folder: str | Path = "run", name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """Return the weights in a run's checkpoint."""
    state: dict[str, torch.Tensor] = torch.load(Path(folder, name), weights_only=True)["state_dict"]
    return state


def epoch(folder: str | Path = "run", name: str = "last.ckpt") -> int:
    """Return the last epoch that a checkpoint has seen."""
    return int(torch.load(Path(folder, name), weights_only=True)["epoch"])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Say whether weights are bit-identical."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def listed(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())
