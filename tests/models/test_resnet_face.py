"""The face ResNets against a naive forward pass, and against the names and shapes of the published files."""

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import resnet18

from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.models.resnet_face import MSCelebResNet18, VGGFace2ResNet50

Shapes = dict[str, tuple[int, ...]]
STAGES_50 = ((3, 64), (4, 128), (6, 256), (3, 512))
NORM = ("weight", "bias", "running_mean", "running_var")


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in NORM}


def stem() -> Shapes:
    return {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}


def shapes_of_resnet50() -> Shapes:
    """Return what ``resnet50_ft_weight.pkl`` holds: no counters, for it was made before torch had them."""
    shapes, inputs = stem(), 64
    for stage, (blocks, width) in enumerate(STAGES_50, 1):
        for i in range(blocks):
            name = f"layer{stage}.{i}"
            for number, (channels, outputs, kernel) in enumerate(
                ((inputs, width, 1), (width, width, 3), (width, 4 * width, 1)), 1
            ):
                shapes[f"{name}.conv{number}.weight"] = (outputs, channels, kernel, kernel)
                shapes |= norm(f"{name}.bn{number}", outputs)
            if i == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                shapes |= norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes | {"fc.weight": (8631, 2048), "fc.bias": (8631,)}


def shapes_of_resnet18() -> Shapes:
    """Return what ``resnet18_msceleb.pth`` holds under ``state_dict``."""
    shapes, inputs = stem(), 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for i in range(2):
            name = f"layer{stage}.{i}"
            shapes[f"{name}.conv1.weight"], shapes[f"{name}.conv2.weight"] = (width, inputs, 3, 3), (width, width, 3, 3)
            shapes |= norm(f"{name}.bn1", width) | norm(f"{name}.bn2", width)
            if i == 0 and stage > 1:
                shapes[f"{name}.downsample.0.weight"] = (width, inputs, 1, 1)
                shapes |= norm(f"{name}.downsample.1", width)
            inputs = width
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def test_a_pickle_of_arrays_as_published_loads_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {
        key: np.full(shape, 1 + number / 1000, np.float32)
        for number, (key, shape) in enumerate(shapes_of_resnet50().items())
    }
    path = tmp_path / "resnet50_ft_weight.pkl"
    with path.open("wb") as file:
        pickle.dump(arrays, file, protocol=2)
    with caplog.at_level(logging.INFO):
        backbone = create_backbone("resnet50_vggface2", weights=str(path))
    path.unlink()  # some hundred megabytes
    loaded = {key: value for key, value in backbone.state_dict().items() if "num_batches" not in key}
    assert set(arrays) - set(loaded) == {"fc.weight", "fc.bias"}
    assert all(np.array_equal(value.numpy(), arrays[key]) for key, value in loaded.items())
    assert f"{len(loaded)} of " in caplog.text
    assert "WARNING" not in caplog.text


def test_a_torch_checkpoint_as_published_loads_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {
        key: torch.full(shape, 1 + number / 1000) for number, (key, shape) in enumerate(shapes_of_resnet18().items())
    }
    checkpoint = {"epoch": 3, "arch": "resnet18", "best_prec1": torch.tensor(0.9), "state_dict": state}
    torch.save(checkpoint, tmp_path / "resnet18_msceleb.pth")
    with caplog.at_level(logging.INFO):
        backbone = create_backbone("resnet18_msceleb", weights=str(tmp_path / "resnet18_msceleb.pth"))
    loaded = {key: value for key, value in backbone.state_dict().items() if "num_batches" not in key}
    assert set(state) - set(loaded) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    assert "WARNING" not in caplog.text


def naive_resnet50(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Compute Caffe's ResNet-50 from its weights, in eval mode: strides in the first 1×1, pooling rounded up."""

    def layer(x: Tensor, conv: str, bn: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{bn}.weight"], state[f"{bn}.bias"])

    x = F.max_pool2d(layer(x, "conv1", "bn1", 2, 3).relu(), 3, 2, ceil_mode=True)
    for stage, (blocks, _) in enumerate(STAGES_50, 1):
        for i in range(blocks):
            name, stride = f"layer{stage}.{i}", 2 if i == 0 and stage > 1 else 1
            shortcut = layer(x, f"{name}.downsample.0", f"{name}.downsample.1", stride) if i == 0 else x
            y = layer(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            y = layer(y, f"{name}.conv2", f"{name}.bn2", padding=1).relu()
            x = (layer(y, f"{name}.conv3", f"{name}.bn3") + shortcut).relu()
    return x


def test_it_computes_caffes_resnet_on_bgr_less_the_mean() -> None:
    torch.manual_seed(0)
    backbone = VGGFace2ResNet50().eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.constant_(module.weight, 0.5)
    image = torch.randint(256, (2, 3, 70, 64)).float()
    mean_bgr = torch.tensor([91.4953, 103.8827, 131.0912]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = naive_resnet50(backbone.state_dict(), image[:, [2, 1, 0]] - mean_bgr)
        model = CAMClassifier(backbone, 7).eval()
        found = model.feature_map(model.normalize(image / 255))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert expected.std() > 0.01


def test_msceleb_is_torchvisions_resnet() -> None:
    torch.manual_seed(0)
    network = resnet18().eval()
    backbone = MSCelebResNet18().eval()
    backbone.load_state_dict(network.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(image)
        found = network.fc(backbone.forward_features(image).mean((2, 3)))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("size", "cells"), [(224, 7), (112, 4), (100, 4), (48, 2), (32, 1)])
@pytest.mark.parametrize("name", ["resnet50_vggface2", "resnet18_msceleb"])
def test_sizes_of_the_map(name: str, size: int, cells: int) -> None:
    backbone: Any = create_backbone(name).to("meta")
    features = backbone.forward_features(torch.empty(2, 3, size, size, device="meta"))
    assert features.shape == (2, backbone.num_features, cells, cells)
    assert cells == -(-size // backbone.output_stride)


def test_pooling_rounds_up() -> None:
    backbone: Any = VGGFace2ResNet50().to("meta")
    pooled = backbone.maxpool(torch.empty(1, 64, 112, 112, device="meta"))
    assert pooled.shape[-2:] == (56, 56)
