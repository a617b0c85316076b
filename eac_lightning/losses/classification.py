"""Classification losses by name, so that a recipe or a checkpoint can say which."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.losses.class_balance import BALANCED, check_class_numbers
from eac_lightning.losses.focal import FocalLoss
from eac_lightning.losses.generalized_cross_entropy import GeneralizedCrossEntropy
from eac_lightning.losses.logit_adjustment import LogitAdjustedCrossEntropy
from eac_lightning.losses.symmetric_cross_entropy import SymmetricCrossEntropy
from eac_lightning.losses.weighted_cross_entropy import WeightedCrossEntropy

LOSSES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "cross_entropy": (WeightedCrossEntropy, ("label_smoothing", "class_weights", "class_counts")),
    "focal": (FocalLoss, ("gamma", "class_weights", "class_counts")),
    "generalized_cross_entropy": (GeneralizedCrossEntropy, ("q",)),
    "logit_adjustment": (LogitAdjustedCrossEntropy, ("tau", "class_counts")),
    "symmetric_cross_entropy": (SymmetricCrossEntropy, ("alpha", "beta", "log_zero")),
}
"""The losses and the options of each."""
LISTS = ("class_weights", "class_counts")
"""The options that are no number."""


def create_classification_loss(
    name: str, options: Mapping[str, Any] | None = None, class_names: Sequence[str] = ()
) -> nn.Module:
    """Return the loss of that name, called with (N, K) logits and (N,) labels or (N, K) distributions.

    A loss that follows from the class counts and was not told them refuses to be called.

    Args:
        name: One of :data:`LOSSES`.
        options: Its options by name, each a number; ``class_counts`` is a list of K numbers, ``class_weights`` one
            too or ``"balanced"``, either may be None.
        class_names: The K classes, for which such lists must be.

    Raises:
        ConfigurationError: If the name or an option is unknown, or an option's value is not possible.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    loss_class, known = LOSSES[name]
    asked = dict(options or {})
    for option, value in asked.items():
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
        _check(name, option, value, class_names)
    if not 0 <= asked.get("label_smoothing", 0) <= 1:
        raise ConfigurationError(
            f"Expected label_smoothing to be from 0 to 1, but got {asked['label_smoothing']}; 0.1 is usual."
        )
    lists = [asked[option] for option in LISTS if isinstance(asked.get(option), list | tuple)]
    classes = len(class_names) or next(map(len, lists), 2)
    unknown = follows_class_counts(name, asked) and asked.get("class_counts") is None
    loss = loss_class(**asked | ({"class_counts": [1] * classes} if unknown else {}))
    # A loss knows its own ranges: better asked before the first batch than at it.
    loss(torch.zeros(1, classes), torch.zeros(1, dtype=torch.long))
    return UnknownClassCounts(name) if unknown else loss


def follows_class_counts(name: str, options: Mapping[str, Any] | None = None) -> bool:
    """Return whether a loss depends on how many faces each class has."""
    return name == "logit_adjustment" or (options or {}).get("class_weights") == BALANCED


class UnknownClassCounts(nn.Module):
    """Stands for a loss until somebody tells how many faces each class has."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *_: Tensor) -> NoReturn:
        """Refuse to be computed.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(missing_class_counts(self.name))


def missing_class_counts(name: str) -> str:
    """Return what to do where a loss was not told the class counts."""
    return (
        f"The loss {name} follows from how many training faces each class has, which nobody told. Train on a "
        'FERDataModule, or on a DataModule that has class_counts, or give loss_options={"class_counts": [...]}, one '
        "number for each class."
    )


def _check(name: str, option: str, value: Any, class_names: Sequence[str]) -> None:
    if option in LISTS:
        named = option == "class_weights" and isinstance(value, str)  # which the loss itself looks up
        if value is not None and not named:
            check_class_numbers(option, value, class_names)
    elif not isinstance(value, int | float):
        raise ConfigurationError(f"Expected {option} of {name} to be a number, but got {value!r}.")
