"""Each score against its formula, sample by sample in plain Python."""

import math

import pytest
import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.scores import flip_consistency, label_loss, label_margin, view_agreement

ROWS, CLASSES = 7, 4


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels() -> Tensor:
    return torch.arange(ROWS) % CLASSES


def softmax(row: list[float]) -> list[float]:
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


def test_the_loss_is_that_of_the_given_label() -> None:
    logits, label = draw(ROWS, CLASSES), labels()
    expected = [softmax(row)[k] for row, k in zip(logits.tolist(), label.tolist(), strict=True)]
    torch.testing.assert_close(label_loss(logits, label), torch.tensor([-math.log(p) for p in expected]))


def test_the_margin_is_to_the_best_of_the_others() -> None:
    logits, label = draw(ROWS, CLASSES), labels()
    expected = [
        row[k] - max(value for j, value in enumerate(row) if j != k)
        for row, k in zip(logits.tolist(), label.tolist(), strict=True)
    ]
    torch.testing.assert_close(label_margin(logits, label), torch.tensor(expected))
    assert (label_margin(logits, label) > 0).tolist() == (logits.argmax(1) == label).tolist()


def test_a_margin_needs_another_class() -> None:
    with pytest.raises(ConfigurationError, match="at least two classes"):
        label_margin(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


def test_extreme_logits_give_finite_scores() -> None:
    logits, label = torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.tensor([0, 0])
    assert label_loss(logits, label).tolist() == [0, 2e4]
    assert view_agreement(logits, logits.flip(1)).tolist() == [0, 0]


def test_flip_consistency_is_the_cosine_to_the_map_mirrored_back() -> None:
    maps, mirrored, label = draw(ROWS, CLASSES, 2, 3), draw(ROWS, CLASSES, 2, 3, seed=1), labels()
    expected = []
    for n, k in enumerate(label.tolist()):
        first, second = maps[n, k].tolist(), mirrored[n, k].tolist()
        pairs = [(first[y][x], second[y][2 - x]) for y in range(2) for x in range(3)]
        lengths = [math.sqrt(sum(pair[i] ** 2 for pair in pairs)) for i in range(2)]
        expected.append(sum(a * b for a, b in pairs) / (lengths[0] * lengths[1]))
    torch.testing.assert_close(flip_consistency(maps, mirrored, label), torch.tensor(expected))


def test_flip_consistency_of_a_mirrored_pair_is_one_at_any_scale() -> None:
    maps, label = draw(ROWS, CLASSES, 4, 5), labels()
    torch.testing.assert_close(flip_consistency(maps, maps.flip(-1), label), torch.ones(ROWS))
    torch.testing.assert_close(flip_consistency(1e-3 * maps, 7 * maps.flip(-1), label), torch.ones(ROWS))
    torch.testing.assert_close(flip_consistency(maps, -maps.flip(-1), label), -torch.ones(ROWS))


def test_a_network_that_looks_at_one_side_whatever_it_is_shown_is_inconsistent() -> None:
    maps = torch.zeros(1, 1, 2, 4)
    maps[..., 0] = 1  # the left side, of the face and of its mirror image alike
    assert flip_consistency(maps, maps, torch.tensor([0])).tolist() == [0]
    drawn = draw(ROWS, CLASSES, 4, 5)
    assert (flip_consistency(drawn, drawn, labels()) < 0.9).all()


def test_flip_consistency_reads_the_given_class_alone_and_knows_an_empty_map() -> None:
    maps, label = draw(ROWS, CLASSES, 4, 5), labels()
    others = maps.flip(-1).roll(1, 1)
    others[torch.arange(ROWS), label] = maps.flip(-1)[torch.arange(ROWS), label]
    torch.testing.assert_close(flip_consistency(maps, others, label), torch.ones(ROWS))
    assert flip_consistency(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.tensor([0])).tolist() == [0]


def test_view_agreement_is_the_overlap_of_both_predictions() -> None:
    first, second = draw(ROWS, CLASSES), draw(ROWS, CLASSES, seed=1)
    expected = [
        sum(math.sqrt(p * q) for p, q in zip(softmax(a), softmax(b), strict=True))
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    torch.testing.assert_close(view_agreement(first, second), torch.tensor(expected))
    torch.testing.assert_close(view_agreement(first, second), view_agreement(second, first))
    assert (view_agreement(first, second) < 1).all()
    torch.testing.assert_close(view_agreement(first, first + 5), torch.ones(ROWS))
