"""Figures of a score that tells inside from outside, against loops that follow their definitions."""

import pytest
import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.metrics.ood import ood_report, threshold_at


def draw(values: int = 12) -> tuple[Tensor, Tensor]:
    """Scores with many ties, higher outside."""
    generator = torch.Generator().manual_seed(0)
    inside, outside = torch.randn(90, generator=generator), torch.randn(60, generator=generator) + 2
    return (inside * values / 4).round().double(), (outside * values / 4).round().double()


def by_pairs(inside: list[float], outside: list[float]) -> float:
    return sum(1.0 if b > a else 0.5 if a == b else 0.0 for a in inside for b in outside) / len(inside) / len(outside)


def average_precision(inside: list[float], outside: list[float]) -> float:
    """Return the sum of precision × gain in recall, from the highest threshold down; ties fall together."""
    total, recall = 0.0, 0.0
    for threshold in sorted({*inside, *outside}, reverse=True):
        found, false = sum(b >= threshold for b in outside), sum(a >= threshold for a in inside)
        total += found / (found + false) * (found / len(outside) - recall)
        recall = found / len(outside)
    return total


def accepted_outside(inside: list[float], outside: list[float]) -> float:
    for threshold in sorted(inside):
        if sum(a <= threshold for a in inside) >= 0.95 * len(inside):
            return sum(b <= threshold for b in outside) / len(outside)
    raise AssertionError


def test_figures_are_those_of_loops_with_ties() -> None:
    inside, outside = draw()
    lists = inside.tolist(), outside.tolist()
    report = ood_report(inside, outside)
    assert set(report) == {"auroc", "aupr", "fpr95"}
    assert report["auroc"] == pytest.approx(by_pairs(*lists), abs=1e-6)
    assert report["aupr"] == pytest.approx(average_precision(*lists), abs=1e-6)
    assert report["fpr95"] == accepted_outside(*lists)
    assert 0.1 < report["fpr95"] < 0.9


def test_the_outside_is_what_is_found() -> None:
    inside, outside = draw()
    there, back = ood_report(inside, outside), ood_report(-outside, -inside)
    assert there["auroc"] == pytest.approx(back["auroc"], abs=1e-6)
    assert there["aupr"] != pytest.approx(back["aupr"], abs=1e-2)
    assert ood_report(outside, inside)["auroc"] == pytest.approx(1 - there["auroc"], abs=1e-6)


def test_a_perfect_and_an_empty_score() -> None:
    assert ood_report(torch.zeros(3), torch.ones(2)) == {"auroc": 1, "aupr": 1, "fpr95": 0}
    assert ood_report(torch.zeros(3), torch.zeros(1)) == {"auroc": 0.5, "aupr": 0.25, "fpr95": 1}


def test_scores_count_to_the_last_bit_of_double_precision() -> None:
    inside, outside = draw()
    assert ood_report(1 + 1e-12 * inside, 1 + 1e-12 * outside) == ood_report(inside, outside)


@pytest.mark.parametrize(
    ("scores", "rate", "threshold"),
    [
        (list(range(1, 21)), 0.95, 19),
        (list(range(1, 20)), 0.95, 19),  # 18 of 19 are less than 95 %
        (list(range(1, 101)), 0.07, 7),  # 0.07 · 100 > 7 in floats
        ([3, 1, 2], 1.0, 3),
        ([3, 1, 2], 0.001, 1),
        ([5], 0.95, 5),
        ([1, 2, 2, 2, 9], 0.4, 2),
        ([-1.5, 0.25], 0.5, -1.5),
    ],
)
def test_a_threshold_is_a_score_that_was_seen(scores: list[float], rate: float, threshold: float) -> None:
    tensor = torch.tensor(scores, dtype=torch.float32).flip(0)
    assert threshold_at(tensor, rate) == threshold
    assert (tensor <= threshold).double().mean() >= rate
    assert (tensor < threshold).double().mean() < rate


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, float("nan")])
def test_a_share_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match=r"share to accept above 0 and up to 1, but got"):
        threshold_at(torch.ones(3), rate)


@pytest.mark.parametrize(
    ("scores", "found"),
    [(torch.ones(0), r"shape \(0,\)"), (torch.ones(2, 1), r"shape \(2, 1\)"), (torch.tensor([1, torch.nan]), "NaN")],
)
def test_what_are_no_scores_is_refused(scores: Tensor, found: str) -> None:
    with pytest.raises(DataError, match=f"one score of the inside.*{found}"):
        ood_report(scores, torch.ones(2))
    with pytest.raises(DataError, match=f"one score of the outside.*{found}"):
        ood_report(torch.ones(2), scores)
    with pytest.raises(DataError, match=found):
        threshold_at(scores)
