"""Counts by confidence add up bit by bit, and the report tells the calibration error of what it was given."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_sum

from eac_lightning.calibration import expected_calibration_error
from eac_lightning.metrics.calibration import calibration_error, count_by_confidence, rates_by_confidence
from eac_lightning.metrics.classification import ClassificationReport

GENERATOR = torch.Generator().manual_seed(0)


def faces(count: int, classes: int = 5) -> tuple[Tensor, Tensor]:
    return 2 * torch.randn(count, classes, generator=GENERATOR), torch.randint(classes, (count,), generator=GENERATOR)


def test_parts_add_up_to_the_whole_in_any_order() -> None:
    sure, right = torch.rand(1000, generator=GENERATOR), torch.rand(1000, generator=GENERATOR) < 0.5
    whole = count_by_confidence(sure, right)
    order = torch.randperm(1000, generator=GENERATOR)
    parts = [count_by_confidence(sure[part], right[part]) for part in order.split([0, 1, 333, 600, 66])]
    assert torch.equal(torch.stack(parts).sum(0), whole)
    assert whole[0].sum() == 1000
    assert whole[1].sum() == right.sum()
    assert whole[2].sum().item() == sum(round(value * 2**32) for value in sure.tolist())


def test_rates_are_means_and_empty_bins_have_none() -> None:
    counts = count_by_confidence(torch.tensor([0.4, 0.3, 0.9]), torch.tensor([True, False, True]), bins=2)
    number, accuracy, confidence = rates_by_confidence(counts)
    assert number.tolist() == [2, 1]
    assert accuracy.tolist() == [0.5, 1]
    assert confidence.tolist() == pytest.approx([0.35, 0.9], abs=1e-7)
    assert math.isnan(rates_by_confidence(torch.zeros(3, 2).long())[1][0])
    assert calibration_error(torch.zeros(3, 2).long()).isnan()


def test_what_is_no_number_counts_as_no_confidence() -> None:
    counts = count_by_confidence(torch.tensor([math.nan, 0.5]), torch.tensor([False, True]), bins=2)
    assert counts.tolist() == [[2, 0], [1, 0], [2**31, 0]]


def test_the_report_tells_the_calibration_error_of_batches_and_processes_exactly() -> None:
    logits, label = faces(301)
    whole, parts = ClassificationReport(5), [ClassificationReport(5) for _ in range(2)]
    whole.update(logits, label)
    for start in range(0, 301, 50):
        parts[start // 50 % 2].update(logits[start : start + 50], label[start : start + 50])
    report = whole.compute()
    assert report["ece"].item() == pytest.approx(expected_calibration_error(logits.softmax(1), label), abs=1e-7)
    for name in ("confmat", "calibration"):  # what processes sum
        assert torch.equal(sum(getattr(part, name) for part in parts), getattr(whole, name))
        assert whole._reductions[name] is parts[0]._reductions[name] is dim_zero_sum


def test_predictions_alone_have_no_calibration_error() -> None:
    metric = ClassificationReport(3)
    metric.update(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    assert "ece" not in metric.compute()
    metric.reset()
    metric.update(torch.zeros(1, 3), torch.tensor([0]))
    assert metric.compute()["ece"].item() == pytest.approx(2 / 3)
    metric.reset()
    assert not metric.calibration.any()


def test_half_precision_logits_are_as_right_as_the_confusion_matrix_says() -> None:
    logits, label = faces(200)
    metric = ClassificationReport(5)
    metric.update(logits.bfloat16(), label)
    assert metric.calibration[1].sum() == metric.confmat.diagonal().sum()
    nearly = torch.tensor([[0, 1e-9, -9, -9, -9]])  # whose first two have the same probability in single precision
    metric.update(nearly, torch.tensor([1]))
    assert metric.calibration[1].sum() == metric.confmat.diagonal().sum()
