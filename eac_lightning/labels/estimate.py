"""What a network's probabilities say about a whole label set: how many labels are wrong, and which.

The losses of correct and of wrong labels form a mixture of two components, as in Li, Socher, Hoi, "DivideMix", ICLR
2020, arXiv 2002.07394. Here both have one width and one weight, which is the split in two of least variance
within (Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979), and the losses are of calibrated
probabilities: a network held back from memorising is unsure of everything, and its losses would not split otherwise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import DataError

Floats = NDArray[np.float64]

LEVEL = 0.95
_BINS = 400
_RESAMPLES = 200
_JUDGED = 50_000
_TEMPERATURES = np.geomspace(0.1, 4, 61)
_TINY = 1e-12


@dataclass(frozen=True)
class NoiseRate:
    """An estimated share of wrong labels.

    Attributes:
        rate: In [0, 1].
        low: Lower end of the interval at ``LEVEL``; None if nobody has estimated one.
        high: Its upper end. The interval is of resampled losses: it tells how far chance moves the estimate, not how
            far the mixture is from the truth.
    """

    rate: float
    low: float | None = None
    high: float | None = None


def estimate_noise_rate(probabilities: Floats, given: NDArray[np.int64], seed: int = 0) -> NoiseRate:
    """Estimate the share of wrong labels, at most the share that the network contradicts.

    A network that has learnt wrong labels by heart does not contradict them: of such a one it is a lower bound.

    Args:
        probabilities: (N, K), what the network says of each sample.
        given: (N,) labels in [0, K).
        seed: Seed of the resampling for the interval.

    Raises:
        DataError: If there are fewer than two samples, or a probability is not finite.
    """
    if len(given) < 2 or not np.isfinite(probabilities).all():
        raise DataError(
            f"Expected finite probabilities of at least two samples, but got {len(given)} samples and "
            f"{int((~np.isfinite(probabilities)).sum())} numbers that are not finite."
        )
    losses = _calibrated_losses(probabilities, given)
    edges = np.histogram_bin_edges(losses, _BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    contradicted = probabilities.argmax(1) != given
    counts = np.stack([np.histogram(losses[where], edges)[0] for where in (contradicted, ~contradicted)])
    draws = np.random.default_rng(seed).multinomial(len(losses), counts.ravel() / counts.sum(), _RESAMPLES)
    shares = [_wrong_share(draw.reshape(counts.shape), centres) for draw in draws]
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return NoiseRate(_wrong_share(counts, centres), float(low), float(high))


def calibrating_temperature(probabilities: Floats, given: NDArray[np.int64]) -> float:
    """Return the temperature in [0.1, 4] at which confidence comes nearest to agreement with the labels.

    That is: the mean of the highest probability is the share of samples whose likeliest label is the given one. Judged
    by 50,000 samples at most, evenly spread.

    Args:
        probabilities: (N, K).
        given: (N,).
    """
    step = -(-len(given) // _JUDGED)
    probabilities, given = probabilities[::step], given[::step]
    agreement = (probabilities.argmax(1) == given).mean()
    logits = np.log(np.maximum(probabilities, _TINY))
    return float(min(_TEMPERATURES, key=lambda t: abs(_softmax(logits / t).max(1).mean() - agreement)))


def _calibrated_losses(probabilities: Floats, given: NDArray[np.int64]) -> Floats:
    temperature = calibrating_temperature(probabilities, given)
    losses = np.empty(len(given))
    for start in range(0, len(given), _JUDGED):  # in parts: (N, K) numbers in double precision are many
        part = slice(start, start + _JUDGED)
        calibrated = _softmax(np.log(np.maximum(probabilities[part], _TINY)) / temperature)
        losses[part] = -np.log(np.maximum(calibrated[np.arange(len(calibrated)), given[part]], _TINY))
    return losses


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _wrong_share(counts: NDArray[np.int64], centres: Floats) -> float:
    """Return the upper component's share of a histogram of (contradicted, other) losses, of (2, bins) counts."""
    # Two components split even the losses of labels that are all right, but no label is wrong that nobody contradicts.
    return min(_upper_share(counts.sum(0), centres), float(counts[0].sum() / counts.sum()))


def _upper_share(counts: NDArray[np.int64], centres: Floats) -> float:
    """Return the share of a histogram above the threshold with the least variance on both sides of it; 0 if all one."""
    below = counts.cumsum()[:-1]
    total, moment = counts.sum(), counts @ centres
    above = total - below
    inside = (below > 0) & (above > 0)
    if not inside.any():
        return 0.0
    moment_below = (counts * centres).cumsum()[:-1][inside]
    below, above = below[inside], above[inside]
    between = (moment * below / total - moment_below) ** 2 / (below * above)
    return float(above[between.argmax()] / total)


def wrong_probability(probabilities: Floats, given: NDArray[np.int64]) -> Floats:
    """Return how likely each given label is wrong, knowing which classes are taken for which.

    People do not err evenly: a sad face is called neutral more often than happy. How often class i is labelled j is
    counted from the probabilities themselves, ``T[i, j] ∝ Σ p(i) over samples given j``, and then Bayes' rule says
    ``P(clean = i | given = j) ∝ p(i) T[i, j]``: one step of expectation maximisation.

    Args:
        probabilities: (N, K), what the network says of each sample.
        given: (N,) labels in [0, K).

    Returns:
        (N,) in [0, 1].
    """
    rows, classes = np.arange(len(given)), probabilities.shape[1]
    joint = np.stack([probabilities[given == k].sum(0, dtype=np.float64) for k in range(classes)], axis=1)
    transition = joint / np.maximum(joint.sum(1, keepdims=True), _TINY)
    clean = probabilities * transition[:, given].T
    return np.asarray(1 - clean[rows, given] / np.maximum(clean.sum(1), _TINY))


def suggest(
    probabilities: Floats, given: NDArray[np.int64], suspect: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Floats]:
    """Return the likeliest label of each sample, and how likely the network finds it.

    Of a suspect that is the likeliest label but the given one; any other keeps the given label.

    Args:
        probabilities: (N, K).
        given: (N,) labels in [0, K).
        suspect: (N,).

    Returns:
        (N,) labels and (N,) probabilities in [0, 1].
    """
    rows = np.arange(len(given))
    others = probabilities.copy()
    others[rows, given] = -1
    suggested = np.where(suspect, others.argmax(1), given)
    return suggested, probabilities[rows, suggested]


def transition_matrix(given: NDArray[np.int64], suspect: NDArray[np.bool_], probabilities: Floats) -> Floats:
    """Return an estimate of ``T[i, j] = P(given = j | clean = i)``.

    A label that is not suspect counts as right; a suspect is shared among the other classes as the network has it.

    Args:
        given: (N,) labels in [0, K).
        suspect: (N,).
        probabilities: (N, K).

    Returns:
        (K, K), rows summing to 1; a class that nothing is estimated to belong to keeps its labels.
    """
    rows, classes = np.arange(len(given)), probabilities.shape[1]
    clean = np.array(probabilities, np.float64)
    clean[rows, given] = 0
    clean *= (suspect / np.maximum(clean.sum(1), _TINY))[:, None]
    clean[rows, given] = ~suspect
    joint = np.zeros((classes, classes))
    np.add.at(joint.T, given, clean)
    total = joint.sum(1, keepdims=True)
    return np.asarray(np.where(total > 0, joint / np.maximum(total, _TINY), np.eye(classes)))
