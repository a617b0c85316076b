"""What a network says of every picture, as a table."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch import distributed as dist

from eac_lightning._files import replacing
from eac_lightning._lightning import L, callbacks
from eac_lightning.callbacks._folder import run_folder, writes_files
from eac_lightning.callbacks._module import fer_module
from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError
from eac_lightning.types import UNKNOWN_LABEL


class _Prediction(NamedTuple):
    label: int
    probabilities: list[float]


class PredictionWriter(callbacks.BasePredictionWriter):
    """Writes ``predictions.csv`` after ``predict``: one row a sample, sorted by its index.

    Columns: ``index``, ``path`` (where the DataModule's annotations know it), ``label`` (the given one, where
    the batches have it), ``predicted``, ``confidence`` and one ``p_<class>`` a class: those of ``predict_step``,
    calibrated where the checkpoint knows a temperature (`CalibrationCallback`). On several devices rank
    zero writes what all ranks saw; a sample that was repeated to fill a batch is written once.

    Args:
        path: The file; ``predictions.csv`` in the run folder if left out.

    Raises:
        ConfigurationError: If the module is no FERModule, its predictions have no ``probabilities``, the batches
            of several devices no index, or there are several loaders.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__(write_interval="batch")  # Lightning then tells which samples a batch holds
        self.path = path
        self._seen: dict[int, _Prediction] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse a module that does not know its classes."""
        fer_module(pl_module, "PredictionWriter")
        super().setup(trainer, pl_module, stage)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier run."""
        self._seen = {}

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keep a batch's predictions."""
        if not isinstance(prediction, Mapping) or "probabilities" not in prediction:
            raise ConfigurationError(
                "Expected predict_step to return a dict with probabilities (N, K), as FERModule's does, but "
                f"{type(pl_module).__name__} returned a {type(prediction).__name__} without."
            )
        if dataloader_idx:
            raise ConfigurationError(
                "PredictionWriter writes one table, in which indices of several loaders would be mixed up. "
                "Predict one loader at a time."
            )
        rows = prediction["probabilities"].float().tolist()
        unknown = [UNKNOWN_LABEL] * len(rows)
        labels = prediction["label"].tolist() if "label" in prediction else unknown
        indices = self._indices(prediction, batch_indices, trainer.world_size, len(rows))
        for index, label, row in zip(indices, labels, rows, strict=True):
            self._seen[index] = _Prediction(label, row)

    def _indices(
        self,
        prediction: Mapping[str, Tensor],
        batch_indices: Sequence[int] | None,
        world_size: int,
        count: int,
    ) -> Sequence[int]:
        if "index" in prediction:
            indices: list[int] = prediction["index"].tolist()
            return indices
        if batch_indices:
            return batch_indices
        if world_size > 1:
            raise ConfigurationError(
                "The batches do not say which samples they hold, so what "
                f"{world_size} devices predict cannot be joined. Let the dataset yield (image, label, index) "
                "or a dict with index, or predict on one device."
            )
        return range(len(self._seen), len(self._seen) + count)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather what all ranks predicted and write it."""
        path = Path(self.path) if self.path else run_folder(trainer) / "predictions.csv"
        seen = _gathered(self._seen)
        if writes_files(trainer):
            names = fer_module(pl_module, "PredictionWriter").class_names
            _write_table(path, seen, names, _paths(getattr(trainer, "datamodule", None)))


def _gathered(seen: dict[int, _Prediction]) -> dict[int, _Prediction]:
    """Return the predictions of all ranks; whatever two of them saw is there once."""
    if not (dist.is_available() and dist.is_initialized()):
        return seen
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, seen)
    return {key: prediction for part in parts for key, prediction in part.items()}


def _paths(datamodule: object) -> Sequence[str]:
    annotations = getattr(datamodule, "annotations", None)
    return annotations.table["path"].tolist() if isinstance(annotations, Annotations) else ()


def _write_table(path: Path, seen: Mapping[int, _Prediction], class_names: Sequence[str], paths: Sequence[str]) -> None:
    labelled = any(prediction.label != UNKNOWN_LABEL for prediction in seen.values())
    header = ["index"] + ["path"] * bool(paths) + ["label"] * labelled
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "predicted", "confidence", *(f"p_{name}" for name in class_names)])
        for index, (label, probabilities) in sorted(seen.items()):
            fields = {
                "index": index,
                "path": paths[index] if index < len(paths) else "",
                "label": class_names[label] if label != UNKNOWN_LABEL else "",
            }
            confidence = max(probabilities)
            predicted = class_names[probabilities.index(confidence)]
            numbers = [f"{number:.6f}" for number in (confidence, *probabilities)]
            writer.writerow([*(fields[name] for name in header), predicted, *numbers])
