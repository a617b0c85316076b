"""The batches that a callback asks the network about: un-augmented, in order, every sample in one process."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError


@contextmanager
def evaluating(trainer: L.Trainer) -> Iterator[None]:
    """Have batches prepared as those of validation are."""
    trainer.validating = True
    try:
        yield
    finally:
        trainer.training = True


def on_device(trainer: L.Trainer, loader: Iterable[Any]) -> Iterator[Any]:
    """Yield a loader's batches, prepared on the device; under DDP this process's share of them."""
    for batch in loader:
        yield trainer.strategy.batch_to_device(batch)


def own_audit_loader(trainer: L.Trainer) -> Callable[[], Iterable[Any]] | None:
    """Return the DataModule's ``audit_dataloader``, if it has one."""
    make: Callable[[], Iterable[Any]] | None = getattr(trainer.datamodule, "audit_dataloader", None)  # type: ignore[attr-defined]
    return make


def training_faces(trainer: L.Trainer) -> Any:
    """Return the data set of the training faces, None where the loader has none."""
    make = own_audit_loader(trainer)
    return getattr(trainer.train_dataloader if make is None else make(), "dataset", None)


def training_in_order(trainer: L.Trainer, who: str, instead: str = "") -> Iterable[Any]:
    """Return a loader of the training set: the DataModule's ``audit_dataloader``, else the data set in its own order.

    Args:
        trainer: In a fit, whose loaders it has set up.
        who: Who needs it, for the error.
        instead: What else may be done, for the error.

    Raises:
        ConfigurationError: If the training set has no order.
    """
    if (make := own_audit_loader(trainer)) is not None:
        return make()
    loader: Any = trainer.train_dataloader
    if not _has_order(loader):
        raise ConfigurationError(
            f"{who} goes over the training set in order, so it needs a training loader that makes batches of a "
            f"map-style data set, but got a {type(loader).__name__}. Give the DataModule an "
            f"audit_dataloader(){instead}."
        )
    return _share(trainer, loader)


def validation_in_order(trainer: L.Trainer) -> Iterator[Any]:
    """Yield the batches of the validation loaders, without what Lightning repeats to divide them evenly."""
    if trainer.val_dataloaders is None:  # where validation is so rare that there was none yet
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
    loaders: Any = trainer.val_dataloaders
    for loader in loaders if isinstance(loaders, list | tuple) else [loaders]:
        yield from _share(trainer, loader) if _has_order(loader) else loader


def _has_order(loader: Any) -> bool:
    plain = isinstance(loader, DataLoader) and loader.batch_size is not None
    return plain and not isinstance(loader.dataset, IterableDataset)


def _share(trainer: L.Trainer, loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a loader of the same data set in its own order, each sample in one process."""
    dataset: Dataset[Any] = loader.dataset
    share = range(trainer.global_rank, len(dataset), trainer.world_size)  # type: ignore[arg-type]
    return DataLoader(
        Subset(dataset, share), loader.batch_size, num_workers=loader.num_workers, collate_fn=loader.collate_fn
    )
