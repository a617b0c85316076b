"""Symmetric cross-entropy: cross-entropy, and the same with prediction and label exchanged, which tolerates noise.

Wang, Ma, Chen, Luo, Yi, Bailey, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019,
arXiv 1908.06112, equations 5 to 7.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.targets import as_distribution, reduce_loss


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
    reduction: str = "mean",
) -> Tensor:
    """Return ``alpha · CE + beta · RCE`` of each face, with ``RCE = −Σ_k p_k log(target_k)`` and log 0 := ``log_zero``.

    With labels, RCE is −log_zero · (1 − p_y): bounded, so that no wrong label can pull without end.

    Args:
        logits: (N, K); p is their softmax.
        target: (N,) labels or (N, K) distributions; a logarithm below ``log_zero`` counts as ``log_zero``.
        alpha: ≥ 0. The paper's 0.1 for 10 classes, where expressions belong by their number; it takes 6 for 100
            classes, which are learned too slowly without.
        beta: ≥ 0. The paper's 1 for 10 classes (0.1 for 100).
        log_zero: A < 0. With labels, only its product with beta counts.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar ≥ 0, or (N,) for ``"none"``.

    Raises:
        ConfigurationError: If an argument lies outside its range, the target fits no logits, or the reduction is
            unknown.
    """
    if not (alpha >= 0 and beta >= 0 and log_zero < 0):
        raise ConfigurationError(
            f"Expected alpha and beta to be at least 0 and log_zero below 0, but got alpha={alpha}, beta={beta} and "
            f"log_zero={log_zero}."
        )
    wanted, log_p = as_distribution(target, logits), F.log_softmax(logits, 1)
    forward = -(wanted * log_p).sum(1)
    reverse = -(log_p.exp() * wanted.log().clamp(min=log_zero)).sum(1)
    return reduce_loss(alpha * forward + beta * reverse, reduction)


class SymmetricCrossEntropy(nn.Module):
    """:func:`symmetric_cross_entropy` as a module."""

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.log_zero = log_zero

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare (N, K) logits with (N,) labels or (N, K) distributions."""
        return symmetric_cross_entropy(logits, target, self.alpha, self.beta, self.log_zero)
