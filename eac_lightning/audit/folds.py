"""Out-of-sample answers: each part of the training set is asked about by a network that was not trained on it."""

import logging
from pathlib import Path

import torch

from eac_lightning._files import replacing
from eac_lightning._lightning import L
from eac_lightning.audit.observe import observe, prepared
from eac_lightning.audit.record import AuditRecord, Observations
from eac_lightning.audit.run import FinishedRun
from eac_lightning.errors import ConfigurationError
from eac_lightning.modules.base import FERModule
from eac_lightning.types import UNKNOWN_LABEL

logger = logging.getLogger("eac_lightning")


def audit_folds(run: FinishedRun, folds: int, folder: Path, mirror: bool = True) -> AuditRecord:
    """Train the run's module once a fold, on the others, and ask it about that fold.

    Folds are stratified, and by subject where subjects are known. A finished fold is kept in ``folder`` and not
    trained again.

    Args:
        run: What to train.
        folds: At least 2, and at most the training samples, or subjects.
        folder: Where finished folds are kept.
        mirror: Whether to ask about mirrored faces too.

    Raises:
        ConfigurationError: If the data or the module cannot be trained by folds.
        DataError: If there are fewer samples, or subjects, than folds.
    """
    parts = [_fold(run, folds, number, folder, mirror) for number in range(folds)]
    record = AuditRecord(parts[0].columns["logits"].shape[1])
    whole = Observations(record.num_classes)
    for part in parts:
        index = torch.nonzero(part.columns["given"] != UNKNOWN_LABEL)[:, 0]
        whole.see(index, **{name: column[index] for name, column in part.columns.items()})
    record.add(0, whole)
    return record


def _fold(run: FinishedRun, folds: int, number: int, folder: Path, mirror: bool) -> Observations:
    path = folder / f"fold_{number}_of_{folds}.pt"
    if path.is_file():
        logger.info("fold %d of %d was finished before: %s", number + 1, folds, path)
        columns = torch.load(path, weights_only=True)
        seen = Observations(columns["logits"].shape[1])
        seen.columns = columns
        return seen
    # One seed for all folds: data without a seed of their own would be dealt, and their noise drawn, anew.
    L.seed_everything(run.seed, verbose=False)
    module, data = run.module(), run.data(folds=folds, fold=number)
    if not isinstance(module, FERModule):
        raise ConfigurationError(f"Folds are trained of a FERModule, but the run's module is {type(module).__name__}.")
    trainer = run.trainer(folder)
    trainer.fit(module, datamodule=data)
    module.to(trainer.strategy.root_device)  # a trainer leaves it on the CPU
    seen = observe(module, prepared(data, module), mirror)
    with replacing(path) as partial:
        torch.save(seen.columns, partial)
    logger.info("fold %d of %d is finished", number + 1, folds)
    return seen
