"""The confusion matrix of every evaluation, as a picture and as numbers."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eac_lightning._files import replacing
from eac_lightning._lightning import L
from eac_lightning.callbacks._folder import run_folder, writes_files
from eac_lightning.callbacks._module import fer_module
from eac_lightning.callbacks._pictures import save_picture
from eac_lightning.errors import ConfigurationError
from eac_lightning.metrics.classification import ClassificationReport
from eac_lightning.modules.base import FERModule
from eac_lightning.visualization import confusion_matrix_figure, figure_to_image

_TITLES = {"val": "Validation", "test": "Test"}


class ConfusionMatrixCallback(L.Callback):
    """Writes the confusion matrix of validation and test: ``pictures/confusion_matrix_val.png`` and numbers.

    ``confusion_matrix_val.csv`` in the run folder has one row a true class and one column a predicted class,
    and is that of the newest evaluation, like the picture. The counts are the module's own, summed over all
    ranks.

    Args:
        every_n_epochs: In fit it is written after every so many epochs, and after the last.

    Raises:
        ConfigurationError: If ``every_n_epochs`` is below 1; at setup, if the module is no FERModule.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ConfigurationError(
                f"Expected ConfusionMatrixCallback's every_n_epochs to be at least 1, but got {every_n_epochs}."
            )
        self.every_n_epochs = every_n_epochs
        self._newest: tuple[NDArray[np.int64], str] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse a module that keeps no confusion matrix."""
        fer_module(pl_module, "ConfusionMatrixCallback")
        self._newest = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the counts before the module starts anew, which its own hook, called after this one, does."""
        if trainer.sanity_checking:
            return
        module = fer_module(pl_module, "ConfusionMatrixCallback")
        counts = confusion_counts(module.val_metrics)
        fitting = trainer.state.fn == "fit"
        title = f"{_TITLES['val']} · epoch {trainer.current_epoch}" if fitting else _TITLES["val"]
        self._newest = (counts, title)
        if not fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._write(trainer, module, "val")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the last epoch's, where its turn had not come."""
        self._write(trainer, fer_module(pl_module, "ConfusionMatrixCallback"), "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the test set's."""
        module = fer_module(pl_module, "ConfusionMatrixCallback")
        self._newest = (confusion_counts(module.test_metrics), _TITLES["test"])
        self._write(trainer, module, "test")

    def _write(self, trainer: L.Trainer, module: FERModule, split: str) -> None:
        if self._newest is None:
            return
        (counts, title), self._newest = self._newest, None
        folder = run_folder(trainer)
        picture = None
        if writes_files(trainer):
            write_matrix(folder / f"confusion_matrix_{split}.csv", counts, module.class_names)
            picture = figure_to_image(confusion_matrix_figure(counts, module.class_names, title=title))
        save_picture(trainer, f"confusion_matrix_{split}", picture, tag=f"confusion_matrix/{split}")


def confusion_counts(metric: ClassificationReport) -> NDArray[np.int64]:
    """Return the (K, K) counts of a metric summed over all ranks, every one of which must call it."""
    with metric.sync_context():
        counts: NDArray[np.int64] = metric.confmat.cpu().numpy().astype(np.int64)
    return counts


def write_matrix(path: Path, counts: NDArray[np.int64], class_names: tuple[str, ...]) -> None:
    """Write a confusion matrix as CSV: one row a true class, one column a predicted class."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *class_names])
        writer.writerows([name, *row] for name, row in zip(class_names, counts.tolist(), strict=True))
