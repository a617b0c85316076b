"""Temperatures, calibration errors and thresholds against loops, by hand, and at their ends."""

import logging
import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from eac_lightning import TemperatureScaling, expected_calibration_error
from eac_lightning.calibration import (
    HIGHEST,
    LOWEST,
    area_under_risk_coverage,
    confidence_counts,
    risk_coverage,
    threshold_for_accuracy,
)
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.metrics.calibration import rates_by_confidence

GENERATOR = torch.Generator().manual_seed(0)


def simulated(temperature: float, faces: int = 4000, classes: int = 7) -> tuple[Tensor, Tensor]:
    """Return logits of a network that is too sure by that factor, and labels drawn from what it should say."""
    logits = 2 * torch.randn(faces, classes, generator=GENERATOR, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=GENERATOR)[:, 0]
    return temperature * logits, labels


def likelihood(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Return the mean negative log-likelihood, in loops over faces."""
    total = 0.0
    for row, label in zip((logits / temperature).tolist(), labels.tolist(), strict=True):
        highest = max(row)
        total += highest - row[label] + math.log(sum(math.exp(value - highest) for value in row))
    return total / len(labels)


# ---- temperature -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_made_the_logits_is_found(temperature: float) -> None:
    assert TemperatureScaling().fit(*simulated(temperature)).temperature == pytest.approx(temperature, rel=0.06)


def test_no_other_temperature_is_likelier() -> None:
    logits, labels = simulated(1.7, faces=300)
    found = TemperatureScaling().fit(logits, labels).temperature
    least = likelihood(logits, labels, found)
    grid = [LOWEST * (HIGHEST / LOWEST) ** (step / 400) for step in range(401)]
    assert all(likelihood(logits, labels, other) >= least for other in (*grid, 0.999 * found, 1.001 * found))


def test_it_follows_the_scale_of_the_logits_and_no_shift() -> None:
    logits, labels = simulated(1.0, faces=500)
    one = TemperatureScaling().fit(logits, labels).temperature
    assert TemperatureScaling().fit(3 * logits, labels).temperature == pytest.approx(3 * one)
    shifted = logits + torch.randn(500, 1, generator=GENERATOR)
    assert TemperatureScaling().fit(shifted, labels).temperature == pytest.approx(one)


def test_predictions_stay_and_the_calibration_error_falls() -> None:
    logits, labels = simulated(3.0)
    scaled = TemperatureScaling().fit(logits, labels)(logits)
    assert torch.equal(scaled.argmax(1), logits.argmax(1))
    before, after = (expected_calibration_error(each.softmax(1), labels) for each in (logits, scaled))
    assert before > 0.15
    assert after < 0.03


def test_single_and_half_precision_and_small_integers_do(caplog: pytest.LogCaptureFixture) -> None:
    logits, labels = simulated(1.5, faces=1000)
    exact = TemperatureScaling().fit(logits, labels).temperature
    assert TemperatureScaling().fit(logits.float(), labels.int()).temperature == pytest.approx(exact, rel=1e-5)
    assert TemperatureScaling().fit(logits.bfloat16(), labels.to(torch.uint8)).temperature == pytest.approx(
        exact, rel=0.02
    )
    assert not caplog.records


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [
        ([[4.0, 0.0], [0.0, 4.0]], [0, 1], LOWEST),  # all right: the surer the better
        ([[1e4, 0.0], [0.0, 1e4]], [0, 1], LOWEST),
        ([[4.0, 0.0], [0.0, 4.0]], [1, 0], HIGHEST),  # all wrong: best not to say anything
    ],
)
def test_an_endless_optimum_is_bounded_and_said(
    logits: list[list[float]], label: list[int], expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    found = TemperatureScaling().fit(torch.tensor(logits), torch.tensor(label))
    assert found.temperature == pytest.approx(expected)
    assert found(torch.tensor(logits)).softmax(1).isfinite().all()
    assert f"likeliest temperature of these 2 faces lies beyond {expected:.4g}" in caplog.text


def test_logits_that_tell_nothing_apart_stay(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert TemperatureScaling().fit(torch.full((5, 3), 0.1), torch.tensor([0, 1, 2, 0, 0])).temperature == 1.0
    assert not caplog.records


def test_one_class_alone_does() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    # p is the share that is right, 2/3, where exp(2 / T) = 2.
    assert TemperatureScaling().fit(logits, torch.tensor([0, 0, 0])).temperature == pytest.approx(2 / math.log(2))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0).long(), r"at least one face, but got \(0, 3\).*validation split"),
        (torch.zeros(3), torch.zeros(3).long(), r"logits \(N, K\) and labels \(N,\)"),
        (torch.zeros(3, 2), torch.zeros(2).long(), r"got \(3, 2\) and \(2,\)"),
        (torch.tensor([[0.0, math.nan], [0.0, 1.0]]), torch.tensor([0, 1]), "finite logits, but those of 1 of 2"),
        (torch.tensor([[0.0, math.inf], [0.0, 1.0]]), torch.tensor([0, 1]), "finite logits, but those of 1 of 2"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"labels in \[0, 3\) for logits of 3 classes, but got .* 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 1]), "from -1 to 1"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "whole labels .* torch.float32"),
    ],
)
def test_what_nothing_can_be_fitted_on_is_refused(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TemperatureScaling().fit(logits, labels)


# ---- calibration error -------------------------------------------------------------------------------------------


def naive_error(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    total = 0.0
    for m in range(bins):
        members = []
        for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
            if m / bins < max(row) <= (m + 1) / bins:
                members.append((max(row), row.index(max(row)) == label))
        if members:
            accuracy = sum(right for _, right in members) / len(members)
            confidence = sum(sure for sure, _ in members) / len(members)
            total += len(members) / len(labels) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_equals_loops_and_torchmetrics(bins: int) -> None:
    logits, labels = simulated(2.0, faces=500)
    probabilities = logits.softmax(1)
    found = expected_calibration_error(probabilities, labels, bins)
    assert found == pytest.approx(naive_error(probabilities, labels, bins), abs=1e-9)
    single = probabilities.float()  # whose 1.0 torchmetrics would put into a bin of its own
    below = single.max(1).values < 1
    assert below.sum() > 490
    theirs = multiclass_calibration_error(single[below], labels[below], 7, n_bins=bins)
    assert expected_calibration_error(single[below], labels[below], bins) == pytest.approx(float(theirs), abs=1e-6)


def test_certainty_belongs_to_the_last_bin_and_an_edge_to_the_lower_one() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.75, 0.25], [0.5, 0.5]])
    counts = confidence_counts(probabilities, torch.tensor([0, 1, 0, 0]), bins=4)
    faces, accuracy, confidence = rates_by_confidence(counts)
    assert faces.tolist() == [0, 1, 1, 2]
    assert accuracy[1:].tolist() == [1, 1, 0.5]
    assert confidence[1:].tolist() == [0.5, 0.75, 1]
    assert accuracy[0].isnan()
    assert confidence[0].isnan()
    expected = (1 * 0.5 + 1 * 0.25 + 2 * 0.5) / 4
    assert expected_calibration_error(probabilities, torch.tensor([0, 1, 0, 0]), bins=4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("probabilities", "error", "message"),
    [
        (torch.tensor([[3.0, -1.0]]), DataError, r"from 0 to 1, but they go from -1 to 3. Of logits, give the softmax"),
        (torch.tensor([[0.5, 1.5]]), DataError, "go from 0.5 to 1.5"),
        (torch.tensor([[0.5, math.nan]]), DataError, "finite probabilities"),
        (torch.zeros(0, 2), DataError, "at least one face"),
    ],
)
def test_no_probabilities_are_refused(probabilities: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        expected_calibration_error(probabilities, torch.zeros(len(probabilities)).long())
    with pytest.raises(ConfigurationError, match="at least 1 bin, but got 0"):
        expected_calibration_error(torch.ones(1, 1), torch.tensor([0]), bins=0)


# ---- risk and coverage -------------------------------------------------------------------------------------------

SURE = torch.tensor([0.9, 0.5, 0.7, 0.7, 0.3])
RIGHT = torch.tensor([True, False, False, True, True])


def test_risk_and_coverage_by_hand() -> None:
    coverage, risk = risk_coverage(SURE, RIGHT)
    assert coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    # Of the two with 0.7 one is wrong: each counts half.
    assert risk.tolist() == pytest.approx([0, 0.5 / 2, 1 / 3, 2 / 4, 2 / 5])
    assert area_under_risk_coverage(SURE, RIGHT) == pytest.approx((0 + 0.25 + 1 / 3 + 0.5 + 0.4) / 5)


def test_the_order_of_the_faces_does_not_matter() -> None:
    sure = torch.randint(0, 10, (200,), generator=GENERATOR) / 10
    right = torch.rand(200, generator=GENERATOR) < sure
    order = torch.randperm(200, generator=GENERATOR)
    for one, other in zip(risk_coverage(sure, right), risk_coverage(sure[order], right[order]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_risk_equals_loops_and_ties_are_the_mean_over_their_orders() -> None:
    sure = torch.rand(50, generator=GENERATOR)
    right = torch.rand(50, generator=GENERATOR) < 0.6
    order = sorted(range(50), key=lambda i: -float(sure[i]))
    expected = [sum(not right[i] for i in order[: n + 1]) / (n + 1) for n in range(50)]
    assert risk_coverage(sure, right)[1].tolist() == pytest.approx(expected, abs=1e-12)
    tied = torch.tensor([0.5] * 3)
    orders = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    mean = [sum(sum(order[: n + 1]) / (n + 1) for order in orders) / 3 for n in range(3)]
    assert risk_coverage(tied, torch.tensor([True, False, True]))[1].tolist() == pytest.approx(mean)


def test_knowing_the_errors_is_best_and_all_right_is_without_risk() -> None:
    right = torch.tensor([True] * 8 + [False] * 2)
    best = area_under_risk_coverage(right.float(), right)
    assert best < area_under_risk_coverage(torch.zeros(10), right) < area_under_risk_coverage(-right.float(), right)
    assert area_under_risk_coverage(torch.rand(10), torch.ones(10).bool()) == 0


def test_the_least_threshold_is_found_also_where_accuracy_does_not_only_grow() -> None:
    # Accuracy from the surest on: 1, 2/3 (two tied), 2/4, 3/5.
    assert threshold_for_accuracy(SURE, RIGHT, 0.6) == pytest.approx(0.3)
    assert threshold_for_accuracy(SURE, RIGHT, 0.61) == pytest.approx(0.7)
    assert threshold_for_accuracy(SURE, RIGHT, 2 / 3) == pytest.approx(0.7)
    assert threshold_for_accuracy(SURE, RIGHT, 0.67) == pytest.approx(0.9)
    assert threshold_for_accuracy(SURE, RIGHT, 0.0) == pytest.approx(0.3)


def test_a_threshold_holds_on_its_own_faces_and_none_lower_does() -> None:
    sure = torch.rand(300, generator=GENERATOR)
    right = torch.rand(300, generator=GENERATOR) < sure
    for wanted in (0.6, 0.7, 0.8):
        threshold = threshold_for_accuracy(sure, right, wanted)
        assert right[sure >= threshold].double().mean() >= wanted
        assert all(right[sure >= other].double().mean() < wanted for other in sure[sure < threshold])


def test_equally_sure_faces_are_answered_all_or_none() -> None:
    sure, right = torch.tensor([0.8, 0.8, 0.8, 0.8]), torch.tensor([True, True, True, False])
    assert threshold_for_accuracy(sure, right, 0.75) == pytest.approx(0.8)
    with pytest.raises(
        ConfigurationError, match=r"accuracy of 0.9: at most 0.7500 is reached, by the 4 of 4 .* 0.8 or"
    ):
        threshold_for_accuracy(sure, right, 0.9)


def test_the_highest_accuracy_that_is_named_can_be_had() -> None:
    sure, right = torch.tensor([0.9, 0.9, 0.9, 0.5]), torch.tensor([True, True, False, False])
    with pytest.raises(ConfigurationError, match="at most 0.6666 is reached"):
        threshold_for_accuracy(sure, right, 0.67)
    assert threshold_for_accuracy(sure, right, 0.6666) == pytest.approx(0.9)


@pytest.mark.parametrize("accuracy", [-0.1, 95, math.nan])
def test_an_accuracy_is_a_share(accuracy: float) -> None:
    with pytest.raises(ConfigurationError, match="accuracy from 0 to 1"):
        threshold_for_accuracy(SURE, RIGHT, accuracy)


@pytest.mark.parametrize(
    ("sure", "right", "message"),
    [
        (torch.zeros(0), torch.zeros(0), r"at least one face, and whether it was right \(N,\), but got \(0,\)"),
        (torch.zeros(3), torch.zeros(2), r"\(3,\) and \(2,\)"),
        (torch.zeros(3, 2), torch.zeros(3, 2), r"\(3, 2\)"),
        (torch.tensor(0.5), torch.tensor(True), r"got \(\) and \(\)"),
        (torch.tensor([0.5, math.nan]), torch.ones(2), "1 of 2 are NaN"),
        (torch.zeros(2), torch.tensor([0, 6]), "right, True, or not, False, but got a tensor from 0 to 6"),
        (torch.zeros(2), torch.tensor([1.0, math.nan]), "but got a tensor from nan to nan"),
    ],
)
def test_what_is_no_confidence_is_refused(sure: Tensor, right: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        risk_coverage(sure, right)
    with pytest.raises(DataError, match=message):
        threshold_for_accuracy(sure, right, 0.5)
