"""Rank regularisation: the important faces of a batch must be more important than the others by a margin.

Wang, Peng, Yang, Lu, Qiao, "Suppressing Uncertainties for Large-Scale Facial Expression Recognition", CVPR 2020,
arXiv 2002.10392, equations 3 and 4.
"""

from torch import Tensor


def split_by_importance(importance: Tensor, share: float = 0.7) -> tuple[Tensor, Tensor]:
    """Return the positions of the most important faces of a batch, and those of the others.

    Args:
        importance: (N,).
        share: β in [0, 1], the part of the first group; each has at least one face, unless there is only one face,
            which is in the first.
    """
    count = len(importance)
    order = importance.argsort(descending=True)
    first = max(1, min(round(share * count), count - 1))
    return order[:first], order[first:]


def rank_regularization(importance: Tensor, share: float = 0.7, margin: float = 0.15) -> Tensor:
    """Return ``max(0, margin − (mean of the important ones − mean of the others))``, 0 for one face alone.

    Args:
        importance: (N,), α in (0, 1).
        share: See :func:`split_by_importance`.
        margin: δ1 in [0, 1].

    Returns:
        A scalar in [0, margin].
    """
    high, low = split_by_importance(importance, share)
    if not len(low):
        return importance.sum() * 0
    return (margin - importance[high].mean() + importance[low].mean()).clamp(min=0)
