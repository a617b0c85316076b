"""How far confidences are from how often they are right, counted exactly over batches and ranks."""

import torch
from torch import Tensor

BINS = 15
_UNIT = 2**32
"""Confidences are summed as whole numbers of this part, which no order of additions rounds otherwise."""


def count_by_confidence(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Tensor:
    """Return (3, bins) counts of equal parts of [0, 1]: faces, right ones, and the sum of confidences in 2⁻³².

    Counts of parts of a data set add up to those of the whole, bit by bit. A confidence on the edge of two bins
    belongs to the lower one.

    Args:
        confidence: (N,) in [0, 1]; NaN counts as 0.
        correct: (N,) bool.
        bins: M ≥ 1.
    """
    confidence = confidence.detach().nan_to_num(0.0)  # what is no number has no whole one either
    edges = torch.arange(1, bins, dtype=confidence.dtype, device=confidence.device) / bins
    counts = torch.zeros(3, bins, dtype=torch.long, device=confidence.device)
    rows = torch.stack([torch.ones_like(correct).long(), correct.long(), (confidence * _UNIT).round().long()])
    return counts.index_add_(1, torch.bucketize(confidence, edges), rows)


def rates_by_confidence(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the (M,) number of faces, accuracy and mean confidence of each bin; NaN where it has no face."""
    faces, correct, confidence = counts.cpu().double()
    return faces, correct / faces, confidence / _UNIT / faces


def calibration_error(counts: Tensor) -> Tensor:
    """Return the expected calibration error Σ_m (n_m / N) · |accuracy_m − mean confidence_m| in [0, 1].

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, equation 3.
    NaN without a face.

    Args:
        counts: (3, M), see :func:`count_by_confidence`.
    """
    faces, correct, confidence = counts.cpu().double()  # float64 is not to be had on every accelerator
    error: Tensor = (correct - confidence / _UNIT).abs().sum() / faces.sum()
    return error
