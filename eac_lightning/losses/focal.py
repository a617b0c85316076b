"""Focal loss: what is recognised well already counts less.

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, arXiv 1708.02002, equations 4
and 5, over the classes of a softmax.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.class_balance import class_weight_tensor
from eac_lightning.losses.targets import distribution_and_log_p, reduce_loss


def focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    class_weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``−Σ_k w_k · target_k · (1 − p_k)^gamma · log p_k`` of each face, where p is the softmax of its logits.

    The mean is over the faces. A certain label that has the probability 0.9 already counts a hundredth (γ = 2) of
    what it does in cross-entropy. With γ = 0 the loss is cross-entropy.

    Args:
        logits: (N, K).
        target: (N,) labels, or (N, K) distributions, over which the expectation is taken.
        gamma: γ ≥ 0; 2 is the paper's.
        class_weights: (K,) weights ≥ 0, the paper's α; None weighs all classes alike.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar ≥ 0, or (N,) for ``"none"``.

    Raises:
        ConfigurationError: If ``gamma`` is below 0, the target fits no logits, or the reduction is unknown.
    """
    if not gamma >= 0:
        raise ConfigurationError(f"Expected gamma to be at least 0, but got {gamma}; 2 is usual, 0 is cross_entropy.")
    wanted, log_p = distribution_and_log_p(target, logits)
    # 1 − p by expm1 keeps its digits; at 0 a power below 1 would have an endless slope.
    missing = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    each = wanted * missing**gamma * log_p
    if class_weights is not None:
        each = each * class_weights.to(log_p)
    return reduce_loss(-each.sum(1), reduction)


class FocalLoss(nn.Module):
    """:func:`focal_loss` as a module.

    Args:
        gamma: γ ≥ 0.
        class_weights: ``"balanced"``, (K,) weights, or None, see
            :func:`~eac_lightning.losses.class_balance.class_weight_tensor`.
        class_counts: (K,) faces of each class in training, for ``"balanced"``.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        class_weights: str | Sequence[float] | None = None,
        class_counts: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("class_weights", class_weight_tensor(class_weights, class_counts), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare (N, K) logits with (N,) labels or (N, K) distributions."""
        return focal_loss(logits, target, self.gamma, self.class_weights)
