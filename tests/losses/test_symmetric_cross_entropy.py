"""Symmetric cross-entropy against the formula in loops, and without either of its terms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import symmetric_cross_entropy
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.symmetric_cross_entropy import SymmetricCrossEntropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.tensor([[0.5, 0.5, 0, 0], [0.001, 0, 0, 0.999], [0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.25] * 4]).double()


def naive(logits: Tensor, target: Tensor, alpha: float, beta: float, log_zero: float) -> Tensor:
    total = torch.zeros((), dtype=logits.dtype)
    for n in range(len(logits)):
        powers = [torch.exp(logits[n, k]) for k in range(4)]
        for k in range(4):
            p = powers[k] / sum(powers)
            wanted = float(target[n, k]) if target.is_floating_point() else float(target[n] == k)
            logarithm = max(math.log(wanted), log_zero) if wanted else log_zero
            total = total - alpha * wanted * torch.log(p) - beta * p * logarithm
    return total / len(logits)


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
@pytest.mark.parametrize("setting", [(0.1, 1.0, -4.0), (6.0, 0.1, -4.0), (1.0, 1.0, -9.0)])
def test_value_and_gradient_equal_the_naive_ones(target: Tensor, setting: tuple[float, float, float]) -> None:
    found, wanted = (LOGITS.clone().requires_grad_() for _ in range(2))
    value, expected = symmetric_cross_entropy(found, target, *setting), naive(wanted, target, *setting)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-12)


def test_the_gradient_is_bounded_in_the_second_term() -> None:
    # In numpy: that of cross-entropy, times alpha, and that of −A (1 − p_y), times beta.
    alpha, beta, log_zero = 0.3, 0.8, -4.0
    p = np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(1, keepdims=True)
    expected = np.zeros((5, 4))
    for n, y in enumerate(LABEL.tolist()):
        for k in range(4):
            apart = p[n, k] - (k == y)
            expected[n, k] = (alpha * apart - beta * log_zero * p[n, y] * apart) / 5
    logits = LOGITS.clone().requires_grad_()
    symmetric_cross_entropy(logits, LABEL, alpha, beta, log_zero).backward()
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=0, atol=1e-14)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda x: symmetric_cross_entropy(x, SOFT), LOGITS.clone().requires_grad_())


def test_without_beta_it_is_cross_entropy_times_alpha() -> None:
    for target in (LABEL, SOFT):
        found = symmetric_cross_entropy(LOGITS, target, alpha=0.3, beta=0.0)
        torch.testing.assert_close(found, 0.3 * F.cross_entropy(LOGITS, target))


def test_without_alpha_it_is_a_bounded_multiple_of_what_the_label_lacks() -> None:
    found = symmetric_cross_entropy(LOGITS, LABEL, alpha=0.0, reduction="none")
    torch.testing.assert_close(found, 4 * (1 - LOGITS.softmax(1)[torch.arange(5), LABEL]))


def test_reductions_and_the_module() -> None:
    each = symmetric_cross_entropy(LOGITS, LABEL, reduction="none")
    torch.testing.assert_close(symmetric_cross_entropy(LOGITS, LABEL, reduction="sum"), each.sum())
    torch.testing.assert_close(symmetric_cross_entropy(LOGITS.flip(0), LABEL.flip(0)), each.mean())
    module = SymmetricCrossEntropy(2.0, 0.5, -3.0)
    torch.testing.assert_close(module(LOGITS, LABEL), symmetric_cross_entropy(LOGITS, LABEL, 2.0, 0.5, -3.0))


@pytest.mark.parametrize("setting", [{"alpha": -0.1}, {"beta": -1.0}, {"log_zero": 0.0}, {"alpha": math.nan}])
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(ConfigurationError, match=f"log_zero below 0, but got .*{name}={value}"):
        symmetric_cross_entropy(LOGITS, LABEL, **setting)
