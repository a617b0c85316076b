"""Confident learning, through cleanlab: for those who know it, and to compare with.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021, arXiv 1911.00068.
"""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError, DataError

Floats = NDArray[np.float64]

QUALITIES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def check_installed() -> None:
    """Refuse where cleanlab is missing.

    Raises:
        ConfigurationError: If it is not installed.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise ConfigurationError(
            "--method cleanlab needs the package cleanlab, which is not installed: pip install 'eac-lightning[audit]'."
        )


def cleanlab_opinion(
    given: NDArray[np.int64], probabilities: Floats, quality: str = "self_confidence"
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return what cleanlab makes of out-of-sample probabilities.

    Args:
        given: (N,) labels in [0, K); every class occurs.
        probabilities: (N, K), rows summing to 1.
        quality: Which of cleanlab's label qualities ranks, one of ``QUALITIES``.

    Returns:
        (N,) score in [0, 1], one minus the quality; (N,) whether it finds an issue; and its (K, K) estimate of
        P(given = j | clean = i).

    Raises:
        ConfigurationError: If cleanlab is not installed.
        DataError: If a class has no sample.
    """
    check_installed()
    from cleanlab.count import estimate_joint
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    absent = np.setdiff1d(np.arange(probabilities.shape[1]), given)
    if len(absent):
        raise DataError(f"cleanlab needs a sample of every class, but labels {absent.tolist()} have none.")
    score = 1 - get_label_quality_scores(given, probabilities, method=quality)
    issues = find_label_issues(given, probabilities, n_jobs=1)
    joint = estimate_joint(given, probabilities)  # rows are given labels
    clean = joint.sum(0, keepdims=True)
    transition = np.where(clean > 0, joint / np.maximum(clean, np.finfo(float).tiny), np.eye(len(joint))).T
    return np.asarray(score, np.float64), np.asarray(issues, bool), np.asarray(transition)
