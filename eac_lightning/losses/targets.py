"""What the classification losses share: labels as distributions, and reductions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning.errors import ConfigurationError, unknown_name

REDUCTIONS = ("mean", "sum", "none")


def as_distribution(target: Tensor, logits: Tensor) -> Tensor:
    """Return (N,) labels one-hot, or (N, K) distributions as they are, in the type of the (N, K) logits.

    Raises:
        ConfigurationError: If the target is neither.
    """
    if target.shape == logits.shape:
        return target.to(logits)
    if target.shape != logits.shape[:1] or target.is_floating_point():
        raise ConfigurationError(
            f"Expected a target of labels (N,) or of distributions (N, K) for logits of {tuple(logits.shape)}, but got "
            f"{target.dtype} of {tuple(target.shape)}. Give integer labels, or one distribution a face."
        )
    return F.one_hot(target.long(), logits.shape[1]).to(logits)


def distribution_and_log_p(target: Tensor, logits: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the (N, K) distributions of the target and the (N, K) log-probabilities, in single precision at least.

    Args:
        target: (N,) labels or (N, K) distributions.
        logits: (N, K), which may be in half precision.
        shift: (K,) what is added to the logits first.

    Raises:
        ConfigurationError: If the target fits no logits.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    shifted = logits if shift is None else logits + shift.to(logits)
    return as_distribution(target, logits), F.log_softmax(shifted, 1)


def reduce_loss(each: Tensor, reduction: str) -> Tensor:
    """Return the ``"mean"`` or the ``"sum"`` of (N,) losses, or with ``"none"`` the losses.

    Raises:
        ConfigurationError: If the reduction is unknown.
    """
    if reduction not in REDUCTIONS:
        raise unknown_name("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return each
    return each.mean() if reduction == "mean" else each.sum()
