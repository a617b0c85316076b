"""Generalised cross-entropy against the formula in loops, and at its two ends."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import generalized_cross_entropy
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.generalized_cross_entropy import GeneralizedCrossEntropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.rand(5, 4, generator=GENERATOR, dtype=torch.float64).softmax(1)


def naive(logits: Tensor, target: Tensor, q: float) -> Tensor:
    losses = []
    for n in range(len(logits)):
        powers = [torch.exp(logits[n, k]) for k in range(logits.shape[1])]
        p = [power / sum(powers) for power in powers]
        each = [(1 - p_k**q) / q for p_k in p]
        losses.append(
            sum(target[n, k] * each[k] for k in range(len(each))) if target.is_floating_point() else each[target[n]]
        )
    return sum(losses) / len(losses)


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
@pytest.mark.parametrize("q", [0.05, 0.7, 1.0])
def test_value_and_gradient_equal_the_naive_ones(target: Tensor, q: float) -> None:
    found, wanted = (LOGITS.clone().requires_grad_() for _ in range(2))
    value, expected = generalized_cross_entropy(found, target, q), naive(wanted, target, q)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-12)


def test_a_face_weighs_as_much_as_its_label_is_probable() -> None:
    # In numpy: the gradient of cross-entropy, times p_y^q.
    q, p = 0.7, np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(1, keepdims=True)
    expected = np.zeros((5, 4))
    for n, y in enumerate(LABEL.tolist()):
        for k in range(4):
            expected[n, k] = p[n, y] ** q * (p[n, k] - (k == y)) / 5
    logits = LOGITS.clone().requires_grad_()
    generalized_cross_entropy(logits, LABEL, q).backward()
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=0, atol=1e-14)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda x: generalized_cross_entropy(x, SOFT), LOGITS.clone().requires_grad_())


def test_towards_zero_it_is_cross_entropy_even_in_single_precision() -> None:
    for logits, accuracy in ((LOGITS, 1e-7), (LOGITS.float(), 1e-5)):
        found = generalized_cross_entropy(logits, LABEL, q=1e-8)
        torch.testing.assert_close(found, F.cross_entropy(logits, LABEL), rtol=0, atol=accuracy)


def test_at_one_it_is_half_the_absolute_error() -> None:
    error = (LOGITS.softmax(1) - F.one_hot(LABEL, 4)).abs().sum(1)
    torch.testing.assert_close(generalized_cross_entropy(LOGITS, LABEL, q=1.0, reduction="none"), error / 2)


def test_certain_labels_as_distributions_are_labels() -> None:
    one_hot = F.one_hot(LABEL, 4).float()
    torch.testing.assert_close(
        generalized_cross_entropy(LOGITS, one_hot), generalized_cross_entropy(LOGITS, LABEL), rtol=0, atol=1e-15
    )


def test_a_hopeless_face_neither_explodes_nor_pulls() -> None:
    logits = torch.tensor([[0.0, 1000.0]], requires_grad=True)
    loss = generalized_cross_entropy(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 0.7)
    assert torch.equal(logits.grad, torch.zeros(1, 2))


def test_reductions_and_order() -> None:
    each = generalized_cross_entropy(LOGITS, LABEL, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(generalized_cross_entropy(LOGITS, LABEL, reduction="sum"), each.sum())
    torch.testing.assert_close(generalized_cross_entropy(LOGITS.flip(0), LABEL.flip(0)), each.mean())
    torch.testing.assert_close(
        GeneralizedCrossEntropy(0.3)(LOGITS, LABEL), generalized_cross_entropy(LOGITS, LABEL, 0.3)
    )


@pytest.mark.parametrize("q", [0.0, -0.1, 1.1, math.nan])
def test_q_out_of_range_is_refused(q: float) -> None:
    with pytest.raises(ConfigurationError, match=f"q to be above 0 and at most 1, but got {q}"):
        generalized_cross_entropy(LOGITS, LABEL, q)
