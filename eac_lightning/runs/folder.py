"""The folder of a run: what an earlier command left in it, and whether this one goes on from there."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from eac_lightning._lightning import L, callbacks
from eac_lightning.errors import CheckpointError, ConfigurationError, StorageError
from eac_lightning.runs.checkpoints import last_whole

CONFIG = "config.yaml"
FINISHED = "finished"
"""The file that marks a run whose command has ended well."""

_PATIENCE = 10.0  # seconds until the workers of a process that was killed are gone, too
LOCK = ".lock"
_OF_A_COMMAND = ("ckpt_path", "resume", "weights_only")
"""Settings that say how a command begins, not what it trains."""

_OUTWARD = {
    "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.profiler", "data.init_args.num_workers",
}  # fmt: skip
"""Settings that change no figure."""

logger = logging.getLogger("eac_lightning")


@dataclass
class Beginning:
    """From where a fit begins.

    Attributes:
        checkpoint: What it goes on from; None begins anew.
        notes: What to tell the user.
        damaged: Checkpoints that cannot be read.
        changed: Settings that differ from those of the run in the folder.
        again: Whether that run is this one, which came to no checkpoint: it begins in the same place.
    """

    checkpoint: Path | None = None
    notes: list[str] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    again: bool = False


def find_beginning(folder: Path, settings: Mapping[str, Any], resume: bool | None) -> Beginning:
    """Look into the folder of a run, and change nothing in it.

    Args:
        folder: The run's folder, which may not be there.
        settings: What this command would write as ``config.yaml``.
        resume: True goes on from whatever checkpoint is there, False from none, None where an unfinished run of the
            same settings is there.

    Raises:
        CheckpointError: If all checkpoints of a run to go on with are damaged.
    """
    changed = changed_settings(folder, settings)
    finished = (folder / FINISHED).exists()
    if resume is False or (resume is None and (changed or finished)):
        return Beginning(changed=changed)
    checkpoint, damaged = last_whole(folder)
    if checkpoint is None and damaged:
        raise CheckpointError(
            f"{folder} holds an unfinished run, but {' and '.join(path.name for path in damaged)} cannot be read: they "
            "were cut off or changed after they were written. To begin anew and keep that folder under another name: "
            "--resume false."
        )
    if checkpoint is None:
        return Beginning(changed=changed, again=not changed)
    notes = [f"{path} is damaged and kept as {_put_aside(path).name}; the one before it is used" for path in damaged]
    state = "a finished" if finished else "an unfinished"
    notes.append(f"{folder} holds {state} run: going on from {checkpoint.name} (--resume false begins anew)")
    if changed:
        notes.append(f"settings that differ from those it began with: {', '.join(changed)}")
    return Beginning(checkpoint, notes, damaged, changed)


def changed_settings(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ from ``config.yaml``, all of its own if that cannot be read."""
    try:
        earlier = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        known = _flat(earlier)
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        known = {}
    new = _flat(settings)
    return sorted(name for name in {*known, *new} - _OUTWARD if known.get(name) != new.get(name))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names, without those that only a command has."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if not prefix and key in _OF_A_COMMAND:
            continue
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


class RunFolder(L.Callback):
    """Makes room for a new run, or takes up an unfinished one, once every process has looked at the folder.

    Args:
        folder: The run's folder.
        beginning: What :func:`find_beginning` found there.
    """

    def __init__(self, folder: Path, beginning: Beginning) -> None:
        self.folder = folder
        self.beginning = beginning
        self.kept: Path | None = None
        self._lock: FileLock | None = None
        self._settled = False
        self._out_of_time = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Move an earlier run, or damaged checkpoints, out of the way.

        Raises:
            ConfigurationError: If another command trains into the folder.
            StorageError: If the earlier run cannot be moved.
        """
        trainer.strategy.barrier("run folder")
        if not trainer.is_global_zero or self._settled:  # a test after the fit is of the same run
            return
        self._settled = True
        lock = _only_here(self.folder)
        for note in self.beginning.notes:
            logger.info(note)
        for path in self.beginning.damaged:
            path.replace(_put_aside(path))
        checkpoint = self.beginning.checkpoint
        inside = checkpoint is not None and self.folder.resolve() in checkpoint.resolve().parents
        if not inside and not self.beginning.again and any(self.folder.glob("*.ckpt")):
            self.kept = _keep_earlier(self.folder, self.beginning.changed)
            lock.release()
            (self.kept / LOCK).unlink(missing_ok=True)
            lock = _only_here(self.folder)
        self._lock = lock

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the mark off a finished run that goes on."""
        if trainer.is_global_zero:
            (self.folder / FINISHED).unlink(missing_ok=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notice a run that has only come to the end of its time."""
        timers = [one for one in trainer.callbacks if isinstance(one, callbacks.Timer)]  # type: ignore[attr-defined]
        self._out_of_time = any((timer.time_remaining() or 0) <= 0 for timer in timers)

    def finish(self) -> None:
        """Mark the run as one that ended well."""
        if self._out_of_time:
            logger.info("max_time is over: a larger --trainer.max_time with --resume true goes on")
        else:
            (self.folder / FINISHED).touch()
        self._release()

    def give_back(self) -> None:
        """Give an earlier run its place back where this one ended before it had a checkpoint."""
        self._release()
        if self.kept is None or any(self.folder.rglob("*.ckpt")):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.kept.rename(self.folder)
        logger.info("this run saved nothing; %s holds the earlier one again", self.folder)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            (self.folder / LOCK).unlink(missing_ok=True)
            self._lock = None


def _only_here(folder: Path) -> FileLock:
    """Return the lock of a folder, which a process holds as long as it lives.

    Raises:
        ConfigurationError: If another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise ConfigurationError(
            f"Another command is training into {folder}. Wait for it, or name another folder with "
            "--trainer.default_root_dir."
        ) from None
    return lock


def _put_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _keep_earlier(folder: Path, changed: list[str]) -> Path:
    """Move an earlier run to the next free name, say why, and return that.

    Raises:
        StorageError: If it cannot be moved.
    """
    place = folder.resolve()  # what a link or "." stands for
    number = next(n for n in range(1, 10**6) if not place.with_name(f"{place.name}-{n}").exists())
    finished = (folder / FINISHED).exists()
    try:
        kept = place.rename(place.with_name(f"{place.name}-{number}"))
    except OSError as error:
        raise StorageError(
            f"{folder} holds an earlier run, which cannot be moved to {place.name}-{number} ({error.strerror}). Move "
            "it yourself, or name another folder with --trainer.default_root_dir."
        ) from error
    state = "finished" if finished else f"unfinished (go on: --trainer.default_root_dir {kept} --resume true)"
    why = f", of other settings ({', '.join(changed)})" if changed and not finished else ""
    logger.info("%s held a run, %s%s; it is now %s", folder, state, why, kept)
    return kept
