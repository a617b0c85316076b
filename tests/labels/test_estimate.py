"""Estimates against made label sets of known noise, and against loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eac_lightning.errors import DataError
from eac_lightning.labels import estimate as estimate_module
from eac_lightning.labels.estimate import (
    NoiseRate,
    calibrating_temperature,
    estimate_noise_rate,
    suggest,
    transition_matrix,
    wrong_probability,
)

CLASSES = 5
Made = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True)


def made(rate: float, samples: int = 4000, temperature: float = 1, seed: int = 0) -> Made:
    """What a network that knows nearly every clean label says, the given labels and the clean ones."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, CLASSES, samples)
    moved = (clean + rng.integers(1, CLASSES, samples)) % CLASSES
    given = np.where(rng.random(samples) < rate, moved, clean)
    logits = rng.normal(size=(samples, CLASSES)) + 5 * np.eye(CLASSES)[clean]
    return softmax(logits / temperature), given, clean


@pytest.mark.parametrize("temperature", [1, 4])
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.5])
def test_a_known_rate_is_found_however_sure_the_network_dares_to_be(rate: float, temperature: float) -> None:
    probabilities, given, clean = made(rate, temperature=temperature)
    wrong = (given != clean).mean()
    estimate = estimate_noise_rate(probabilities, given)
    assert estimate.rate == pytest.approx(wrong, abs=0.01)
    assert estimate.low <= wrong <= estimate.high
    assert 0.01 < estimate.high - estimate.low < 0.05


def test_the_interval_covers_over_many_draws_and_narrows_with_more_samples() -> None:
    estimates = [(estimate_noise_rate(*made(0.3, 500, seed=seed)[:2])) for seed in range(40)]
    assert all(estimate.low <= estimate.rate <= estimate.high for estimate in estimates)
    # About 95 % of the intervals hold the rate that the labels were drawn with.
    assert sum(estimate.low <= 0.3 <= estimate.high for estimate in estimates) >= 33
    widths = [estimate.high - estimate.low for estimate in estimates]
    more = estimate_noise_rate(*made(0.3, 8000)[:2])
    assert np.mean(widths) / (more.high - more.low) == pytest.approx(4, rel=0.3)  # the root of 16


def test_few_wrong_labels_where_all_are_right_and_many_where_all_are_wrong() -> None:
    right, wrong = (estimate_noise_rate(*made(rate)[:2]) for rate in (0, 1))
    assert right.rate < 0.01
    # Nothing is left to compare with, so the estimate is far off; but it is far from reassuring too.
    assert wrong.rate > 0.4
    assert all(0 <= bound <= 1 for bound in (right.low, right.high, wrong.low, wrong.high))


def test_nothing_is_wrong_that_the_network_does_not_contradict() -> None:
    probabilities = np.array([[0.99, 0.01], [0.98, 0.02], [0.55, 0.45], [0.54, 0.46]])
    assert estimate_noise_rate(probabilities, np.zeros(4, np.int64)) == NoiseRate(0, 0, 0)
    assert estimate_noise_rate(probabilities[:, ::-1], np.array([1, 1, 1, 0])).rate == 0.25


def test_losses_that_are_all_one_have_no_wrong_ones() -> None:
    even = np.full((6, 3), 1 / 3)
    assert estimate_noise_rate(even, np.arange(6) % 3) == NoiseRate(0, 0, 0)
    assert estimate_noise_rate(np.eye(3)[[0, 1]], np.array([0, 1])) == NoiseRate(0, 0, 0)


def test_certainty_that_is_wrong_is_a_finite_loss() -> None:
    estimate = estimate_noise_rate(np.eye(2)[[0, 0, 0, 1]], np.array([0, 0, 0, 0]))
    assert estimate.rate == 0.25


