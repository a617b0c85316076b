"""Classification losses by name, so that a recipe or a checkpoint can say which."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.losses.generalized_cross_entropy import GeneralizedCrossEntropy
from eac_lightning.losses.symmetric_cross_entropy import SymmetricCrossEntropy

LOSSES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "cross_entropy": (nn.CrossEntropyLoss, ("label_smoothing",)),
    "generalized_cross_entropy": (GeneralizedCrossEntropy, ("q",)),
    "symmetric_cross_entropy": (SymmetricCrossEntropy, ("alpha", "beta", "log_zero")),
}
"""The losses and the options of each."""


def create_classification_loss(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Return the loss of that name, called with (N, K) logits and (N,) labels or (N, K) distributions.

    Args:
        name: One of :data:`LOSSES`.
        options: Its options by name, each a number.

    Raises:
        ConfigurationError: If the name or an option is unknown, or an option's value is not possible.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    loss_class, known = LOSSES[name]
    options = options or {}
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
        if not isinstance(value, int | float):
            raise ConfigurationError(f"Expected {option} of {name} to be a number, but got {value!r}.")
    if not 0 <= options.get("label_smoothing", 0) <= 1:
        raise ConfigurationError(
            f"Expected label_smoothing to be from 0 to 1, but got {options['label_smoothing']}; 0.1 is usual."
        )
    loss = loss_class(**options)
    # A loss knows its own ranges: better asked before the first batch than at it.
    loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long))
    return loss
