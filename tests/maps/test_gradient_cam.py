import builtins
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.maps.gradient_cam import gradient_cam, load_extractor


class Flat(nn.Module):
    """No pooling before the classifier: attention maps are not in its architecture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.body = nn.Conv2d(4, 5, 3, 2, 1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(5 * 16, 3))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(self.stem(image)))


@pytest.fixture
def network() -> Flat:
    torch.manual_seed(0)
    return Flat().train()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def naive(network: Flat, image: Tensor, class_index: int, method: str, upto: int) -> np.ndarray:
    """Re-derive the papers' formulas with loops: Grad-CAM eq. 1 and 2, LayerCAM eq. 6."""
    network.eval()
    feature = (network.stem if upto == 1 else nn.Sequential(network.stem, network.body))(image)
    feature = feature.detach().requires_grad_(True)
    logits = network.head(network.body(feature)) if upto == 1 else network.head(feature)
    logits[:, class_index].sum().backward()
    gradient, values = feature.grad.numpy(), feature.detach().numpy()
    count, channels, height, width = values.shape
    maps = np.zeros((count, height, width))
    for n in range(count):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    weight = gradient[n, c].mean() if method == "grad_cam" else max(gradient[n, c, y, x], 0)
                    maps[n, y, x] += weight * values[n, c, y, x]
    return np.maximum(maps, 0)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
@pytest.mark.parametrize(("layer", "upto"), [(None, 2), ("stem", 1)])
def test_maps_are_those_of_the_papers(network: Flat, image: Tensor, method: Any, layer: str | None, upto: int) -> None:
    maps = gradient_cam(network, image, 1, method, layer)
    np.testing.assert_allclose(maps, naive(network, image, 1, method, upto), atol=1e-6)
    assert (maps > 0).any()


def test_every_image_may_have_a_class_of_its_own(network: Flat, image: Tensor) -> None:
    mixed = gradient_cam(network, image, torch.tensor([2, 0]))
    torch.testing.assert_close(mixed[0], gradient_cam(network, image, 2)[0])
    torch.testing.assert_close(mixed[1], gradient_cam(network, image, 0)[1])


def test_a_layer_may_be_given_itself(network: Flat, image: Tensor) -> None:
    by_name, by_part = (gradient_cam(network, image, 0, layer=layer) for layer in ("stem.0", network.stem[0]))
    torch.testing.assert_close(by_name, by_part)
    assert by_name.shape == (2, 8, 8)


def test_a_frozen_network_in_inference_mode_has_maps_too(network: Flat, image: Tensor) -> None:
    expected = gradient_cam(network, image, 1)
    network.requires_grad_(False)
    with torch.inference_mode():
        torch.testing.assert_close(gradient_cam(network, image.clone(), 1), expected)


def trace(network: nn.Module, image: Tensor) -> tuple[Any, ...]:
    return (
        [part.training for part in network.modules()],
        [None if p.grad is None else p.grad.tolist() for p in network.parameters()],
        [p.requires_grad for p in network.parameters()],
        [(len(part._forward_hooks), len(part._backward_hooks)) for part in network.modules()],
        [buffer.tolist() for buffer in network.buffers()],
        torch.random.get_rng_state().tolist(),
        (image.requires_grad, image.grad, image.tolist()),
    )


@pytest.mark.parametrize("fails", [None, 1, 2])
def test_the_network_is_left_as_it_was(network: Flat, image: Tensor, fails: int | None) -> None:
    network.stem[1].eval()
    network.body.weight.grad = torch.ones_like(network.body.weight)
    network.stem.register_forward_hook(lambda *args: None)
    passes = 0

    def explode(part: nn.Module, inputs: Any) -> None:
        nonlocal passes
        passes += 1
        torch.rand(1)
        if passes == fails:
            raise RuntimeError("in the middle")

    network.head.register_forward_pre_hook(explode)
    before = trace(network, image)
    if fails is None:
        gradient_cam(network, image, 1)
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            gradient_cam(network, image, 1)
    assert trace(network, image) == before
    assert passes == (fails or 2)


def test_a_missing_torchcam_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcam"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__
    monkeypatch.setitem(sys.modules, "torchcam", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'eac-lightning\[cam\]'"):
        load_extractor("grad_cam")
    assert builtins.__import__ is real


def test_torchcam_is_imported_only_where_it_is_used() -> None:
    import subprocess

    code = "import sys, eac_lightning.callbacks.cam; sys.exit('torchcam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_is_refused(network: Flat, image: Tensor) -> None:
    with pytest.raises(ConfigurationError, match=r"gradient CAM method 'score_cam'.*grad_cam, layer_cam"):
        gradient_cam(network, image, 0, "score_cam")  # type: ignore[arg-type]


def test_an_unknown_layer_names_the_nearest(network: Flat, image: Tensor) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown layer 'steam'.*Did you mean 'stem'"):
        gradient_cam(network, image, 0, layer="steam")


@pytest.mark.parametrize("layer", ["head", nn.Conv2d(3, 3, 1)])
def test_a_layer_without_a_map_is_refused(network: Flat, image: Tensor, layer: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\(N, C, h, w\).*Layer .* has none"):
        gradient_cam(network, image, 0, layer=layer)


def test_a_network_without_any_map_is_refused(image: Tensor) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    with pytest.raises(ConfigurationError, match=r"Sequential has none for images of shape \(3, 16, 16\)"):
        gradient_cam(network, image, 0)
