"""Attention consistency: the maps of a face and of its mirror image must be mirror images.

Zhang, Wang, Ling, Deng, "Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression
Recognition", ECCV 2022, arXiv 2207.10299, equations 2 to 5.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError

REDUCTIONS = ("mean", "sum", "none")


def class_activation_maps(feature_map: Tensor, weight: Tensor) -> Tensor:
    """Return ``CAM[n, k, y, x] = Σ_c weight[k, c] · feature_map[n, c, y, x]`` for every class, without bias.

    Because average pooling is linear, ``CAM.mean((2, 3)) + bias`` are the logits of a pooled linear classifier.

    Args:
        feature_map: (N, C, h, w), what the classifier's average pooling reads.
        weight: (K, C), the classifier's weight.

    Returns:
        (N, K, h, w), of any sign and scale. One 1×1 convolution: nothing of size N·K·C·h·w is ever held.
    """
    return F.conv2d(feature_map, weight[:, :, None, None])


def attention_consistency(cam_a: Tensor, cam_b: Tensor, flip: bool = True, reduction: str = "mean") -> Tensor:
    """Return the squared difference between the maps of one view and the mirrored maps of the other.

    The gradient flows through both. Maps are taken as they are: no ReLU, no normalisation.

    Args:
        cam_a: (N, K, h, w) maps of view 1.
        cam_b: (N, K, h, w) maps of view 2.
        flip: Whether view 2 shows mirrored faces, so that its maps are mirrored back.
        reduction: ``"mean"`` over all N·K·h·w elements, ``"sum"`` of them, or ``"none"``.

    Returns:
        A scalar ≥ 0, or (N, K, h, w) for ``"none"``; 0 for a mirrored pair.

    Raises:
        ConfigurationError: If the shapes differ or the reduction is unknown.
    """
    if cam_a.shape != cam_b.shape:
        raise ConfigurationError(
            f"Expected two stacks of maps of one shape (N, K, h, w), but got {tuple(cam_a.shape)} and "
            f"{tuple(cam_b.shape)}; give both views the same size."
        )
    if reduction not in REDUCTIONS:
        raise ConfigurationError(f"Expected reduction to be one of {', '.join(REDUCTIONS)}, but got {reduction!r}.")
    return F.mse_loss(cam_a, cam_b.flip(-1) if flip else cam_b, reduction=reduction)


class AttentionConsistencyLoss(nn.Module):
    """:func:`attention_consistency` as a module."""

    def __init__(self, flip: bool = True, reduction: str = "mean") -> None:
        super().__init__()
        self.flip = flip
        self.reduction = reduction

    def forward(self, cam_a: Tensor, cam_b: Tensor) -> Tensor:
        """Compare two (N, K, h, w) stacks of maps."""
        return attention_consistency(cam_a, cam_b, self.flip, self.reduction)
