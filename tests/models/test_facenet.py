"""FaceNet against the library's own forward pass, and against the names and shapes of the published file."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor

from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.models.facenet import FaceNet

Shapes = dict[str, tuple[int, ...]]


def conv(name: str, inputs: int, outputs: int, height: int, width: int | None = None) -> Shapes:
    """Return what one convolution with its batch normalisation is in the file."""
    norm = {f"{name}.bn.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {
        f"{name}.conv.weight": (outputs, inputs, height, width or height),
        **norm,
        f"{name}.bn.num_batches_tracked": (),
    }


def block(name: str, channels: int, branches: list[list[tuple[int, int, int]]]) -> Shapes:
    """Return a residual block: branches of (outputs, height, width), joined by a 1×1 convolution with bias."""
    shapes: Shapes = {}
    for number, branch in enumerate(branches):
        inputs = channels
        for step, (outputs, height, width) in enumerate(branch):
            where = f"{name}.branch{number}" + (f".{step}" if len(branch) > 1 else "")
            shapes |= conv(where, inputs, outputs, height, width)
            inputs = outputs
    joined = sum(branch[-1][0] for branch in branches)
    return shapes | {f"{name}.conv2d.weight": (channels, joined, 1, 1), f"{name}.conv2d.bias": (channels,)}


def published_shapes(people: int) -> Shapes:
    """Return names and shapes of the published file of a network that told ``people`` apart."""
    shapes: Shapes = {}
    for name, inputs, outputs, size in (
        ("conv2d_1a", 3, 32, 3), ("conv2d_2a", 32, 32, 3), ("conv2d_2b", 32, 64, 3), ("conv2d_3b", 64, 80, 1),
        ("conv2d_4a", 80, 192, 3), ("conv2d_4b", 192, 256, 3),
        ("mixed_6a.branch0", 256, 384, 3), ("mixed_6a.branch1.0", 256, 192, 1), ("mixed_6a.branch1.1", 192, 192, 3),
        ("mixed_6a.branch1.2", 192, 256, 3),
        ("mixed_7a.branch0.0", 896, 256, 1), ("mixed_7a.branch0.1", 256, 384, 3), ("mixed_7a.branch1.0", 896, 256, 1),
        ("mixed_7a.branch1.1", 256, 256, 3), ("mixed_7a.branch2.0", 896, 256, 1), ("mixed_7a.branch2.1", 256, 256, 3),
        ("mixed_7a.branch2.2", 256, 256, 3),
    ):  # fmt: skip
        shapes |= conv(name, inputs, outputs, size)
    for i in range(5):
        three = [[(32, 1, 1)], [(32, 1, 1), (32, 3, 3)], [(32, 1, 1), (32, 3, 3), (32, 3, 3)]]
        shapes |= block(f"repeat_1.{i}", 256, three)
    for i in range(10):
        shapes |= block(f"repeat_2.{i}", 896, [[(128, 1, 1)], [(128, 1, 1), (128, 1, 7), (128, 7, 1)]])
    for name in (*(f"repeat_3.{i}" for i in range(5)), "block8"):
        shapes |= block(name, 1792, [[(192, 1, 1)], [(192, 1, 1), (192, 1, 3), (192, 3, 1)]])
    norm = {f"last_bn.{part}": (512,) for part in ("weight", "bias", "running_mean", "running_var")}
    head: Shapes = {"last_linear.weight": (512, 1792), **norm, "last_bn.num_batches_tracked": ()}
    return shapes | head | {"logits.weight": (people, 512), "logits.bias": (people,)}


def generate(shapes: Shapes) -> dict[str, Tensor]:
    """Return tensors of these shapes, each with values of its own."""
    return {key: torch.full(shape, 1 + number / 1000) for number, (key, shape) in enumerate(shapes.items())}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("name", "file", "people"),
    [("vggface2", "20180402-114759-vggface2.pt", 8631), ("casia-webface", "20180408-102900-casia-webface.pt", 10575)],
)
def test_a_file_as_published_loads_whole(
    name: str, file: str, people: int, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = generate(published_shapes(people))
    torch.save(state, cache / file)
    with caplog.at_level(logging.INFO):
        backbone = create_backbone("facenet", weights=name)
    (cache / file).unlink()  # a hundred megabytes
    loaded = backbone.state_dict()
    assert set(state) - set(loaded) == {key for key in state if key.startswith(("last_", "logits."))}
    assert all(torch.equal(value, state[key].to(value.dtype)) for key, value in loaded.items())
    assert f"{len(loaded)} of {len(loaded)} tensors of FaceNet" in caplog.text
    assert "WARNING" not in caplog.text


def test_it_computes_what_the_library_computes() -> None:
    torch.manual_seed(0)
    library = InceptionResnetV1().eval()
    backbone: Any = FaceNet().eval()
    backbone.load_state_dict(library.state_dict(), strict=False)
    caught: list[Tensor] = []
    library.block8.register_forward_hook(lambda _, __, output: caught.append(output))
    image = torch.randint(256, (2, 3, 112, 107)).float()
    with torch.no_grad():
        library((image - 127.5) / 128)
        model = CAMClassifier(backbone, 7).eval()
        found = model.feature_map(model.normalize(image / 255))
    torch.testing.assert_close(found, caught[0], rtol=1e-4, atol=1e-4)
    assert (found < 0).any()  # block8 has no ReLU at its end


@pytest.mark.parametrize(("size", "cells"), [(75, 1), (106, 1), (107, 2), (160, 3), (171, 4), (224, 5)])
def test_sizes_of_the_map(size: int, cells: int) -> None:
    backbone: Any = FaceNet().to("meta")
    features = backbone.forward_features(torch.empty(2, 3, size, size, device="meta"))
    assert features.shape == (2, backbone.num_features, cells, cells)
    assert cells == (size - 43) // backbone.output_stride


def test_layers_can_be_named() -> None:
    backbone: Any = FaceNet().to("meta")
    shapes = {}
    for name in ("repeat_1", "repeat_2", "repeat_3", "block8"):
        layer = backbone.get_submodule(name)
        layer.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
    backbone.forward_features(torch.empty(1, 3, 160, 160, device="meta"))
    assert shapes == {
        "repeat_1": (256, 17, 17),
        "repeat_2": (896, 8, 8),
        "repeat_3": (1792, 3, 3),
        "block8": (1792, 3, 3),
    }


def test_maps_mirror_exactly_where_nothing_is_cut_off() -> None:
    torch.manual_seed(0)
    backbone: Any = FaceNet().eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d):  # a network that itself prefers no side
            module.weight.data = (module.weight.data + module.weight.data.flip(3)) / 2
    with torch.no_grad():
        for size, mirrors in ((107, True), (120, False)):
            image = torch.rand(1, 3, size, size)
            plain, mirrored = (backbone.forward_features(view) for view in (image, image.flip(3)))
            assert torch.allclose(plain, mirrored.flip(3), rtol=1e-3, atol=1e-4) == mirrors


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"at least 75 px for facenet.*but got 112×74"):
        FaceNet().forward_features(torch.zeros(1, 3, 112, 74))


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(create_backbone("resnet18_msceleb").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(
        CheckpointError, match=r"Less than half of FaceNet is in .*resnet18.pth, where 0 of its .*Is this the file of"
    ):
        create_backbone("facenet", weights=str(tmp_path / "resnet18.pth"))
