"""Asking trained weights once more, and storing what was learnt of them in the checkpoints that hold them."""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from eac_lightning._lightning import L, callbacks
from eac_lightning.answering import Answering
from eac_lightning.callbacks._loaders import evaluating, on_device
from eac_lightning.callbacks._module import fer_module
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError, EACError
from eac_lightning.maps.undisturbed import undisturbed
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.modules.base import FERModule
from eac_lightning.modules.checkpoint import ANSWERING, CHECKPOINT_KEY, check_fit, restored_answers
from eac_lightning.runs.checkpoints import write_checkpoint

ON_TEST = "This one validates on the test split, whose figures would be those of faces that were fitted on."

logger = logging.getLogger("eac_lightning")
warn = L.utilities.rank_zero_only(logger.warning)


class Said(NamedTuple):
    """What a network says of N samples.

    Attributes:
        values: (N, C) features or (N, K) logits, float32 on the CPU.
        label: (N,) their labels.
        samples: (N,) their indexes, where the batches have them.
    """

    values: Tensor
    label: Tensor
    samples: Tensor | None = None


class AfterTraining(L.Callback, ABC):
    """Base of the callbacks that complete :class:`~eac_lightning.answering.Answering` when training has ended.

    They ask the final weights, for ``module.answers`` and so for ``last.ckpt``, and the weights in the files that a
    ModelCheckpoint names as its best and its last, in which the answer is then stored. Who is asked is a copy in single
    precision, such as a program gets that loads the checkpoint; the module itself is not touched. Under DDP each
    process asks about its part of the faces, and all come to the same.

    A training is not lost to what fails then: a warning says what is missing, and the checkpoints are without it. A
    callback that changes the weights when training ends has to stand before this one.
    """

    @abstractmethod
    def ask(self, trainer: L.Trainer, module: FERModule) -> Any:
        """Return what the weights say, by :func:`everything_said`; every process calls it."""

    @abstractmethod
    def conclude(self, said: Any, weights: str) -> dict[str, Any]:
        """Return the fields of ``Answering`` that follow from what :meth:`ask` returned.

        Args:
            said: The same in every process.
            weights: What to call the weights in a warning.

        Raises:
            EACError: If nothing follows.
        """

    @abstractmethod
    def tell(self, trainer: L.Trainer, said: Any, answers: Answering) -> None:
        """Say what was found for the final weights; every process calls it."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse another module, and training without validation."""
        fer_module(pl_module, type(self).__name__)
        if stage == "fit":
            _check_validation(trainer, type(self).__name__)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a module that cannot be copied."""
        twin_of(fer_module(pl_module, type(self).__name__))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ask, and store what follows with the weights."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        module = fer_module(pl_module, type(self).__name__)
        twin = twin_of(module)
        module.answers = self._completed(trainer, twin, module.answers)
        for path in _kept_files(trainer):
            try:
                self._complete_file(trainer, module, twin, path)
            except Exception as error:  # it may be the file of anything, on a disk that is full
                self._warn(path.name, error)
            trainer.strategy.barrier(type(self).__name__)

    def _complete_file(self, trainer: L.Trainer, module: FERModule, twin: FERModule, path: Path) -> None:
        checkpoint: Any = read_checkpoint(path)
        if CHECKPOINT_KEY not in checkpoint:
            raise CheckpointError(f"{path} is no checkpoint of an eac_lightning module.")
        about, weights = checkpoint[CHECKPOINT_KEY], checkpoint["state_dict"]
        check_fit(module, about)  # a ModelCheckpoint that has served another training still names that one's files
        # Batch norm counts for itself in each process: the first one's numbers are those that are saved.
        if trainer.strategy.broadcast(_same(weights, module.state_dict())):
            answers = module.answers
        else:
            twin.load_state_dict(weights)
            answers = self._completed(trainer, twin, restored_answers(about), path.name)
        if answers is not None and trainer.is_global_zero:
            about[ANSWERING] = answers.to_dict()
            write_checkpoint(checkpoint, path)

    def _completed(
        self, trainer: L.Trainer, module: FERModule, known: Answering | None, file: str = ""
    ) -> Answering | None:
        try:
            said = self.ask(trainer, module)
            found = self.conclude(said, file or "the trained weights")
        except Exception as error:  # of whatever kind: a training is not lost to what comes after it
            self._warn(file or "the trained weights", error)
            return known
        answers = replace(known or Answering(), **found)
        if not file:
            try:
                self.tell(trainer, said, answers)
            except Exception as error:
                warn("What %s found is stored, but cannot be told: %s", type(self).__name__, _said(error))
        return answers

    def _warn(self, weights: str, error: Exception) -> None:
        warn("%s stores nothing with %s, which are complete: %s", type(self).__name__, weights, _said(error))


def twin_of(module: FERModule) -> FERModule:
    """Return a copy of a module in single precision, without its trainer, the same in every process.

    Raises:
        ConfigurationError: If it cannot be copied.
    """
    try:
        twin = copy.deepcopy(module).float()
    except Exception as error:
        raise ConfigurationError(
            f"{type(module).__name__} cannot be copied, and a copy is what is asked about its weights after training "
            f"({type(error).__name__}: {error}). Keep files, locks and the like out of its attributes."
        ) from error
    if dist.is_available() and dist.is_initialized():
        for buffer in twin.buffers():
            dist.broadcast(buffer, 0)
    return twin


def say(module: FERModule, batches: Iterable[Any], reads: str) -> list[Said]:
    """Return what a network, in eval mode and without gradient, says of each batch that is not empty.

    Args:
        module: The network.
        batches: On its device, un-augmented.
        reads: ``"features"`` or ``"logits"``.
    """
    answer = module.features if reads == "features" else module
    said = []
    with undisturbed(module), torch.no_grad():
        for batch in batches:
            unpacked = module.unpack(batch)
            if len(unpacked["image"]):  # several processes may leave one of them without
                index = unpacked["index"].cpu() if "index" in unpacked else None
                said.append(Said(answer(unpacked["image"]).float().cpu(), unpacked["label"].cpu(), index))
    return said


def joined(parts: list[Said]) -> Said:
    """Return all parts as one; where all have indexes in their order, and each sample once.

    Raises:
        DataError: If there is none.
    """
    if not parts:
        raise DataError("Expected faces to ask the network about, but there is none.")
    values, label = torch.cat([part.values for part in parts]), torch.cat([part.label for part in parts])
    indices = [part.samples for part in parts if part.samples is not None]
    if len(indices) < len(parts):
        return Said(values, label)
    index, rows = np.unique(torch.cat(indices).numpy(), return_index=True)
    return Said(values[rows], label[rows], torch.from_numpy(index))


def everything_said(trainer: L.Trainer, module: FERModule, loader: Iterable[Any], reads: str) -> Said:
    """Return what the network says of a loader's samples, those of all processes, each once.

    Raises:
        DataError: If a process fails: in all of them, so that none waits for it.
    """
    mine: tuple[list[Said], str] = [], ""
    try:
        with evaluating(trainer):
            mine = say(module, on_device(trainer, loader), reads), ""
    except Exception as error:  # of whatever kind: the others would wait for ever
        mine = [], _said(error)
    parts: list[Any] = [mine]
    if dist.is_available() and dist.is_initialized():
        parts = [None] * dist.get_world_size()
        dist.all_gather_object(parts, mine)
    for _, failure in parts:
        if failure:
            raise DataError(f"the network could not be asked. {failure}")
    return joined([batch for batches, _ in parts for batch in batches])


def _check_validation(trainer: L.Trainer, who: str) -> None:
    """Refuse training without validation faces, before hours are spent on it."""
    reason = "" if trainer.enable_validation else "This training has none: no val_dataloader, or limit_val_batches=0."
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not reason and isinstance(data, FERDataModule):
        try:
            data.val_dataloader()
        except DataError as error:
            reason = str(error)
        else:
            reason = ON_TEST if data.validates_on_test else ""
    if reason:
        raise ConfigurationError(
            f"{who} needs a validation split, faces that the network has not learnt from. {reason} Have "
            "one split off (--data.val_fraction 0.1), or leave the callback out."
        )


def _kept_files(trainer: L.Trainer) -> list[Path]:
    """Return the files of this machine that ModelCheckpoints name as their best and their last."""
    kept = [one for one in trainer.checkpoint_callbacks if isinstance(one, callbacks.ModelCheckpoint)]
    named = {Path(path).resolve() for one in kept for path in (one.best_model_path, one.last_model_path) if path}
    found: list[Path] = trainer.strategy.broadcast(sorted(path for path in named if path.is_file()))
    return found


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, EACError) else f"{type(error).__name__}: {error}"


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two state dicts of tensors are the same to the last bit."""
    return one.keys() == other.keys() and all(
        isinstance(value, Tensor) and torch.equal(value.cpu(), other[name].cpu()) for name, value in one.items()
    )
