import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.labels.votes import describe_agreement, rater_agreement, soft_labels

FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
"""The usual worked example: 10 subjects, 14 raters, 5 categories, kappa 0.210."""

VOTES = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=12)


def naive_kappa(votes: list[list[int]]) -> float:
    """Write all votes out as answers, and count pairs of raters who agree."""
    agree, shares = [], []
    for row in votes:
        answers = [j for j, count in enumerate(row) for _ in range(count)]
        pairs = [(a, b) for i, a in enumerate(answers) for k, b in enumerate(answers) if i != k]
        agree.append(sum(a == b for a, b in pairs) / len(pairs))
        shares.append([answers.count(j) / len(answers) for j in range(len(row))])
    chance = sum(float(np.mean([share[j] for share in shares])) ** 2 for j in range(len(votes[0])))
    return (float(np.mean(agree)) - chance) / (1 - chance)


def naive_kappa_of(votes: list[list[int]], j: int) -> float:
    return naive_kappa([[row[j], sum(row) - row[j]] for row in votes])


def test_kappa_of_the_worked_example() -> None:
    table = rater_agreement(np.array(FLEISS), list("abcde"))
    assert table["kappa"].iloc[-1] == pytest.approx(0.210, abs=5e-4)
    assert table.index.tolist() == ["a", "b", "c", "d", "e", "all"]
    assert table["faces"].tolist() == [2, 1, 4, 0, 3, 10]


@given(VOTES)
def test_kappa_is_what_counting_pairs_gives(votes: list[list[int]]) -> None:
    table = rater_agreement(np.array(votes), list("abc"))
    counted = [row for row in votes if sum(row) > 1]
    assert table["faces"].iloc[-1] == len(counted) == table["faces"][:-1].sum()
    named = np.array(counted).reshape(-1, 3).sum(0) > 0
    if named.sum() < 2:
        assert np.isnan(table["kappa"]).all()
        return
    assert table["kappa"].iloc[-1] == pytest.approx(naive_kappa(counted))
    for j in range(3):
        if named[j]:
            assert table["kappa"].iloc[j] == pytest.approx(naive_kappa_of(counted, j))
        else:
            assert np.isnan(table["kappa"].iloc[j])


def test_share_and_unanimity_by_class() -> None:
    votes = [[4, 0, 0], [3, 1, 0], [2, 0, 0], [0, 3, 2], [0, 1, 0], [0, 0, 0]]
    table = rater_agreement(np.array(votes), list("abc"))
    np.testing.assert_allclose(table["share"], [11 / 12, 3 / 5, np.nan, (2 + 3 / 4 + 3 / 5) / 4])
    np.testing.assert_allclose(table["unanimous"], [2 / 3, 0, np.nan, 1 / 2])


def test_agreement_in_a_sentence() -> None:
    said = describe_agreement(np.array([[4, 0], [1, 3], [0, 1]]), ["joy", "grief"])
    kappa = naive_kappa([[4, 0], [1, 3]])
    assert "the 2 faces with several votes, the winning class has 87.5% of them on average" in said
    assert f"unanimous on 50.0%; Fleiss' kappa is {kappa:.2f} (joy {kappa:.2f}, grief {kappa:.2f})." in said
    assert describe_agreement(np.array([[4, 0]]), ["joy", "grief"]).endswith("unanimous on 100.0%.")
    assert describe_agreement(np.array([[1, 0], [0, 0]]), ["joy", "grief"]) == ""


def test_soft_labels_are_votes_that_choose_the_label() -> None:
    votes = np.array([[3, 1, 0], [2, 2, 0], [2, 2, 0], [3, 1, 0], [0, 0, 0]])
    soft = soft_labels(votes, np.array([0, 0, 1, 1, 2]))
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft, [[0.75, 0.25, 0], [0.5, 0.5, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
