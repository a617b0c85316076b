"""What counts as a target."""

import pytest
import torch

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.targets import as_distribution, reduce_loss

LOGITS = torch.zeros(2, 3)


def test_labels_become_one_hot_and_distributions_stay() -> None:
    assert as_distribution(torch.tensor([2, 0]), LOGITS).tolist() == [[0, 0, 1], [1, 0, 0]]
    soft = torch.tensor([[0.5, 0.5, 0], [0, 0, 1]], dtype=torch.float64)
    assert as_distribution(soft, LOGITS).tolist() == soft.tolist()
    assert as_distribution(soft, LOGITS).dtype == LOGITS.dtype


@pytest.mark.parametrize("target", [torch.zeros(2), torch.zeros(2, 4), torch.zeros(3, dtype=torch.long)])
def test_another_target_is_refused(target: torch.Tensor) -> None:
    with pytest.raises(ConfigurationError, match=r"logits of \(2, 3\), but got torch\.\w+ of"):
        as_distribution(target, LOGITS)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Unknown reduction 'means'. Did you mean 'mean'"):
        reduce_loss(torch.zeros(2), "means")
