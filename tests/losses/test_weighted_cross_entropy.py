"""Weighted cross-entropy against the formula in loops, and beside torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning.losses.weighted_cross_entropy import WeightedCrossEntropy, weighted_cross_entropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.rand(5, 4, generator=GENERATOR, dtype=torch.float64).softmax(1)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.0], dtype=torch.float64)


def naive(logits: Tensor, target: Tensor, weights: list[float], smoothing: float) -> Tensor:
    total = logits.new_zeros(())
    for n in range(5):
        powers = [torch.exp(logits[n, k]) for k in range(4)]
        for k in range(4):
            wanted = float(target[n, k]) if target.is_floating_point() else float(target[n] == k)
            wanted = (1 - smoothing) * wanted + smoothing / 4
            total = total - weights[k] * wanted * torch.log(powers[k] / sum(powers))
    return total / 5


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_value_and_gradient_equal_the_naive_ones(target: Tensor, smoothing: float) -> None:
    found, wanted = (LOGITS.clone().requires_grad_() for _ in range(2))
    value = weighted_cross_entropy(found, target, WEIGHTS, smoothing)
    expected = naive(wanted, target, WEIGHTS.tolist(), smoothing)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-12)


def test_by_hand() -> None:
    # Two classes with probability 1/2 each: every face costs ln 2 times its weight.
    loss = weighted_cross_entropy(torch.zeros(3, 2), torch.tensor([0, 0, 1]), torch.tensor([0.75, 1.5]))
    assert loss.item() == pytest.approx((0.75 + 0.75 + 1.5) / 3 * math.log(2))


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
def test_sums_and_single_faces_are_those_of_torch(target: Tensor) -> None:
    for reduction in ("sum", "none"):
        torch.testing.assert_close(
            weighted_cross_entropy(LOGITS, target, WEIGHTS, 0.1, reduction),
            F.cross_entropy(LOGITS, target, WEIGHTS, reduction=reduction, label_smoothing=0.1),
        )


def test_a_face_that_is_alone_in_its_batch_keeps_its_weight() -> None:
    alone, target = LOGITS[2:3], LABEL[2:3]
    ratio = weighted_cross_entropy(alone, target, 3 * WEIGHTS) / weighted_cross_entropy(alone, target, WEIGHTS)
    assert ratio.item() == pytest.approx(3.0)


def test_halves_of_a_batch_average_to_the_whole() -> None:
    whole = weighted_cross_entropy(LOGITS[:4], LABEL[:4], WEIGHTS)
    halves = [weighted_cross_entropy(LOGITS[i : i + 2], LABEL[i : i + 2], WEIGHTS) for i in (0, 2)]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_the_module_without_weights_is_torchs() -> None:
    assert torch.equal(WeightedCrossEntropy(0.1)(LOGITS, LABEL), F.cross_entropy(LOGITS, LABEL, label_smoothing=0.1))
    torch.testing.assert_close(
        WeightedCrossEntropy(0.1, WEIGHTS.tolist())(LOGITS, LABEL),
        weighted_cross_entropy(LOGITS, LABEL, WEIGHTS, 0.1),
    )


def test_balanced_weights_need_the_counts_and_are_in_no_checkpoint() -> None:
    loss = WeightedCrossEntropy(class_weights="balanced", class_counts=[10, 10, 20, 40])
    torch.testing.assert_close(loss.class_weights, torch.tensor([2.0, 2.0, 1.0, 0.5]))
    assert loss.state_dict() == {}


def test_half_precision_is_summed_in_single() -> None:
    half = LOGITS.bfloat16()
    loss = weighted_cross_entropy(half, LABEL, WEIGHTS.float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, weighted_cross_entropy(half.float(), LABEL, WEIGHTS.float()), rtol=0, atol=0)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(
        lambda x: weighted_cross_entropy(x, SOFT, WEIGHTS, 0.1), LOGITS.clone().requires_grad_()
    )
