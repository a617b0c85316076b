"""Focal loss against the formula in loops, at its end, and where powers have endless slopes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import focal_loss
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.focal import FocalLoss
from eac_lightning.losses.weighted_cross_entropy import weighted_cross_entropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.rand(5, 4, generator=GENERATOR, dtype=torch.float64).softmax(1)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)


def naive(logits: Tensor, target: Tensor, gamma: float, weights: list[float]) -> Tensor:
    total = logits.new_zeros(())
    for n in range(5):
        powers = [torch.exp(logits[n, k]) for k in range(4)]
        for k in range(4):
            p = powers[k] / sum(powers)
            wanted = float(target[n, k]) if target.is_floating_point() else float(target[n] == k)
            total = total - weights[k] * wanted * (1 - p) ** gamma * torch.log(p)
    return total / 5


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_value_and_gradient_equal_the_naive_ones(target: Tensor, gamma: float, weights: Tensor | None) -> None:
    found, wanted = (LOGITS.clone().requires_grad_() for _ in range(2))
    value = focal_loss(found, target, gamma, weights)
    expected = naive(wanted, target, gamma, [1.0] * 4 if weights is None else weights.tolist())
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-12)


def test_by_hand() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log()
    assert focal_loss(logits, torch.tensor([0])).item() == pytest.approx(0.3**2 * -math.log(0.7), rel=1e-6)
    assert focal_loss(logits, torch.tensor([2]), gamma=1).item() == pytest.approx(0.9 * -math.log(0.1), rel=1e-6)


def test_what_is_recognised_at_nine_tenths_counts_a_hundredth() -> None:
    logits = torch.tensor([[0.9, 0.1]]).log()
    ratio = focal_loss(logits, torch.tensor([0])) / F.cross_entropy(logits, torch.tensor([0]))
    assert ratio.item() == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
def test_without_gamma_it_is_cross_entropy(target: Tensor) -> None:
    torch.testing.assert_close(focal_loss(LOGITS, target, 0), F.cross_entropy(LOGITS, target), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        focal_loss(LOGITS, target, 0, WEIGHTS), weighted_cross_entropy(LOGITS, target, WEIGHTS), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("label", [0, 1])
def test_certainty_has_no_endless_slope(gamma: float, label: int) -> None:
    logits = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([label]), gamma)
    loss.backward()
    assert loss.item() == pytest.approx(1000.0 * label)
    torch.testing.assert_close(logits.grad, torch.tensor([[1.0, -1.0]]) * label)


def test_half_precision_is_summed_in_single() -> None:
    half = LOGITS.bfloat16()
    assert focal_loss(half, LABEL).dtype == torch.float32
    torch.testing.assert_close(focal_loss(half, SOFT), focal_loss(half.float(), SOFT), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(focal_loss(half, LABEL), focal_loss(half.float(), LABEL), rtol=0, atol=0)


def test_reductions_and_module() -> None:
    each = focal_loss(LOGITS, LABEL, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(focal_loss(LOGITS, LABEL, reduction="sum"), each.sum())
    torch.testing.assert_close(focal_loss(LOGITS.flip(0), LABEL.flip(0)), each.mean())
    loss = FocalLoss(1.5, "balanced", [10, 20, 30, 40])
    torch.testing.assert_close(loss(LOGITS, LABEL), focal_loss(LOGITS, LABEL, 1.5, loss.class_weights))
    assert loss.state_dict() == {}


@pytest.mark.parametrize("gamma", [-0.1, math.nan])
def test_gamma_out_of_range_is_refused(gamma: float) -> None:
    with pytest.raises(ConfigurationError, match=f"gamma to be at least 0, but got {gamma}; 2 is usual"):
        focal_loss(LOGITS, LABEL, gamma)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, SOFT, 2.0, WEIGHTS), LOGITS.clone().requires_grad_())
