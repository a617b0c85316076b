"""Asking a network about the labels it was given, in eval mode and without gradient."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from eac_lightning._lightning import L
from eac_lightning.audit.record import Observations
from eac_lightning.batch import sample_index
from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.scores import flip_consistency, view_agreement
from eac_lightning.maps.undisturbed import undisturbed
from eac_lightning.modules.base import FERModule


@torch.no_grad()
def observe(module: FERModule, batches: Iterable[Any], mirror: bool = False) -> Observations:
    """Return the network's answer to every sample of the batches; it is as it was afterwards.

    Args:
        module: The network.
        batches: On its device, un-augmented, each with ``index``.
        mirror: Ask about the mirrored faces too: the logits are then the mean of both views', and consistency and
            agreement become known. Costs a second pass.

    Raises:
        ConfigurationError: If a batch has no ``index``.
        DataError: If its indexes are no numbers of samples.
    """
    seen = Observations(module.num_classes)
    with undisturbed(module):
        for batch in batches:
            unpacked = module.unpack(batch)
            index = sample_index(unpacked, "An audit")
            image, label = unpacked["image"], unpacked["label"]
            logits, maps = module.logits_and_maps(image)
            if not mirror:
                seen.see(index, label, logits)
                continue
            mirrored, mirrored_maps = module.logits_and_maps(image.flip(-1))
            logits, mirrored = logits.float(), mirrored.float()
            consistency = flip_consistency(maps.float(), mirrored_maps.float(), label)
            seen.see(index, label, (logits + mirrored) / 2, consistency, view_agreement(logits, mirrored))
    return seen


def prepared(data: L.LightningDataModule, module: FERModule) -> Iterator[object]:
    """Yield the batches that an audit asks about, as validation would get them, outside a trainer.

    Raises:
        ConfigurationError: If the DataModule has no ``audit_dataloader``.
    """
    make = getattr(data, "audit_dataloader", None)
    if make is None:
        raise ConfigurationError(
            f"Expected a DataModule with audit_dataloader(), which gives the training samples in order, but "
            f"{type(data).__name__} has none. Add it, or audit while training with LabelAuditCallback."
        )
    yield from as_validated(data, module, make())


def as_validated(data: L.LightningDataModule, module: FERModule, loader: Iterable[Any]) -> Iterator[object]:
    """Yield a loader's batches as validation would get them, outside a trainer."""
    data.trainer = None  # what a fit left would still say that it trains
    for batch in loader:
        moved = data.transfer_batch_to_device(batch, module.device, 0)
        yield data.on_after_batch_transfer(moved, 0)
