import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.attention_consistency import (
    AttentionConsistencyLoss,
    attention_consistency,
    class_activation_maps,
)


def naive_maps(features: Tensor, weight: Tensor) -> Tensor:
    samples, channels, height, width = features.shape
    maps = torch.zeros(samples, len(weight), height, width, dtype=features.dtype)
    for n in range(samples):
        for k in range(len(weight)):
            for c in range(channels):
                maps[n, k] += weight[k, c] * features[n, c]
    return maps


def naive_consistency(a: Tensor, b: Tensor) -> Tensor:
    samples, classes, height, width = a.shape
    total = torch.zeros((), dtype=a.dtype)
    for n in range(samples):
        for k in range(classes):
            for y in range(height):
                for x in range(width):
                    total = total + (a[n, k, y, x] - b[n, k, y, width - 1 - x]) ** 2
    return total / (samples * classes * height * width)


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 4, 2, 5, dtype=torch.float64), torch.randn(3, 4, 2, 5, dtype=torch.float64)


def test_maps_equal_a_loop() -> None:
    features, weight = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(class_activation_maps(features, weight), naive_maps(features, weight))


def test_the_mean_of_the_maps_are_the_logits_of_a_pooled_classifier() -> None:
    features, layer = torch.randn(2, 3, 4, 5), torch.nn.Linear(3, 6)
    logits = class_activation_maps(features, layer.weight).mean((2, 3)) + layer.bias
    torch.testing.assert_close(logits, layer(features.mean((2, 3))))


def test_consistency_equals_a_loop(maps: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(attention_consistency(*maps), naive_consistency(*maps))


def test_a_mirrored_pair_costs_nothing_and_an_unmirrored_one_does(maps: tuple[Tensor, Tensor]) -> None:
    assert attention_consistency(maps[0], maps[0].flip(-1)) == 0
    assert attention_consistency(maps[0], maps[0]) > 0
    assert attention_consistency(maps[0], maps[0], flip=False) == 0


def test_it_is_symmetric_and_indifferent_to_the_order_of_the_batch(maps: tuple[Tensor, Tensor]) -> None:
    loss = attention_consistency(*maps)
    torch.testing.assert_close(loss, attention_consistency(maps[1], maps[0]))
    torch.testing.assert_close(loss, attention_consistency(maps[0].flip(0), maps[1].flip(0)))


def test_reductions(maps: tuple[Tensor, Tensor]) -> None:
    each = attention_consistency(*maps, reduction="none")
    assert each.shape == maps[0].shape
    torch.testing.assert_close(attention_consistency(*maps, reduction="sum"), each.sum())
    torch.testing.assert_close(AttentionConsistencyLoss(reduction="mean")(*maps), each.mean())


def test_gradients(maps: tuple[Tensor, Tensor]) -> None:
    assert gradcheck(attention_consistency, tuple(m.requires_grad_() for m in maps))


def test_bad_arguments_are_named(maps: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConfigurationError, match=r"one shape.*\(3, 4, 2, 5\) and \(3, 4, 2, 4\)"):
        attention_consistency(maps[0], maps[1][..., :4])
    with pytest.raises(ConfigurationError, match="one of mean, sum, none, but got 'avg'"):
        attention_consistency(*maps, reduction="avg")
