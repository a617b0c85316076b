"""A finished run, taken up again: its data, its module and its schedule, from the ``config.yaml`` beside it."""

from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import yaml

from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.runs.folder import CONFIG

T = TypeVar("T")

_SCHEDULE = (
    "max_epochs", "max_steps", "max_time", "limit_train_batches", "accumulate_grad_batches", "precision", "accelerator",
    "gradient_clip_val", "gradient_clip_algorithm",
)  # fmt: skip
"""What of a trainer's settings makes a training what it is, besides where and how much it writes."""


class FinishedRun:
    """What ``config.yaml`` says of a run.

    Args:
        folder: The run's folder.
        root: Where its data lie now, if elsewhere.

    Raises:
        DataError: If there is no ``config.yaml``, or it is none of a run.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        path = folder / CONFIG
        try:
            config = yaml.safe_load(path.read_text())
            self._trainer = dict(config["trainer"])
            self._data, self._model = (
                {"init_args": {}, **config[name], "class_path": config[name]["class_path"]}
                for name in ("data", "model")
            )
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise DataError(
                f"Expected the settings of a run in {path}, which tell what data it was trained on, but cannot read "
                f"them ({type(error).__name__}: {error}). Name the folder that `eac fit` wrote, or the data: --root."
            ) from error
        self._own = [name for name in ("optimizer", "lr_scheduler") if config.get(name)]
        self.seed = int(config.get("seed_everything") or 0)
        if root is not None:
            self._data["init_args"]["root"] = str(root)
        # A DataModule that takes no seed has none in its settings, which hold every other argument.
        if self._data["init_args"].get("seed", 0) is None:
            self._data["init_args"]["seed"] = self.seed

    def data(self, **changes: Any) -> L.LightningDataModule:
        """Return its DataModule, with other values for some arguments."""
        init_args = {**self._data["init_args"], **changes}
        return self._instantiate(L.LightningDataModule, {**self._data, "init_args": init_args})

    def module(self) -> L.LightningModule:
        """Return its module as it was before training."""
        return self._instantiate(L.LightningModule, self._model)

    def trainer(self, folder: Path) -> L.Trainer:
        """Return a trainer of its schedule that validates nothing, and writes no more than a report into ``folder``.

        Raises:
            ConfigurationError: If the run's optimizer was another than the module's own.
        """
        if self._own:
            raise ConfigurationError(
                f"The run was trained with {' and '.join(f'--{name}' for name in self._own)}, which cannot be taken up "
                "again. Give the module an optimizer of its own (configure_optimizers) to train it by folds."
            )
        schedule = {name: self._trainer[name] for name in _SCHEDULE if self._trainer.get(name) is not None}
        return L.Trainer(
            **schedule,
            default_root_dir=folder,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
        )

    @staticmethod
    def _instantiate(base: type[T], description: dict[str, Any]) -> T:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(base, "it")
        try:
            built: T = parser.instantiate(parser.parse_object({"it": description})).it
        except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"Cannot rebuild {description.get('class_path')} from the run's {CONFIG}: {error}. Name a module of "
                "your own with --import."
            ) from error
        return built