def test_the_same_answers_give_the_same_estimate() -> None:
    probabilities, given, _ = made(0.2, 500)
    first, again, other = (estimate_noise_rate(probabilities, given, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.rate == other.rate
    assert first != other
    shuffled = np.random.default_rng(0).permutation(len(given))
    assert estimate_noise_rate(probabilities[shuffled], given[shuffled]) == first


@pytest.mark.parametrize(("samples", "value"), [(0, 0.5), (1, 0.5), (3, np.nan), (3, np.inf)])
def test_what_cannot_be_estimated_from(samples: int, value: float) -> None:
    numbers = 0 if np.isfinite(value) else 2 * samples
    with pytest.raises(DataError, match=f"at least two samples, but got {samples} samples and {numbers} numbers"):
        estimate_noise_rate(np.full((samples, 2), value), np.zeros(samples, np.int64))


@pytest.mark.parametrize("temperature", [1, 4])
def test_calibrated_confidence_is_the_agreement_and_the_order_stays(temperature: float) -> None:
    probabilities, given, _ = made(0.3, temperature=temperature)
    before = probabilities.copy()
    calibrated = softmax(np.log(probabilities) / calibrating_temperature(probabilities, given))
    agreement = np.mean([row.argmax() == label for row, label in zip(probabilities, given, strict=True)])
    assert calibrated.max(1).mean() == pytest.approx(agreement, abs=0.01)
    np.testing.assert_allclose(calibrated.sum(1), 1)
    assert (calibrated.argsort(1) == probabilities.argsort(1)).all()
    assert (probabilities == before).all()


def test_many_samples_are_judged_by_some_and_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, given, _ = made(0.3)
    whole = estimate_noise_rate(probabilities, given)
    monkeypatch.setattr(estimate_module, "_JUDGED", 700)
    assert calibrating_temperature(probabilities, given) == calibrating_temperature(probabilities[::6], given[::6])
    assert estimate_noise_rate(probabilities, given).rate == pytest.approx(whole.rate, abs=0.005)


def test_a_suspect_is_suggested_the_likeliest_other_label() -> None:
    probabilities, given, _ = made(0.3, 60)
    suspect = np.arange(60) % 2 == 0
    before = probabilities.copy()
    suggested, confidence = suggest(probabilities, given, suspect)
    for n in range(60):
        others = {k: probabilities[n, k] for k in range(CLASSES) if k != given[n]}
        expected = max(others, key=others.__getitem__) if suspect[n] else given[n]
        assert suggested[n] == expected
        assert confidence[n] == probabilities[n, expected]
    assert (probabilities == before).all()


def test_the_transition_matrix_counts_the_right_and_shares_out_the_suspects() -> None:
    probabilities, given, _ = made(0.3, 60)
    suspect = np.arange(60) % 3 == 0
    joint = np.zeros((CLASSES, CLASSES))
    for n in range(60):
        if not suspect[n]:
            joint[given[n], given[n]] += 1
            continue
        others = sum(probabilities[n, k] for k in range(CLASSES) if k != given[n])
        for k in range(CLASSES):
            if k != given[n]:
                joint[k, given[n]] += probabilities[n, k] / others
    expected = [[value / sum(row) for value in row] for row in joint]
    np.testing.assert_allclose(transition_matrix(given, suspect, probabilities), expected)


def test_the_transition_matrix_is_that_of_the_noise() -> None:
    probabilities, given, clean = made(0.3, 20000)
    estimate = transition_matrix(given, given != clean, probabilities)
    truth = 0.7 * np.eye(CLASSES) + 0.3 / (CLASSES - 1) * (1 - np.eye(CLASSES))
    np.testing.assert_allclose(estimate, truth, atol=0.02)


def test_a_class_that_nothing_belongs_to_keeps_its_labels() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [1.0, 0.0, 0.0]])
    # The last one is suspect, but its network knows no other label.
    estimate = transition_matrix(np.array([0, 0, 0]), np.array([False, True, True]), probabilities)
    np.testing.assert_allclose(estimate, [[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(estimate.sum(1), 1)


def test_the_probability_of_being_wrong_is_that_of_a_loop() -> None:
    probabilities, given, _ = made(0.3, 60)
    expected = np.zeros((CLASSES, CLASSES))
    for row, label in zip(probabilities, given, strict=True):
        for k in range(CLASSES):
            expected[k, label] += row[k]
    for k in range(CLASSES):
        expected[k] /= expected[k].sum()
    for row, label, found in zip(probabilities, given, wrong_probability(probabilities, given), strict=True):
        posterior = [row[k] * expected[k, label] for k in range(CLASSES)]
        assert found == pytest.approx(1 - posterior[label] / sum(posterior))


def test_a_usual_confusion_makes_a_label_more_suspect_than_an_unusual_one() -> None:
    # Half of class 0 is labelled 1; nobody labels class 2 so. Two faces labelled 1 are as likely 0 as they are 2.
    known = np.repeat([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]], 20, axis=0)
    given = np.array([0, 1] * 10 + [1] * 20 + [2] * 20)
    faces = np.array([[0.4, 0.6, 0], [0, 0.6, 0.4]])
    wrong = wrong_probability(np.concatenate([known, faces]), np.append(given, [1, 1]))
    assert wrong[-2] > 1.5 * wrong[-1]
    assert ((wrong >= 0) & (wrong <= 1)).all()


def test_a_certain_network_is_right_about_being_wrong() -> None:
    np.testing.assert_allclose(wrong_probability(np.eye(2)[[0, 0, 1, 1]], np.array([0, 1, 1, 1])), [0, 1, 0, 0])
