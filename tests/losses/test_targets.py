"""What counts as a target."""

import pytest
import torch

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.targets import as_distribution, distribution_and_log_p, reduce_loss

LOGITS = torch.zeros(2, 3)


def test_labels_become_one_hot_and_distributions_stay() -> None:
    assert as_distribution(torch.tensor([2, 0]), LOGITS).tolist() == [[0, 0, 1], [1, 0, 0]]
    soft = torch.tensor([[0.5, 0.5, 0], [0, 0, 1]], dtype=torch.float64)
    assert as_distribution(soft, LOGITS).tolist() == soft.tolist()
    assert as_distribution(soft, LOGITS).dtype == LOGITS.dtype
    for smaller in (torch.int32, torch.uint8):
        assert as_distribution(torch.tensor([2, 0], dtype=smaller), LOGITS).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("target", [torch.zeros(2), torch.zeros(2, 4), torch.zeros(3, dtype=torch.long)])
def test_another_target_is_refused(target: torch.Tensor) -> None:
    with pytest.raises(ConfigurationError, match=r"logits of \(2, 3\), but got torch\.\w+ of"):
        as_distribution(target, LOGITS)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Unknown reduction 'means'. Did you mean 'mean'"):
        reduce_loss(torch.zeros(2), "means")


def test_half_precision_becomes_single_and_double_stays() -> None:
    soft = torch.tensor([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]], dtype=torch.float64)
    for given, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        distribution, log_p = distribution_and_log_p(soft, LOGITS.to(given))
        assert distribution.dtype == log_p.dtype == wanted
        torch.testing.assert_close(distribution, soft.to(wanted), rtol=0, atol=0)
        torch.testing.assert_close(log_p.exp(), torch.full((2, 3), 1 / 3, dtype=wanted))


def test_the_shift_is_added_first() -> None:
    shift = torch.tensor([0.2, 0.3, 0.5]).log()
    _, log_p = distribution_and_log_p(torch.tensor([0, 1]), LOGITS, shift)
    torch.testing.assert_close(log_p.exp(), torch.tensor([[0.2, 0.3, 0.5]]).expand(2, 3))
