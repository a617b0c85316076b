"""The naive implementation is what the package is compared with, so it has to be the same algorithm."""

from pathlib import Path

import numpy as np
import pytest
import torch
from naive import NaiveEAC, TwoViews, mirrored, naive_loss
from PIL import Image
from step import eac_step, floor_step, naive_step, views
from torch import nn

from eac_lightning import EACModule


@pytest.mark.parametrize("backbone", ["tiny", "resnet8"])
def test_loss_and_gradients_are_those_of_the_package(backbone: str) -> None:
    torch.manual_seed(0)
    module = EACModule(num_classes=7, backbone=backbone, erasing_probability=0.0, gaussian_noise_probability=0.0)
    naive = NaiveEAC(module.model.backbone, 7).train()
    naive.classifier.load_state_dict(module.model.classifier.state_dict())
    image, label = torch.rand(4, 3, 48, 48), torch.tensor([0, 3, 6, 3])
    own = module.train().compute_loss({"image": image, "label": label}).loss
    own.backward()
    gradients = [parameter.grad.clone() for parameter in module.model.parameters() if parameter.grad is not None]
    module.zero_grad()
    view1, view2 = module.model.normalize(image), module.model.normalize(image.flip(-1))
    loss = naive_loss(naive, view1, view2, label)
    loss.backward()
    torch.testing.assert_close(loss, own, atol=1e-5, rtol=1e-5)
    compared = [parameter.grad for parameter in naive.parameters() if parameter.grad is not None]
    assert len(compared) == len(gradients) == len(list(module.model.parameters()))
    for other, gradient in zip(compared, gradients, strict=True):
        torch.testing.assert_close(other, gradient, atol=1e-5, rtol=1e-4)


def test_a_grid_from_right_to_left_mirrors() -> None:
    maps = torch.rand(2, 3, 5, 4)
    torch.testing.assert_close(mirrored(maps), maps.flip(-1), atol=1e-5, rtol=0)


def test_the_loader_yields_two_float_views_of_which_one_is_mirrored(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255  # bright on the left
    Image.fromarray(pixels).save(tmp_path / "face.png")
    view1, view2, label = TwoViews([tmp_path / "face.png"], [2], 16)[0]
    assert view1.shape == view2.shape == (3, 16, 16)
    assert view1.dtype == view2.dtype == torch.float32
    assert view1[..., :8].mean() > view1[..., 8:].mean()
    assert view2[..., :8].mean() < view2[..., 8:].mean()
    assert label == 2


def test_every_step_that_is_timed_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[nn.Module] = []
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *_: stepped.extend(p.grad for p in self.param_groups[0]["params"])
    )
    for make in (naive_step, eac_step, floor_step):
        stepped.clear()
        make("tiny", 4, 16)()
        assert len(stepped) == 8, make.__name__
        assert all(gradient.abs().sum() > 0 for gradient in stepped if gradient.ndim > 1)


def test_views_of_the_floor_lie_as_the_network_wants_them() -> None:
    view1, view2, label = views(2, 8, channels_last=True)
    assert view1.is_contiguous(memory_format=torch.channels_last)
    assert view2.is_contiguous(memory_format=torch.channels_last)
    assert label.max() < 7
