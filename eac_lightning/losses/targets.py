"""What the classification losses share: labels as distributions, and reductions."""

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
    return F.one_hot(target, logits.shape[1]).to(logits)


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
