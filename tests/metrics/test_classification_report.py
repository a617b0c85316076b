import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multiclass_precision

from eac_lightning.errors import ConfigurationError
from eac_lightning.metrics.classification import ClassificationReport
from eac_lightning.metrics.label_noise import WrongLabelShare


def test_figures_equal_torchmetrics_where_every_class_has_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(200, 5, generator=generator), torch.randint(5, (200,), generator=generator)
    metric = ClassificationReport(5)
    for part in range(4):
        metric.update(logits[part * 50 : part * 50 + 50], label[part * 50 : part * 50 + 50])
    report = metric.compute()
    torch.testing.assert_close(report["accuracy"], multiclass_accuracy(logits, label, 5, average="micro"))
    torch.testing.assert_close(report["mean_class_accuracy"], multiclass_accuracy(logits, label, 5, average="macro"))
    torch.testing.assert_close(report["macro_f1"], multiclass_f1_score(logits, label, 5, average="macro"))
    torch.testing.assert_close(report["recall"], multiclass_accuracy(logits, label, 5, average="none"))


def test_a_class_without_samples_counts_in_no_mean() -> None:
    metric = ClassificationReport(3)
    metric.update(torch.tensor([0, 1, 2, 1]), torch.tensor([0, 1, 1, 1]))
    report = metric.compute()
    assert report["accuracy"] == pytest.approx(3 / 4)
    assert report["mean_class_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert report["macro_f1"] == pytest.approx((1 + 2 * 2 / (2 * 2 + 0 + 1)) / 2)
    assert math.isnan(report["recall"][2])


def test_macro_precision_equals_torchmetrics_where_every_class_has_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, label = (torch.randint(5, (200,), generator=generator) for _ in range(2))
    predicted[predicted == 3] = 0  # which is never predicted, and counts 0
    metric = ClassificationReport(5)
    metric.update(predicted, label)
    found = metric.compute()["macro_precision"]
    torch.testing.assert_close(found, multiclass_precision(predicted, label, 5, average="macro"))
    alone = multiclass_precision(predicted, label, 5, average="none")
    assert alone[3] == 0
    assert found.item() == pytest.approx(sum(alone[k].item() for k in range(5)) / 5)


def test_macro_precision_by_hand() -> None:
    metric = ClassificationReport(4)
    metric.update(torch.tensor([0, 0, 0, 3, 3]), torch.tensor([0, 0, 1, 2, 1]))
    # Class 0: 2 of 3; classes 1 and 2 are never predicted; class 3 has no sample and counts in no mean.
    assert metric.compute()["macro_precision"].item() == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_wrong_labels_are_memorised_or_recovered_or_neither() -> None:
    logits = torch.eye(4)[[1, 2, 3, 0, 0]]
    label = torch.tensor([1, 1, 1, 0, 1])
    clean = torch.tensor(
        [0, 2, 0, 0, -1]
    )  # wrong and memorised, wrong and recovered, wrong and neither, right, unknown
    shares = {}
    for predicted_as in ("given", "clean"):
        metric = WrongLabelShare(predicted_as)
        metric.update(logits[:2], label[:2], clean[:2])
        metric.update(logits[2:], label[2:], clean[2:])
        shares[predicted_as] = float(metric.compute())
    assert shares == pytest.approx({"given": 1 / 3, "clean": 1 / 3})


def test_without_wrong_labels_there_is_no_share() -> None:
    metric = WrongLabelShare("given")
    metric.update(torch.eye(2), torch.tensor([0, 1]), torch.tensor([0, -1]))
    assert math.isnan(metric.compute())


def test_an_unknown_share_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Unknown predicted_as 'gven'.*Did you mean 'given'"):
        WrongLabelShare("gven")
