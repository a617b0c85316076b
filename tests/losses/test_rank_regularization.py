"""Rank regularisation against loops."""

import pytest
import torch

from eac_lightning.losses.rank_regularization import rank_regularization, split_by_importance

ALPHA = torch.rand(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("margin", [0.15, 0.9])
def test_value_and_gradient_equal_the_naive_ones(share: float, margin: float) -> None:
    found, wanted = (ALPHA.clone().requires_grad_() for _ in range(2))
    ordered = sorted(range(10), key=lambda i: float(ALPHA[i]), reverse=True)
    first = min(max(round(share * 10), 1), 9)
    high = sum(wanted[i] for i in ordered[:first]) / first
    low = sum(wanted[i] for i in ordered[first:]) / (10 - first)
    expected = margin - (high - low) if margin > high - low else 0 * high
    expected.backward()
    value = rank_regularization(found, share, margin)
    value.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found.grad, wanted.grad)


def test_groups_that_lie_apart_cost_nothing_and_equal_ones_the_margin() -> None:
    assert rank_regularization(torch.tensor([0.9, 0.9, 0.1]), 0.7) == 0
    assert rank_regularization(torch.full((6,), 0.4)) == pytest.approx(0.15)


def test_one_face_is_ranked_beside_none() -> None:
    alone = torch.tensor([0.4], requires_grad=True)
    loss = rank_regularization(alone)
    loss.backward()
    assert loss == 0
    assert alone.grad == 0
    high, low = split_by_importance(alone)
    assert high.tolist() == [0]
    assert low.tolist() == []
