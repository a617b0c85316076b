"""Cross-entropy in which the faces of some classes count more than those of others."""

from collections.abc import Sequence

from torch import Tensor, nn

from eac_lightning.losses.class_balance import class_weight_tensor
from eac_lightning.losses.targets import distribution_and_log_p, reduce_loss


def weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Return ``−Σ_k w_k · target_k · log p_k`` of each face, where p is the softmax of its logits.

    The mean is over the faces. ``torch.nn.CrossEntropyLoss`` divides by the weights of the batch's labels instead,
    which takes the weight away from a face that is alone in its batch, and makes the mean of several processes
    another one than that of one.

    Args:
        logits: (N, K).
        target: (N,) labels or (N, K) distributions.
        class_weights: (K,) weights ≥ 0.
        label_smoothing: Share of the target, in [0, 1], that is spread evenly over the classes, before it is weighed.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar ≥ 0, or (N,) for ``"none"``.

    Raises:
        ConfigurationError: If the target fits no logits, or the reduction is unknown.
    """
    wanted, log_p = distribution_and_log_p(target, logits)
    wanted = (1 - label_smoothing) * wanted + label_smoothing / logits.shape[1]
    return reduce_loss(-(class_weights.to(log_p) * wanted * log_p).sum(1), reduction)


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """:func:`weighted_cross_entropy` as a module; without ``class_weights`` torch's own cross-entropy.

    Args:
        label_smoothing: In [0, 1].
        class_weights: ``"balanced"``, (K,) weights, or None, see
            :func:`~eac_lightning.losses.class_balance.class_weight_tensor`.
        class_counts: (K,) faces of each class in training, for ``"balanced"``.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: str | Sequence[float] | None = None,
        class_counts: Sequence[float] | None = None,
    ) -> None:
        super().__init__(label_smoothing=label_smoothing)
        self.register_buffer("class_weights", class_weight_tensor(class_weights, class_counts), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare (N, K) logits with (N,) labels or (N, K) distributions."""
        if self.class_weights is None:
            return super().forward(logits, target)
        return weighted_cross_entropy(logits, target, self.class_weights, self.label_smoothing)
