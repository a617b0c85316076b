"""What a confidence is worth: temperature scaling, calibration error, and accuracy against coverage.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599; Geifman,
El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, arXiv 1705.08500.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.metrics.calibration import BINS, calibration_error, count_by_confidence

LOWEST, HIGHEST = 0.05, 20.0
"""The temperatures that are looked for. Where every face is right, the best one would be 0."""
_HALVINGS = 60

logger = logging.getLogger("eac_lightning")


@dataclass
class TemperatureScaling:
    """One positive number that all logits are divided by, which changes no prediction, only how sure it is.

    The best one is found between ``LOWEST`` and ``HIGHEST``. Where it lies outside, as it does if every face is
    right (the surer the better, without end) or no confidence means anything, the nearer end is taken and said in a
    warning; where the logits tell no classes apart it is 1.

    Attributes:
        temperature: T > 0; above 1 a network was too sure of itself.
    """

    temperature: float = 1.0

    def fit(self, logits: Tensor, labels: Tensor) -> Self:
        """Take the temperature of the least mean negative log-likelihood, which is convex in 1/T.

        Args:
            logits: (N, K) of faces that the network was not trained on.
            labels: (N,) in [0, K).

        Raises:
            DataError: If there is no face, a label lies outside, or a logit is not finite.
        """
        _check(logits, labels, "logits")
        logits = logits.detach().cpu().double()
        logits = logits - logits.amax(1, keepdim=True)
        own = logits.gather(1, labels.cpu().long()[:, None]).mean()

        def slope(log_t: float) -> float:
            """Return the derivative of the loss by 1/T: by how much the expected logit lies above that of the label."""
            return float(((logits / math.exp(log_t)).softmax(1) * logits).sum(1).mean() - own)

        ends = (math.log(LOWEST), math.log(HIGHEST))
        found = _root(slope, *ends) if logits.any() else 0.0
        self.temperature = math.exp(found)
        if found in ends:
            logger.warning(
                "The likeliest temperature of these %d faces lies beyond %.4g, which was taken: they are too few, all "
                "right, or the logits say nothing.",
                len(logits),
                self.temperature,
            )
        return self

    def __call__(self, logits: Tensor) -> Tensor:
        """Return (N, K) logits divided by the temperature."""
        return logits / self.temperature


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Return Σ_m (n_m / N) · |accuracy_m − mean confidence_m| over equal bins of the highest probability.

    It depends on the number of bins and is above 0 even for a calibrated network, the more so the fewer the faces.

    Args:
        probabilities: (N, K) in [0, 1].
        labels: (N,) in [0, K).
        bins: How many parts [0, 1] has, each with its upper end.

    Returns:
        In [0, 1].

    Raises:
        DataError: If there is no face, a label lies outside, or a probability does.
        ConfigurationError: If ``bins`` is below 1.
    """
    return float(calibration_error(confidence_counts(probabilities, labels, bins)))


