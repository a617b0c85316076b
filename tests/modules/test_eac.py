"""EAC against a re-derivation from the paper's formulas, by loops and by nothing of the package."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import ClassificationModule, EACModule
from eac_lightning.errors import ConfigurationError
from tests.conftest import batch

QUIET = {"erasing_probability": 0.0, "gaussian_noise_probability": 0.0}


def eac(**options: Any) -> EACModule:
    torch.manual_seed(0)
    return EACModule(**{"num_classes": 3, "backbone": "tiny", **options}).double()


def double_batch() -> dict[str, Tensor]:
    return {**batch(), "image": batch()["image"].double()}


def naive_loss(module: EACModule, views: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
    """Equations 2 to 5 of the paper, with every index written out."""
    features = [module.model.backbone.forward_features(view) for view in views]
    weight, bias = module.model.classifier.weight, module.model.classifier.bias
    pooled = features[0].mean((2, 3))
    cross_entropy = torch.zeros((), dtype=pooled.dtype)
    for n in range(len(label)):
        logits = torch.stack([sum(weight[k, c] * pooled[n, c] for c in range(8)) + bias[k] for k in range(3)])
        cross_entropy = cross_entropy - torch.log(torch.exp(logits[label[n]]) / torch.exp(logits).sum())
    fixed = weight.detach()
    maps = [
        torch.stack([sum(fixed[k, c] * feature[:, c] for c in range(8)) for k in range(3)], dim=1)
        for feature in features
    ]
    width = maps[0].shape[-1]
    difference = torch.zeros((), dtype=pooled.dtype)
    for x in range(width):
        difference = difference + ((maps[0][..., x] - maps[1][..., width - 1 - x]) ** 2).sum()
    return cross_entropy / len(label) + module.hparams["consistency_weight"] * difference / maps[0].numel()


@pytest.mark.parametrize("view_order", ["flip_then_erase", "erase_then_flip"])
@pytest.mark.parametrize("random_views", [False, True])
def test_loss_and_gradients_equal_the_naive_ones(view_order: str, random_views: bool) -> None:
    module = eac(view_order=view_order, **({} if random_views else QUIET))
    data = double_batch()
    torch.manual_seed(5)
    views = module.views(data["image"])
    expected = naive_loss(module, views, data["label"])
    wanted = torch.autograd.grad(expected, list(module.parameters()))

    torch.manual_seed(5)
    output = module.compute_loss(data)
    found = torch.autograd.grad(output.loss, list(module.parameters()))

    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-5)
    for gradient, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("view_order", ["flip_then_erase", "erase_then_flip"])
def test_the_quiet_views_are_the_face_and_its_mirror_image(view_order: str) -> None:
    module, image = eac(view_order=view_order, **QUIET), double_batch()["image"]
    view1, view2 = module.views(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(view1, (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    torch.testing.assert_close(view2, view1.flip(-1))


def test_flip_then_erase_draws_two_masks_and_erase_then_flip_one() -> None:
    image = double_batch()["image"]
    torch.manual_seed(0)
    options = {"erasing_probability": 1.0, "gaussian_noise_probability": 0.0}
    view1, view2 = eac(view_order="flip_then_erase", **options).views(image)
    assert not torch.equal((view1 == 0).all(1), (view2.flip(-1) == 0).all(1))
    view1, view2 = eac(view_order="erase_then_flip", **options).views(image)
    assert torch.equal(view1.flip(-1), view2)
    assert (view1 == 0).all(1).flatten(1).any(1).all()


def test_erasing_keeps_to_its_share_of_the_area_and_of_the_samples() -> None:
    torch.manual_seed(0)
    module = eac(gaussian_noise_probability=0.0)
    view1, view2 = module.views(torch.rand(400, 3, 32, 32, dtype=torch.float64))
    erased = torch.cat([view1, view2]).eq(0).all(1).flatten(1).double().mean(1)
    assert 0.44 < erased.gt(0).double().mean() < 0.56
    assert 0.015 < erased[erased > 0].min() < 0.06
    assert 0.15 < erased.max() <= 0.27


def test_noise_falls_on_half_of_the_first_views_and_on_no_second_one() -> None:
    torch.manual_seed(0)
    module, image = eac(erasing_probability=0.0, normalize=False), torch.full((400, 3, 8, 8), 0.5, dtype=torch.float64)
    view1, view2 = module.views(image)
    assert torch.equal(view2, image)
    noise = (view1 - image).flatten(1)
    noisy = noise.abs().sum(1) > 0
    assert 0.44 < noisy.double().mean() < 0.56
    assert noise[noisy].std() == pytest.approx(30**0.5 / 255, rel=0.02)


def test_noisy_pictures_stay_pictures() -> None:
    module = eac(erasing_probability=0.0, gaussian_noise_probability=1.0)
    view1, _ = module.views(torch.ones(4, 3, 8, 8, dtype=torch.float64))
    assert (view1 * module.model.std + module.model.mean).max() <= 1 + 1e-6


def test_the_classifier_gets_no_gradient_from_the_consistency_term() -> None:
    data = double_batch()
    gradients = []
    for weight in (0.0, 50.0):
        module = eac(consistency_weight=weight, **QUIET)
        module.compute_loss(data).loss.backward()
        gradients.append(module.model.classifier.weight.grad)
    torch.testing.assert_close(*gradients)
    strong = eac(consistency_weight=50.0, **QUIET)
    weak = eac(consistency_weight=0.0, **QUIET)
    first = [torch.autograd.grad(m.compute_loss(data).loss, next(m.parameters()))[0] for m in (strong, weak)]
    assert not torch.allclose(*first)


def test_a_mirrored_pair_costs_nothing() -> None:
    # A 1×1 convolution sees no left and right, so its maps mirror with the face.
    module = eac(**QUIET)
    module.model.backbone.layers = torch.nn.Conv2d(3, 8, 1).double()
    assert module.compute_loss(double_batch()).logs["consistency"] < 1e-25


def test_a_joint_pass_equals_two_where_batch_statistics_play_no_part() -> None:
    data = double_batch()
    losses = [eac(joint_forward=joint, **QUIET).eval().compute_loss(data).loss for joint in (False, True)]
    torch.testing.assert_close(*losses)
    training = [eac(joint_forward=joint, **QUIET).compute_loss(data).loss for joint in (False, True)]
    assert training[0] != training[1]


def test_train_and_eval_mode_do_the_same_without_batch_norm() -> None:
    module = eac()
    module.model.backbone.layers = module.model.backbone.layers[:1]
    losses = []
    for mode in (True, False):
        torch.manual_seed(3)
        losses.append(module.train(mode).compute_loss(double_batch()).loss)
    assert losses[0] == losses[1]


def test_soft_labels_replace_labels() -> None:
    data = double_batch()
    soft = F.one_hot(data["label"], 3).double()
    module = eac(**QUIET)
    torch.testing.assert_close(module.compute_loss(data).loss, module.compute_loss({**data, "soft_label": soft}).loss)
    assert module.compute_loss({**data, "soft_label": soft.flip(1)}).loss != module.compute_loss(data).loss


def test_without_consistency_and_noise_it_is_plain_cross_entropy() -> None:
    data = double_batch()
    torch.manual_seed(0)
    plain = ClassificationModule(num_classes=3, backbone="tiny").double()
    torch.testing.assert_close(
        eac(consistency_weight=0.0, **QUIET).compute_loss(data).loss, plain.compute_loss(data).loss
    )


def test_the_weight_of_consistency_warms_up_over_the_epochs_of_a_trainer() -> None:
    module = eac(consistency_weight=6.0, consistency_warmup_epochs=2)
    assert module.current_consistency_weight() == 6
    found = []
    for epoch in range(4):
        module._trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
        found.append(module.current_consistency_weight())
    assert found == pytest.approx([2, 4, 6, 6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view_order": "flip_then_erased"}, "Did you mean 'flip_then_erase'"),
        ({"consistency_warmup_epochs": -1}, "consistency_warmup_epochs to be at least 0"),
        ({"consistency_weight": -1.0}, "consistency_weight to be at least 0, but got -1"),
        ({"erasing_probability": 1.5}, "erasing_probability to be from 0 to 1, but got 1.5"),
        ({"gaussian_noise_std": -0.1}, "gaussian_noise_std to be at least 0"),
        ({"gaussian_noise_probability": -0.1}, "gaussian_noise_probability to be from 0 to 1"),
        ({"erasing_scale": (0.3, 0.2)}, "erasing_scale to be two numbers"),
        ({"erasing_scale": (0.3, 1.2)}, "at most 1"),
        ({"erasing_ratio": (0.0, 3.0)}, "erasing_ratio to be two numbers"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EACModule(num_classes=3, backbone="tiny", **options)
