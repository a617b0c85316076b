"""How many faces each class has, and what a face of it weighs for that."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, unknown_name

BALANCED = "balanced"


def check_class_numbers(option: str, values: Sequence[float], class_names: Sequence[str] = ()) -> None:
    """Refuse what is not one number a class: counts must be above 0, weights at least 0 and not all of them 0.

    Args:
        option: ``"class_counts"`` or ``"class_weights"``.
        values: (K,) numbers.
        class_names: The K classes, where they are known.

    Raises:
        ConfigurationError: If there are others than K of them, or one is not possible.
    """
    counts = option == "class_counts"
    listed = isinstance(values, Sequence) and all(type(value) in (int, float) for value in values)
    if not listed or len(values) != (len(class_names) or len(values)) or not len(values):
        named = f"{len(class_names)} numbers, one for each class ({', '.join(class_names)})" if class_names else ""
        wanted = named or "one number for each class"
        raise ConfigurationError(f"Expected {option} to be {wanted}, but got {values!r}.")
    if not all(value >= 0 and math.isfinite(value) for value in values) or not any(values):
        raise ConfigurationError(f"Expected {option} to be at least 0, some above and none endless, but got {values}.")
    if counts and not all(values):
        absent = [name for name, value in zip(class_names or range(len(values)), values, strict=True) if not value]
        raise ConfigurationError(
            f"Expected faces of every class to train on, because the loss weighs classes by how many faces they have, "
            f"but there is none labelled {', '.join(map(str, absent))} (class_counts {list(values)}). Add some, leave "
            "the class out (--data.classes), or take another loss."
        )


def balanced_weights(class_counts: Sequence[float]) -> Tensor:
    """Return (K,) weights ``N / (K · n_k)``: every class weighs the same in all, and a face 1 on the average.

    Args:
        class_counts: (K,) faces n_k of each class, of N in all.

    Raises:
        ConfigurationError: If a class has none.
    """
    check_class_numbers("class_counts", class_counts)
    counts = torch.tensor(class_counts, dtype=torch.float64)
    return (counts.sum() / (len(counts) * counts)).float()


def class_weight_tensor(
    class_weights: str | Sequence[float] | None, class_counts: Sequence[float] | None = None
) -> Tensor | None:
    """Return the (K,) weights that were asked for; None where none were.

    Args:
        class_weights: ``"balanced"``, see :func:`balanced_weights`; (K,) weights; or None.
        class_counts: (K,) faces of each class, which ``"balanced"`` needs.

    Raises:
        ConfigurationError: If they are neither, or the counts are missing.
    """
    if class_weights is None:
        return None
    if not isinstance(class_weights, str):
        check_class_numbers("class_weights", class_weights)
        return torch.tensor(class_weights, dtype=torch.float32)
    if class_weights != BALANCED:
        raise unknown_name("class_weights", class_weights, [BALANCED])
    if class_counts is None:
        raise ConfigurationError("Balanced class weights follow from how many faces each class has: give class_counts.")
    return balanced_weights(class_counts)
