"""Checkpoints that are written whole or not at all, and known for damaged if they are."""

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from eac_lightning._files import replacing
from eac_lightning._lightning import L, callbacks, plugins
from eac_lightning.errors import CheckpointError

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
"""What ``last.ckpt`` was an epoch before: a second chance where the first is damaged."""


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, synced to the disk before it replaces the one before.

    Raises:
        StorageError: If there is no space for it; the one before is intact.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save(checkpoint, file)


class DurableCheckpointIO(plugins.TorchCheckpointIO):
    """Lightning's checkpoints, synced to the disk before they replace the one before; for ``Trainer(plugins=…)``.

    ``last.ckpt`` leaves its predecessor as ``previous.ckpt``.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            StorageError: If there is no space for it; the one before is intact.
        """
        if _is_remote(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        with replacing(target) as partial:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
            if target.name == LAST and target.exists():
                _keep_as(target, target.with_name(PREVIOUS))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is damaged.
        """
        if _is_remote(path) or not Path(path).is_file():
            return super().load_checkpoint(path, map_location, weights_only)
        damaged = CheckpointError(
            f"{path} is damaged: it was cut off or changed after it was written. The checkpoint before it is "
            f"{PREVIOUS} in the same folder, if it is there: name that with --ckpt_path."
        )
        whole = is_whole(Path(path))
        if not whole and _is_archive(Path(path)):
            raise damaged
        try:
            return super().load_checkpoint(path, map_location, weights_only)
        except Exception as error:
            if whole and "PytorchStreamReader" not in str(error):  # which looks closer than the checksums do
                raise
            raise damaged from error


class BestCheckpoint(callbacks.ModelCheckpoint):
    """``best.ckpt``: the epoch of the highest validation accuracy, also where the run's folder was moved since."""

    @property
    def state_key(self) -> str:
        """Not that of a ModelCheckpoint which a user has for the same figure."""
        return type(self).__qualname__

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, "best", "val/accuracy", mode="max", enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an interruption."""
        old, new = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): moved(inner) for key, inner in value.items()}
            return value.replace(old, new, 1) if isinstance(value, str) else value

        super().load_state_dict(moved(state_dict))


class LastCheckpoint(callbacks.Checkpoint):
    """``last.ckpt``: all that the next epoch begins from, written when it begins and when training ends.

    Not at the end of an epoch, as a ModelCheckpoint would: its figures are logged, and schedulers that watch a figure
    have their turn, only after that.

    Args:
        folder: Where it is written.
        stays_ended: Whether a run that was stopped early is not to be trained further.
    """

    def __init__(self, folder: str | Path, stays_ended: bool = True) -> None:
        self.path = Path(folder) / LAST
        self.stays_ended = stays_ended
        self.ended = False
        self._begun: int | None = None
        self._saving = self._between_epochs = False

    def state_dict(self) -> dict[str, Any]:
        """Return whether the run was stopped early."""
        return {"ended": self.ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an interruption."""
        self.ended = state_dict["ended"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End again what had been stopped early."""
        self._begun = trainer.current_epoch
        if self.ended and self.stays_ended:
            trainer.should_stop = True
        self.ended = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what the epochs before have come to."""
        if trainer.current_epoch != self._begun:
            self._between_epochs = True
            self._save(trainer)
            self._between_epochs = False

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have the loops of ``last.ckpt`` stand between two epochs, whole ones on either side.

        As they are counted when an epoch begins, Lightning would take up the epoch before behind its last batch.
        """
        if not self._saving:
            return
        loops = checkpoint["loops"]["fit_loop"]
        validated = loops["epoch_loop.val_loop.batch_progress"]  # counts of a validation that is over
        validated |= {part: dict.fromkeys(validated[part], 0) for part in ("total", "current")} | {
            "is_last_batch": True
        }
        if self._between_epochs:
            for counts in (loops["epoch_progress"]["total"], loops["epoch_progress"]["current"]):
                counts["ready"] = counts["completed"]
            batches = loops["epoch_loop.batch_progress"]
            batches["current"] = dict.fromkeys(batches["current"], 0)
            batches["is_last_batch"] = False
            if trainer.max_steps != -1:  # with which Lightning counts one more when it goes on
                loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what training has come to."""
        self.ended = trainer.should_stop
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._saving = True
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saving = False


def _is_archive(path: Path) -> bool:
    """Say whether a file has checksums: torch's have since version 1.6."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def is_whole(path: Path) -> bool:
    """Say whether a checkpoint is as it was written, by the checksums that torch writes into it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged header makes zipfile raise anything
        return False


def last_whole(folder: Path) -> tuple[Path | None, list[Path]]:
    """Return the newest checkpoint of a run that can be read, and those newer than it that cannot."""
    damaged: list[Path] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if path.is_file():
            if is_whole(path):
                return path, damaged
            damaged.append(path)
    return None, damaged


def _is_remote(path: str | Path) -> bool:
    return "://" in str(path)


def _keep_as(path: Path, kept: Path) -> None:
    """Give a file a second name, so that it is there under the first at every moment."""
    name = kept.with_name(f".{kept.name}.partial")
    with suppress(FileNotFoundError):
        name.unlink()
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        path.replace(kept)
    else:
        name.replace(kept)
        name.unlink(missing_ok=True)  # two names of one file are not renamed to each other
