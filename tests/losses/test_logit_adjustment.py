"""Logit adjustment against the formula in loops, at its end, and what it makes a network believe."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import logit_adjusted_cross_entropy
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.logit_adjustment import LogitAdjustedCrossEntropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64)
LABEL = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.rand(5, 4, generator=GENERATOR, dtype=torch.float64).softmax(1)
PRIOR = [0.5, 0.3, 0.15, 0.05]
LOG_PRIOR = torch.tensor(PRIOR, dtype=torch.float64).log()


def naive(logits: Tensor, target: Tensor, tau: float) -> Tensor:
    total = logits.new_zeros(())
    for n in range(5):
        powers = [torch.exp(logits[n, k]) * PRIOR[k] ** tau for k in range(4)]
        for k in range(4):
            wanted = float(target[n, k]) if target.is_floating_point() else float(target[n] == k)
            total = total - wanted * torch.log(powers[k] / sum(powers))
    return total / 5


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
@pytest.mark.parametrize("tau", [0.5, 1.0, 2])
def test_value_and_gradient_equal_the_naive_ones(target: Tensor, tau: float) -> None:
    found, wanted = (LOGITS.clone().requires_grad_() for _ in range(2))
    value, expected = logit_adjusted_cross_entropy(found, target, LOG_PRIOR, tau), naive(wanted, target, tau)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-12)


def test_by_hand() -> None:
    # Equal logits leave the prior: 3 of 4 faces are of class 0.
    loss = LogitAdjustedCrossEntropy([30, 10])
    assert loss(torch.zeros(1, 2), torch.tensor([1])).item() == pytest.approx(math.log(4))
    assert loss(torch.zeros(1, 2), torch.tensor([0])).item() == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize("target", [LABEL, SOFT], ids=["labels", "distributions"])
def test_without_tau_and_where_all_are_equally_frequent_it_is_cross_entropy(target: Tensor) -> None:
    plain = F.cross_entropy(LOGITS, target)
    torch.testing.assert_close(logit_adjusted_cross_entropy(LOGITS, target, LOG_PRIOR, 0), plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(LogitAdjustedCrossEntropy([7] * 4)(LOGITS, target), plain, rtol=0, atol=1e-12)


def test_a_network_that_sees_nothing_learns_that_all_classes_are_alike() -> None:
    label = torch.tensor([0] * 90 + [1] * 10)
    logits, loss = torch.zeros(2, requires_grad=True), LogitAdjustedCrossEntropy([90, 10])
    optimizer = torch.optim.SGD([logits], 0.5)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits.expand(100, 2), label).backward()
        optimizer.step()
    torch.testing.assert_close(logits.softmax(0), torch.tensor([0.5, 0.5]), rtol=0, atol=1e-3)


def test_half_precision_is_summed_in_single() -> None:
    half = LOGITS.bfloat16()
    loss = logit_adjusted_cross_entropy(half, SOFT, LOG_PRIOR.float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, logit_adjusted_cross_entropy(half.float(), SOFT, LOG_PRIOR.float()))


def test_reductions_and_module() -> None:
    each = logit_adjusted_cross_entropy(LOGITS, LABEL, LOG_PRIOR, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(logit_adjusted_cross_entropy(LOGITS, LABEL, LOG_PRIOR, reduction="sum"), each.sum())
    loss = LogitAdjustedCrossEntropy([50, 30, 15, 5], tau=1.0)
    torch.testing.assert_close(loss(LOGITS, LABEL), each.mean(), rtol=0, atol=1e-6)
    assert loss.state_dict() == {}


@pytest.mark.parametrize("tau", [-1.0, math.nan])
def test_tau_out_of_range_is_refused(tau: float) -> None:
    with pytest.raises(ConfigurationError, match=f"tau to be at least 0, but got {tau}; 1 is usual"):
        logit_adjusted_cross_entropy(LOGITS, LABEL, LOG_PRIOR, tau)


def test_a_class_without_a_face_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none labelled 1 "):
        LogitAdjustedCrossEntropy([3, 0])


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(
        lambda x: logit_adjusted_cross_entropy(x, SOFT, LOG_PRIOR), LOGITS.clone().requires_grad_()
    )
