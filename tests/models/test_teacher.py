import pytest
import torch
from torch import Tensor, nn

from eac_lightning import create_backbone
from eac_lightning.errors import ConfigurationError
from eac_lightning.models.teacher import FrozenTeacher
from tests.conftest import TinyBackbone


class Grey(TinyBackbone):
    """A backbone with a normalisation of its own, and an in-place layer behind the one that is asked for."""

    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.flat = nn.Flatten()
        self.pair = Pair()
        self.aside = nn.Identity()

    def forward_features(self, image: Tensor) -> Tensor:
        self.flat(image)
        self.first.weight.sum().item()  # no network on the meta device could
        self.pair(image)
        return self.relu(self.first(image))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_it_answers_like_the_network_on_its_own_normalisation() -> None:
    network = Grey()
    image = torch.rand(2, 3, 9, 9)
    teacher = FrozenTeacher(network)
    assert teacher.num_features == 4
    assert torch.equal(teacher(image), network.forward_features((image - 0.5) / 0.25))


def test_a_layer_is_caught_before_the_next_one_changes_it() -> None:
    network = Grey()
    teacher = FrozenTeacher(network, "first")
    image = torch.rand(2, 3, 9, 9)
    answer = teacher(image)
    assert answer.min() < 0
    assert torch.equal(answer, network.first((image - 0.5) / 0.25))
    assert not network.first._forward_hooks


def test_it_is_frozen_and_in_eval_mode() -> None:
    network = create_backbone("resnet8").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    teacher = FrozenTeacher(network, "blocks.1")
    answer = teacher(torch.rand(2, 3, 32, 32).requires_grad_())
    assert answer.shape == (2, 64, 8, 8)
    assert not answer.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_unusable_layers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="Unknown layer of Grey 'frist'. Did you mean 'first'"):
        FrozenTeacher(Grey(), "frist")
    with pytest.raises(ConfigurationError, match=r"'flat' to give a feature map.*it gives \(1, 150528\)"):
        FrozenTeacher(Grey(), "flat")
    with pytest.raises(ConfigurationError, match="'aside' to be on the way.*it is never run"):
        FrozenTeacher(Grey(), "aside")
    with pytest.raises(ConfigurationError, match="'pair' to give a feature map.*it gives tuple"):
        FrozenTeacher(Grey(), "pair")
