"""Feature regression: one network's feature map is drawn to that of another.

Ding, Zhou, Chellappa, "FaceNet2ExpNet: Regularizing a Deep Face Recognition Net for Expression Recognition",
FG 2017, arXiv 1609.06591, section III-B: the face net's response is the centre of a distribution
p(g) ∝ exp(−‖g − G‖_p^p) of the expression net's, so that maximum likelihood is a regression.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError

NORMS = (1, 2)
REDUCTIONS = ("mean", "sum")


def feature_regression(student: Tensor, teacher: Tensor, norm: int = 2, reduction: str = "mean") -> Tensor:
    """Return ‖g − G‖_p^p of each face's map, averaged over the faces.

    A student's map of another height or width is first brought to the teacher's by :func:`resample`. The gradient
    flows to the student alone.

    Args:
        student: (N, C, h, w), the map g that learns.
        teacher: (N, C, H, W), the map G that is learned from.
        norm: p, 1 or 2.
        reduction: ``"sum"`` over the C·H·W elements of a face, as the paper has it, or their ``"mean"``, whose
            scale does not depend on the layer. Both are means over the N faces.

    Returns:
        A scalar ≥ 0.

    Raises:
        ConfigurationError: If numbers of faces or channels differ, or ``norm`` or ``reduction`` is unknown.
    """
    if norm not in NORMS:
        raise ConfigurationError(f"Expected norm to be 1 or 2, but got {norm!r}.")
    if reduction not in REDUCTIONS:
        raise ConfigurationError(f"Expected reduction to be one of {', '.join(REDUCTIONS)}, but got {reduction!r}.")
    if student.ndim != 4 or teacher.ndim != 4 or student.shape[:2] != teacher.shape[:2]:
        raise ConfigurationError(
            f"Expected two feature maps (N, C, h, w) of as many faces and channels, but the student's is "
            f"{tuple(student.shape)} and the teacher's {tuple(teacher.shape)}. Give the student the channels of the "
            "teacher's layer."
        )
    student = resample(student, teacher.shape[-2:])
    dtype = torch.promote_types(student.dtype, torch.float32)  # sums in half precision would not add up
    student, teacher = student.to(dtype), teacher.detach().to(dtype)
    distance = F.l1_loss if norm == 1 else F.mse_loss
    each = distance(student, teacher, reduction="none").flatten(1)
    return (each.mean(1) if reduction == "mean" else each.sum(1)).mean()


def resample(feature_map: Tensor, size: Sequence[int]) -> Tensor:
    """Return the map at (H, W) cells: bilinear between the cells' centres, averaging where it shrinks.

    A map of that size is returned as it is.

    Args:
        feature_map: (N, C, h, w).
        size: (H, W).
    """
    if tuple(feature_map.shape[-2:]) == tuple(size):
        return feature_map
    return F.interpolate(feature_map, list(size), mode="bilinear", align_corners=False, antialias=True)


class FeatureRegressionLoss(nn.Module):
    """:func:`feature_regression` as a module."""

    def __init__(self, norm: int = 2, reduction: str = "mean") -> None:
        super().__init__()
        self.norm = norm
        self.reduction = reduction

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare a student's (N, C, h, w) map with a teacher's."""
        return feature_regression(student, teacher, self.norm, self.reduction)
