"""timm's networks under the backbone contract: where in the map is where on the face, and which sizes fit."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.models import timm_backbone
from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.timm_backbone import TimmBackbone

VIT: dict[str, Any] = {"patch_size": 8, "depth": 1}
SWIN: dict[str, Any] = {"embed_dim": 24, "depths": [1, 1, 1, 1]}
COAT: dict[str, Any] = {"serial_depths": [1, 1, 1, 1]}
FAMILIES = [
    # name, options, image_size, channels, cells in a row
    ("vit_tiny_patch16_224", VIT, 48, 192, 6),
    ("vit_small_patch16_224", VIT, 32, 384, 4),
    ("deit_tiny_distilled_patch16_224", VIT, 32, 192, 4),
    ("deit3_small_patch16_224", VIT, 32, 384, 4),
    ("vit_little_patch16_reg4_gap_256", VIT, 32, 320, 4),
    ("swin_tiny_patch4_window7_224", SWIN, 64, 192, 2),
    ("coat_lite_tiny", COAT, 64, 320, 2),
    ("convnext_atto", {}, 64, 320, 2),
    ("mobilenetv2_100", {}, 64, 1280, 2),
    ("levit_128s", {}, 64, 384, 1),
    ("mobilevit_xxs", {}, 64, 320, 2),
]


def build(name: str, options: dict[str, Any] | None = None, size: int | None = None) -> Any:
    torch.manual_seed(0)
    return create_backbone(f"timm/{name}", image_size=size, options=options).eval()


@pytest.mark.parametrize(("name", "options", "size", "channels", "cells"), FAMILIES)
def test_every_family_keeps_the_contract_at_small_sizes(
    name: str, options: dict[str, Any], size: int, channels: int, cells: int
) -> None:
    backbone = build(name, options, size)
    with torch.no_grad():
        features = backbone.forward_features(torch.rand(2, 3, size, size))
    assert features.shape == (2, channels, cells, cells)
    assert backbone.num_features == channels
    # LeViT's attention halves maps of odd sides upwards.
    assert backbone.output_stride == (size // cells if name != "levit_128s" else 64)


def test_a_network_is_built_the_same_where_gradients_are_off() -> None:
    frozen = [parameter.requires_grad for parameter in build("levit_128s", size=64).parameters()]
    with torch.no_grad():
        built = build("levit_128s", size=64)
    assert [parameter.requires_grad for parameter in built.parameters()] == frozen


@pytest.mark.parametrize(("name", "options", "size"), [family[:3] for family in FAMILIES[:8]])
def test_a_mark_on_the_face_is_at_its_place_in_the_map(name: str, options: dict[str, Any], size: int) -> None:
    backbone = build(name, options, size)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (backbone.mean, backbone.std))
    blank = torch.full((1, 3, size, size), 0.5)
    cells = backbone.forward_features((blank - mean) / std).shape[-1]
    for row, column in ((0, cells - 1), (cells - 1, 0)):
        marked = blank.clone()
        top, left = row * size // cells, column * size // cells
        generator = torch.Generator().manual_seed(1)
        patch = torch.rand(3, size // cells, size // cells, generator=generator)
        marked[0, :, top : top + size // cells, left : left + size // cells] = patch
        with torch.no_grad():
            change = backbone.forward_features((marked - mean) / std) - backbone.forward_features((blank - mean) / std)
        strongest = int(change.square().sum(1).argmax())
        assert (strongest // cells, strongest % cells) == (row, column)


def symmetric_vit(size: int = 32) -> Any:
    """A transformer that knows neither left from right in a patch nor where a patch is."""
    backbone = build("vit_tiny_patch16_224", VIT | {"depth": 2}, size)
    with torch.no_grad():
        backbone.network.pos_embed.zero_()
        kernel = backbone.network.patch_embed.proj.weight
        kernel.copy_((kernel + kernel.flip(-1)) / 2)
    return backbone


def test_without_positions_the_mirrored_face_has_the_mirrored_map() -> None:
    backbone, image = symmetric_vit(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        mapped, mirrored = backbone.forward_features(image), backbone.forward_features(image.flip(-1))
        torch.testing.assert_close(mirrored.flip(-1), mapped, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(mirrored, mapped, atol=1e-2)
        backbone.network.pos_embed.normal_()
        assert not torch.allclose(backbone.forward_features(image.flip(-1)).flip(-1), mapped, atol=1e-2)


def test_tokens_are_folded_in_reading_order_without_those_in_front() -> None:
    tokens = torch.arange(5 * 2.0).view(1, 5, 2)
    for prefix in (1, None):
        folded = timm_backbone._fold_tokens(tokens, prefix, 8, 8)
        assert folded.shape == (1, 2, 2, 2)
        assert folded[0, :, 0, 1].tolist() == tokens[0, 2].tolist()


@pytest.mark.parametrize("prefix", [2, None])
def test_the_grid_has_the_proportions_of_the_picture(prefix: int | None) -> None:
    tokens = torch.arange(2 + 3 * 5.0).view(1, -1, 1)
    folded = timm_backbone._fold_tokens(tokens, prefix, 24, 40)
    assert folded[0, 0].tolist() == [[2, 3, 4, 5, 6], [7, 8, 9, 10, 11], [12, 13, 14, 15, 16]]


def test_tokens_that_are_no_grid_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Expected 7 tokens of a picture of 8×8 px to be a grid"):
        timm_backbone._fold_tokens(torch.zeros(1, 8, 2), 1, 8, 8)


def test_pictures_that_are_not_square() -> None:
    backbone = build("vit_tiny_patch16_224", VIT | {"img_size": [48, 32]}, 32)
    assert backbone.forward_features(torch.rand(2, 3, 48, 32)).shape == (2, 192, 6, 4)
    with pytest.raises(ConfigurationError, match=r"was built for images of 48×32 px, but got 32×48.*image_size"):
        backbone.forward_features(torch.rand(2, 3, 32, 48))
    free = build("vit_tiny_patch16_224", VIT | {"dynamic_img_size": True}, 32)
    assert free.forward_features(torch.rand(2, 3, 16, 40)).shape == (2, 192, 2, 5)


@pytest.mark.parametrize(
    ("name", "options", "size", "message"),
    [
        ("vit_tiny_patch16_224", VIT, 50, "a multiple of 8 for timm/vit_tiny_patch16_224, but got 50: 2 px.*48 or 56"),
        ("vit_tiny_patch16_224", {"depth": 1}, 12, r"a multiple of 16 .* but got 12: 12 px .* Take 16\."),
        ("swin_tiny_patch4_window7_224", SWIN, 50, "a multiple of 4 .* but got 50: 2 px.*48 or 52"),
        ("convnext_atto", {}, 48, "a multiple of 32 .* but got 48: 16 px.*32 or 64"),
        ("coat_lite_tiny", COAT, 48, "a multiple of 32 .* but got 48: 16 px.*32 or 64"),
        (
            "convnext_atto",
            {},
            2,
            "convnext_atto cannot take images of 2×2 px .*It was made for those of 224×224",
        ),
    ],
)
def test_a_size_that_leaves_an_edge_out_names_one_that_fits(
    name: str, options: dict[str, Any], size: int, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(name, options, size)


def test_a_network_that_pads_or_cuts_by_design_takes_any_size() -> None:
    padding = build("vit_tiny_patch16_224", VIT | {"dynamic_img_size": True, "dynamic_img_pad": True}, 50)
    assert padding.forward_features(torch.rand(1, 3, 50, 50)).shape[-2:] == (7, 7)
    assert build("resnet18", None, 50).output_stride == 32


class Declaring(nn.Module):
    """A network that says of itself what it is told to."""

    num_features = 3
    pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_size": (3, 37, 37), "architecture": "odd"}

    def __init__(self, cells: int, **declared: Any) -> None:
        super().__init__()
        self.cells = cells
        for name, value in declared.items():
            setattr(self, name, value)

    def forward_features(self, image: Tensor) -> Tensor:
        return image[..., : self.cells, : self.cells]


def test_what_is_made_to_cut_an_edge_off_may() -> None:
    assert TimmBackbone(Declaring(4, feature_info=[{"reduction": 8}])).output_stride == 8


@pytest.mark.parametrize("declared", [{}, {"feature_info": [{"reduction": 32}]}])
def test_without_a_true_declaration_the_stride_is_measured(declared: dict[str, Any]) -> None:
    assert TimmBackbone(Declaring(4, **declared)).output_stride == 9


def test_a_network_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="odd declares num_features=7, but its feature map has 3"):
        TimmBackbone(Declaring(4, num_features=7))


def test_a_network_of_several_maps_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="crossvit_9_240 gives a list of several maps.*coat_lite_tiny"):
        build("crossvit_9_240", {"depth": [[1, 1, 0]]})


def test_a_network_that_gives_nothing_but_its_class_token_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pit_ti_224 gives one vector of a picture of 224 px, not a map"):
        build("pit_ti_224")


def test_what_stands_behind_the_map_is_frozen_and_all_else_learns() -> None:
    backbone = build("convnext_atto", {"depths": [1, 1, 1, 1]}, 64).train()
    frozen = {name for name, parameter in backbone.network.named_parameters() if not parameter.requires_grad}
    assert frozen == {"head.norm.weight", "head.norm.bias"}
    backbone.forward_features(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters() if parameter.requires_grad)


def test_a_network_can_be_built_where_no_gradient_can_be() -> None:
    with torch.inference_mode():
        backbone = build("vit_tiny_patch16_224", VIT, 32)
    assert backbone.num_features == 192


def test_building_draws_nothing_at_random_but_the_weights() -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, **VIT)
    state = torch.random.get_rng_state()
    assert TimmBackbone(network, 32).training
    assert torch.equal(torch.random.get_rng_state(), state)