def confidence_counts(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Tensor:
    """Return the (3, bins) counts of :func:`~eac_lightning.metrics.calibration.count_by_confidence`.

    Arguments and errors are those of :func:`expected_calibration_error`.
    """
    if bins < 1:
        raise ConfigurationError(f"Expected at least 1 bin, but got {bins}; 15 is usual.")
    _check(probabilities, labels, "probabilities")
    if probabilities.min() < 0 or probabilities.max() > 1 + 1e-6:
        raise DataError(
            f"Expected probabilities from 0 to 1, but they go from {probabilities.min():.3g} to "
            f"{probabilities.max():.3g}. Of logits, give the softmax: logits.softmax(1)."
        )
    confidence, predicted = probabilities.detach().cpu().double().max(1)
    return count_by_confidence(confidence, predicted == labels.cpu(), bins)


def risk_coverage(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Return what share of the faces is answered, and what share of these answers is wrong, one face at a time.

    The surest face comes first. Of faces that are equally sure, any could: each counts as wrong as they are on the
    average, so that their order does not matter.

    Args:
        confidence: (N,), higher is surer.
        correct: (N,) bool.

    Returns:
        (N,) coverage n/N in (0, 1] and (N,) risk in [0, 1], float64.

    Raises:
        DataError: If there is no face, a confidence is not a number, or ``correct`` not of True and False.
    """
    _, counts, hits = _groups(confidence, correct)
    wrong = (1 - hits / counts).repeat_interleave(counts.long())
    number = torch.arange(1, len(wrong) + 1, dtype=torch.float64)
    return number / len(wrong), wrong.cumsum(0) / number


def area_under_risk_coverage(confidence: Tensor, correct: Tensor) -> float:
    """Return the mean risk over all coverages, in [0, 1]; lower is better.

    It falls with the errors and with how well the confidence ranks them. Arguments and errors are those of
    :func:`risk_coverage`.
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def threshold_for_accuracy(confidence: Tensor, correct: Tensor, accuracy: float) -> float:
    """Return the least confidence t such that the faces with confidence ≥ t are right with at least ``accuracy``.

    The accuracy is that on these very faces, among which the threshold was chosen. On new ones it will be somewhat
    lower, and of n answers it is known to about ±√(a(1 − a)/n) only: ask for a figure after a test on faces that
    neither the network nor the threshold has seen. Equally sure faces are answered all or none.

    Args:
        confidence: (N,), higher is surer.
        correct: (N,) bool.
        accuracy: Wanted, in [0, 1].

    Raises:
        ConfigurationError: If no threshold reaches it.
        DataError: If there is no face, a confidence is not a number, or ``correct`` not of True and False.
    """
    if not 0 <= accuracy <= 1:
        raise ConfigurationError(f"Expected an accuracy from 0 to 1, but got {accuracy}.")
    thresholds, counts, hits = _groups(confidence, correct)
    answered = counts.cumsum(0)
    reached = hits.cumsum(0) / answered
    enough = (reached >= accuracy).nonzero()
    if not len(enough):
        best = int(reached.argmax())
        highest = math.floor(1e4 * float(reached[best])) / 1e4  # rounded up it could be asked for in vain
        raise ConfigurationError(
            f"No confidence is high enough for an accuracy of {accuracy:.4g}: at most {highest:.4f} is reached, "
            f"by the {int(answered[best])} of {len(confidence)} faces with confidence {thresholds[best]:.4g} or more. "
            "Ask for less, or for a better network."
        )
    return float(thresholds[enough[-1]])


def _groups(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the different confidences from high to low, the faces of each and the right ones among them, float64."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise DataError(
            "Expected the confidence (N,) of at least one face, and whether it was right (N,), but got "
            f"{tuple(confidence.shape)} and {tuple(correct.shape)}."
        )
    if confidence.isnan().any():
        raise DataError(f"Expected confidences, but {int(confidence.isnan().sum())} of {len(confidence)} are NaN.")
    if not ((correct == 0) | (correct == 1)).all():  # labels, most likely
        raise DataError(
            f"Expected whether each answer was right, True, or not, False, but got a tensor from {correct.min()} to "
            f"{correct.max()}. Compare the predicted classes with the labels: predicted == labels."
        )
    values, group = torch.unique(-confidence.detach().cpu().double(), return_inverse=True)
    counts = torch.bincount(group).double()
    return -values, counts, torch.bincount(group, correct.cpu().double())


def _check(scores: Tensor, labels: Tensor, name: str) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not scores.numel():
        raise DataError(
            f"Expected {name} (N, K) and labels (N,) of at least one face, but got {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}. Is there a validation split?"
        )
    bad = int((~scores.isfinite()).any(1).sum())
    if bad:
        raise DataError(f"Expected finite {name}, but those of {bad} of {len(scores)} faces are not.")
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise DataError(
            f"Expected whole labels in [0, {scores.shape[1]}) for {name} of {scores.shape[1]} classes, but got "
            f"{labels.dtype} from {labels.min()} to {labels.max()}."
        )


def _root(slope: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function that falls from above to below 0 does, or the end that is nearer."""
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2
