"""Where a run writes."""

from pathlib import Path

from eac_lightning._lightning import L
from eac_lightning.runs.folder import RunFolder


def run_folder(trainer: L.Trainer) -> Path:
    """Return the folder of this run. Under DDP every rank must call it, since rank zero tells the others."""
    of_command = next((one.folder for one in trainer.callbacks if isinstance(one, RunFolder)), None)  # type: ignore[attr-defined]
    return of_command or Path(trainer.log_dir or trainer.default_root_dir)


def writes_files(trainer: L.Trainer) -> bool:
    """Say whether this process writes: rank zero does, and a ``fast_dev_run`` leaves nothing behind."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
