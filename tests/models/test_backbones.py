from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models import timm_backbone, torchvision_backbone
from eac_lightning.models.backbones import create_backbone, list_backbones, register_backbone
from tests.conftest import TinyBackbone


@pytest.mark.parametrize(
    ("name", "channels", "stride"),
    [
        ("mobilefacenet", 512, 16),
        ("resnet8", 128, 8),
        ("resnet18", 512, 32),
        ("mobilenet_v3_small", 576, 32),
        ("densenet121", 1024, 32),
        ("swin_t", 768, 32),
        ("timm/resnet18", 512, 32),
        ("timm/vit_tiny_patch16_224", 192, 16),
        ("timm/swin_tiny_patch4_window7_224", 768, 32),
        ("timm/coat_lite_tiny", 320, 32),
        ("timm/mobilenetv2_100", 1280, 32),
    ],
)
def test_every_family_keeps_the_contract(name: str, channels: int, stride: int) -> None:
    backbone: Any = create_backbone(name).eval()
    with torch.no_grad():
        features = backbone.forward_features(torch.zeros(1, 3, 224, 224))
    assert features.shape == (1, channels, 224 // stride, 224 // stride)
    assert backbone.num_features == channels
    assert backbone.output_stride == stride


def test_a_vision_transformer_takes_the_size_of_the_data() -> None:
    backbone: Any = create_backbone("timm/vit_tiny_patch16_224", image_size=48).eval()
    assert backbone.forward_features(torch.zeros(1, 3, 48, 48)).shape == (1, 192, 3, 3)
    assert backbone.mean == (0.5, 0.5, 0.5)


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Unknown backbone 'mobilefacnet'. Did you mean 'mobilefacenet'"):
        create_backbone("mobilefacnet")
    with pytest.raises(ConfigurationError, match="Did you mean 'timm/vit_tiny"):
        create_backbone("timm/vit_tiny_patch16_22")


def test_a_network_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="shufflenet_v2_x0_5 has no feature map"):
        create_backbone("shufflenet_v2_x0_5")


def test_a_registered_backbone_gets_what_it_takes(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    @register_backbone("takes_both")
    def _(weights: str | None, image_size: int | None) -> nn.Module:
        seen.update(weights=weights, image_size=image_size)
        return TinyBackbone()

    @register_backbone("takes_any")
    def _(**options: Any) -> nn.Module:
        seen.update(options)
        return TinyBackbone()

    create_backbone("takes_both", weights="x.pt", image_size=48)
    assert seen == {"weights": "x.pt", "image_size": 48}
    create_backbone("takes_any", weights="y.pt")
    assert seen == {"weights": "y.pt", "image_size": None}

    torch.manual_seed(0)
    torch.save(TinyBackbone().state_dict(), tmp_path / "tiny.pt")
    loaded = create_backbone("tiny", weights=str(tmp_path / "tiny.pt"))
    torch.manual_seed(0)
    assert torch.equal(next(loaded.parameters()), next(TinyBackbone().parameters()))
    assert "takes_both" in list_backbones()


def test_a_name_cannot_be_taken_twice() -> None:
    with pytest.raises(ConfigurationError, match="'resnet18' is registered already"):
        register_backbone("resnet18")


def test_what_breaks_the_contract_is_refused() -> None:
    register_backbone("no_backbone")(lambda: nn.Linear(2, 2))
    with pytest.raises(ConfigurationError, match="'no_backbone' is a Linear without forward_features"):
        create_backbone("no_backbone")


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18"])
def test_weights_from_a_file(name: str, tmp_path: Path) -> None:
    first = create_backbone(name)
    inner: Any = first.network if name.startswith("timm") else None
    state = inner.state_dict() if inner is not None else _torchvision_state()
    torch.save(state, tmp_path / "weights.pth")
    loaded = create_backbone(name, weights=str(tmp_path / "weights.pth"))
    assert torch.equal(next(loaded.parameters()), state["conv1.weight"])


def _torchvision_state() -> dict[str, Tensor]:
    from torchvision.models import resnet18

    return resnet18().state_dict()


def test_a_download_that_fails_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision_backbone.models, "get_model", fail)
    with pytest.raises(
        CheckpointError, match=r"download \(https://.*resnet18.*\), and it failed: no network.*Put that file into"
    ):
        create_backbone("resnet18", weights="IMAGENET1K_V1")
    monkeypatch.setattr(timm_backbone, "check_download", lambda _: None)
    monkeypatch.setattr(timm_backbone.timm, "create_model", fail)
    with pytest.raises(CheckpointError, match="have to be downloaded.*no network.*give the file.s path as weights"):
        create_backbone("timm/resnet18", weights="pretrained")
    with pytest.raises(CheckpointError, match="timm/resnet18.a1_in1k begins from weights"):
        create_backbone("timm/resnet18", weights="a1_in1k")
    with pytest.raises(ConfigurationError, match="timm could not build resnet18: no network"):
        create_backbone("timm/resnet18")


def test_published_weights_by_another_name_list_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="Unknown weights of resnet18.*Did you mean 'IMAGENET1K_V1'"):
        create_backbone("resnet18", weights="IMAGENET_V1")


def test_published_weights_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import resnet18

    asked = []

    def remember(name: str, weights: Any) -> nn.Module:
        asked.append(str(weights))
        return resnet18()

    monkeypatch.setattr(torchvision_backbone.models, "get_model", remember)
    create_backbone("resnet18", weights="DEFAULT")
    assert asked == ["ResNet18_Weights.IMAGENET1K_V1"]
