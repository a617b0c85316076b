"""Generalised cross-entropy: between cross-entropy, which learns fast, and the mean absolute error, which is robust.

Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", NeurIPS 2018,
arXiv 1805.07836, equation 6.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.targets import as_distribution, reduce_loss


def generalized_cross_entropy(logits: Tensor, target: Tensor, q: float = 0.7, reduction: str = "mean") -> Tensor:
    """Return ``(1 − p_y^q) / q`` of each face, where p is the softmax of its logits.

    A face whose label the network thinks unlikely weighs p_y^q times what it does in cross-entropy. As q goes to 0
    the loss becomes cross-entropy; at q = 1 it is 1 − p_y, half the absolute error of the probabilities.

    Args:
        logits: (N, K).
        target: (N,) labels, or (N, K) distributions, over which the expectation is taken.
        q: In (0, 1]; 0.7 is the paper's.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar in [0, 1/q], or (N,) for ``"none"``.

    Raises:
        ConfigurationError: If ``q`` lies outside its range, the target fits no logits, or the reduction is unknown.
    """
    if not 0 < q <= 1:
        raise ConfigurationError(f"Expected q to be above 0 and at most 1, but got {q}; for 0 take cross_entropy.")
    # 1 − p^q by expm1: for a small q the difference would lose its digits.
    each = -torch.expm1(q * F.log_softmax(logits, 1)) / q
    return reduce_loss((as_distribution(target, logits) * each).sum(1), reduction)


class GeneralizedCrossEntropy(nn.Module):
    """:func:`generalized_cross_entropy` as a module."""

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        self.q = q

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare (N, K) logits with (N,) labels or (N, K) distributions."""
        return generalized_cross_entropy(logits, target, self.q)
