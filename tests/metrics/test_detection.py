"""Detection figures against scikit-learn, and against counting pairs."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from eac_lightning.errors import DataError
from eac_lightning.metrics.detection import detection_figures


def draw(samples: int = 200, values: int = 12) -> tuple[Tensor, Tensor]:
    """Scores with many ties, higher where the label is wrong."""
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(samples, generator=generator) < 0.3
    score = torch.randn(samples, generator=generator) + wrong
    return (score * values / 4).round(), wrong


def pairwise_auroc(score: Tensor, wrong: Tensor) -> float:
    pairs = [(a, b) for a in score[wrong].tolist() for b in score[~wrong].tolist()]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def test_a_ranking_with_ties_equals_pairs_and_scikit_learn() -> None:
    score, wrong = draw()
    figures = detection_figures(score, wrong)
    assert set(figures) == {"auroc", "average_precision", "fpr95"}
    assert figures["auroc"] == pytest.approx(pairwise_auroc(score, wrong), abs=1e-6)
    assert figures["auroc"] == pytest.approx(roc_auc_score(wrong, score), abs=1e-6)
    assert figures["average_precision"] == pytest.approx(average_precision_score(wrong, score), abs=1e-6)


def test_the_false_alarms_at_95_percent_found_equal_a_loop_over_thresholds() -> None:
    score, wrong = draw()
    alarms = [
        float((score[~wrong] >= threshold).double().mean())
        for threshold in score.unique()
        if (score[wrong] >= threshold).double().mean() >= 0.95
    ]
    assert detection_figures(score, wrong)["fpr95"] == pytest.approx(min(alarms), abs=1e-6)


def test_only_the_order_counts_far_outside_and_closer_than_single_precision() -> None:
    score, wrong = draw()
    expected = detection_figures(score, wrong)
    assert detection_figures(1e6 * score - 1e9, wrong) == expected
    assert detection_figures(1 + 1e-12 * score.double(), wrong) == expected
    assert detection_figures(-score, wrong)["auroc"] == pytest.approx(1 - expected["auroc"], abs=1e-6)


def test_a_perfect_and_an_empty_ranking() -> None:
    wrong = torch.tensor([True, False, False, True])
    assert detection_figures(wrong.double(), wrong) == {"auroc": 1, "average_precision": 1, "fpr95": 0}
    assert detection_figures(torch.ones(4), wrong) == {"auroc": 0.5, "average_precision": 0.5, "fpr95": 1}


def test_precision_and_recall_of_what_was_called_wrong() -> None:
    wrong = torch.tensor([1, 1, 1, 0, 0])
    suspect = torch.tensor([True, False, True, True, False])
    figures = detection_figures(torch.arange(5.0), wrong, suspect)
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    none = detection_figures(torch.arange(5.0), wrong, torch.zeros(5, dtype=torch.bool))
    assert (none["precision"], none["recall"]) == (0, 0)


@pytest.mark.parametrize("wrong", [[True, True], [False, False]])
def test_where_all_are_right_or_all_wrong_there_is_nothing_to_tell_apart(wrong: list[bool]) -> None:
    with pytest.raises(DataError, match=f"right and wrong labels among 2, but {sum(wrong)} are wrong"):
        detection_figures(torch.tensor([0.0, 1.0]), torch.tensor(wrong))
