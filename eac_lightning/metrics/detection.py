"""How well a score finds wrong labels, where it is known which are wrong."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_roc

from eac_lightning.errors import DataError


def detection_figures(score: Tensor, wrong: Tensor, suspect: Tensor | None = None) -> dict[str, float]:
    """Return the figures of a ranking by score.

    Args:
        score: (N,), higher is more suspect.
        wrong: (N,) bool, whether the label is wrong.
        suspect: (N,) bool, which labels were called wrong.

    Returns:
        ``auroc``; ``average_precision``; ``fpr95``, the share of right labels above the threshold that finds 95 % of
        the wrong ones; and where ``suspect`` is given its ``precision`` and ``recall``. All in [0, 1].

    Raises:
        DataError: If all labels are right, or all are wrong: there is nothing to tell apart.
    """
    wrong = wrong.bool()
    if wrong.all() or not wrong.any():
        raise DataError(f"Expected right and wrong labels among {len(wrong)}, but {int(wrong.sum())} are wrong.")
    # The metrics take what lies outside [0, 1] for logits, whose sigmoid ties in single precision; ranks do not.
    ranks = torch.unique(score.double(), return_inverse=True)[1].double()
    ranks = ranks / ranks.max().clamp(min=1)
    fpr, tpr, _ = binary_roc(ranks, wrong.long())
    figures = {
        "auroc": float(binary_auroc(ranks, wrong.long())),
        "average_precision": float(binary_average_precision(ranks, wrong.long())),
        "fpr95": float(fpr[tpr >= 0.95].min()),
    }
    if suspect is not None:
        found = float((suspect & wrong).sum())
        figures["precision"] = found / max(int(suspect.sum()), 1)
        figures["recall"] = found / int(wrong.sum())
    return figures
