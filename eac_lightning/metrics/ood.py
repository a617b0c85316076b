"""How well a score tells what is like the training data from what is not, and where to draw the line."""

import math

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.metrics.detection import detection_figures


def threshold_at(inside_scores: Tensor, true_positive_rate: float = 0.95) -> float:
    """Return the score above which something is refused, so that this share of ``inside_scores`` is accepted.

    It is the ⌈rate · N⌉-th smallest of them: the lowest at which ``score <= threshold`` holds for at least that share.

    Args:
        inside_scores: (N,), higher is further out.
        true_positive_rate: Share to accept, in (0, 1].

    Raises:
        ConfigurationError: If the share lies outside.
        DataError: If there is no score, or one is NaN.
    """
    if not 0 < true_positive_rate <= 1:
        raise ConfigurationError(f"Expected a share to accept above 0 and up to 1, but got {true_positive_rate}.")
    scores = _scores(inside_scores, "inside")
    # 0.07 · 100 is a little more than 7.
    rank = max(1, math.ceil(true_positive_rate * len(scores) - 1e-9))
    return float(scores.kthvalue(rank).values)


def ood_report(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """Return how well a score tells samples like the training data from others.

    Args:
        inside: (N,) scores of samples like the training data; higher is further out.
        outside: (M,) scores of others.

    Returns:
        ``auroc``; ``aupr``, average precision with the outside as what is to be found, whose chance level is
        M / (N + M); ``fpr95``, the share of the outside that is accepted where 95 % of the inside are, see
        :func:`threshold_at`. All in [0, 1].

    Raises:
        DataError: If either has no score, or one is NaN.
    """
    inside, outside = _scores(inside, "inside"), _scores(outside, "outside")
    is_outside = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))])
    figures = detection_figures(torch.cat([inside, outside]), is_outside)
    return {
        "auroc": figures["auroc"],
        "aupr": figures["average_precision"],
        "fpr95": float((outside <= threshold_at(inside)).double().mean()),
    }


def _scores(values: Tensor, name: str) -> Tensor:
    scores = values.detach().cpu().double()
    if scores.ndim != 1 or not len(scores) or scores.isnan().any():
        found = "NaN among them" if scores.isnan().any() else f"shape {tuple(scores.shape)}"
        raise DataError(f"Expected at least one score of the {name}, (N,) numbers, but got {found}.")
    return scores
