"""Methods on transformers: consistency of maps from tokens, half precision, and their gradient maps."""

from functools import partial
from typing import Any

import pytest
import torch

from eac_lightning import ClassificationModule, EACModule, FERModule
from eac_lightning.maps.gradient_cam import gradient_cam
from tests.conftest import batch

VIT: dict[str, Any] = {
    "backbone": "timm/vit_tiny_patch16_224",
    "backbone_options": {"patch_size": 8, "depth": 2},
    "image_size": 32,
}
SWIN: dict[str, Any] = {
    "backbone": "timm/swin_tiny_patch4_window7_224",
    "backbone_options": {"embed_dim": 24, "depths": [1, 1, 1, 1]},
    "image_size": 64,
}


def eac(**options: Any) -> EACModule:
    torch.manual_seed(0)
    return EACModule(num_classes=3, **(VIT | options))


def symmetric(module: FERModule) -> None:
    """Let the transformer know neither left from right in a patch nor where a patch is."""
    network: Any = module.model.backbone.network
    with torch.no_grad():
        network.pos_embed.zero_()
        network.patch_embed.proj.weight.copy_(
            (network.patch_embed.proj.weight + network.patch_embed.proj.weight.flip(-1)) / 2
        )


def test_consistency_is_nought_where_the_network_knows_no_sides_and_positions_break_it() -> None:
    still = {"erasing_probability": 0.0, "gaussian_noise_probability": 0.0}
    module = eac(**still)
    assert module.compute_loss(batch(size=32)).logs["consistency"] > 1e-6
    symmetric(module)
    assert module.compute_loss(batch(size=32)).logs["consistency"] < 1e-9


def test_consistency_teaches_every_part_of_the_transformer() -> None:
    module = eac(consistency_weight=5.0).train()
    output = module.compute_loss(batch(size=32))
    assert torch.isfinite(output.loss)
    assert module.attention_maps(batch(size=32)["image"]).shape == (6, 3, 4, 4)
    output.loss.backward()
    for name, parameter in module.model.named_parameters():
        assert parameter.grad is not None, name
        assert not name.endswith("weight") or parameter.grad.abs().sum() > 0, name


def test_maps_of_tokens_average_to_the_logits() -> None:
    module = eac().eval()
    logits, maps = module.logits_and_maps(batch(size=32)["image"])
    torch.testing.assert_close(maps.mean((2, 3)) + module.model.classifier.bias, logits)


@pytest.mark.parametrize("options", [VIT, SWIN])
def test_half_precision_gives_whole_maps_and_nearly_the_same_logits(options: dict[str, Any]) -> None:
    module = eac(**options).eval()
    image = batch(size=options["image_size"])["image"]
    with torch.no_grad():
        logits = module(image)
        with torch.autocast("cpu", torch.bfloat16):
            half, maps = module.logits_and_maps(image)
    assert half.dtype == maps.dtype == torch.float32
    torch.testing.assert_close(half, logits, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("options", [VIT, SWIN])
def test_gradient_maps_are_those_of_the_cells_and_not_of_heads_and_channels(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = ClassificationModule(num_classes=3, **options).eval()
    image = batch(size=options["image_size"])["image"]
    maps = module.attention_maps(image)[:, 1]
    # With pooling and one linear layer Grad-CAM is the positive part of CAM over the number of cells.
    torch.testing.assert_close(
        gradient_cam(module, image, 1), maps.clamp(min=0) / maps[0].numel(), atol=1e-5, rtol=1e-4
    )
    assert gradient_cam(module, image, 1, "layer_cam").shape == maps.shape


def test_a_compiled_transformer_is_one_graph_and_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a compiler makes of the graph is the compiler's business, and takes minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    losses = []
    for compiled in (False, True):
        module = eac(compile_backbone=compiled).train()
        torch.manual_seed(1)
        losses.append(module.compute_loss(batch(size=32)).loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
