"""Logit adjustment: how frequent a class is belongs to the loss, not to what the network has to learn.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314,
equation 10.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.class_balance import check_class_numbers
from eac_lightning.losses.targets import distribution_and_log_p, reduce_loss


def logit_adjusted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    log_prior: Tensor,
    tau: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy of ``logits + tau · log prior`` for each face.

    The network's own logits, without the prior, then predict as if all classes were equally frequent: at τ = 1 they
    aim at the mean-class accuracy, at τ = 0 the loss is cross-entropy.

    Args:
        logits: (N, K).
        target: (N,) labels or (N, K) distributions.
        log_prior: (K,) logarithms of the classes' shares in training.
        tau: τ ≥ 0; 1 is the paper's.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar ≥ 0, or (N,) for ``"none"``.

    Raises:
        ConfigurationError: If ``tau`` is below 0, the target fits no logits, or the reduction is unknown.
    """
    if not tau >= 0:
        raise ConfigurationError(f"Expected tau to be at least 0, but got {tau}; 1 is usual, 0 is cross_entropy.")
    wanted, log_p = distribution_and_log_p(target, logits, tau * log_prior)
    return reduce_loss(-(wanted * log_p).sum(1), reduction)


class LogitAdjustedCrossEntropy(nn.Module):
    """:func:`logit_adjusted_cross_entropy` as a module.

    Args:
        class_counts: (K,) faces of each class in training.
        tau: τ ≥ 0.

    Raises:
        ConfigurationError: If a class has no face: its logarithm would have no end.
    """

    log_prior: Tensor

    def __init__(self, class_counts: Sequence[float], tau: float = 1.0) -> None:
        super().__init__()
        check_class_numbers("class_counts", class_counts)
        counts = torch.tensor(class_counts, dtype=torch.float64)
        self.tau = tau
        self.register_buffer("log_prior", (counts / counts.sum()).log().float(), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare (N, K) logits with (N,) labels or (N, K) distributions."""
        return logit_adjusted_cross_entropy(logits, target, self.log_prior, self.tau)
