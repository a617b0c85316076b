"""RUL against the paper's formulas in loops; what its uncertainty learns; maps that stay exact."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eac_lightning import FERDataModule, RULModule, load_module
from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError
from tests.conftest import batch


def rul(**options: Any) -> RULModule:
    torch.manual_seed(0)
    return RULModule(**{"num_classes": 3, "backbone": "tiny", "feature_size": 5, **options}).double()


def double_batch() -> dict[str, Tensor]:
    return {**batch(), "image": batch()["image"].double()}


def naive(module: RULModule, data: dict[str, Tensor], partner: list[int]) -> Tensor:
    """Features projected after pooling, uncertainties, mixed features and both cross-entropies, face by face."""
    model = module.model
    pooled = model.backbone.forward_features(model.normalize(data["image"])).mean((2, 3))
    projection, label = model.projection.weight[:, :, 0, 0], data["label"].tolist()
    mu = [projection @ pooled[n] + model.projection.bias for n in range(6)]
    sigma = [torch.exp(model.uncertainty.weight[0] @ pooled[n] + model.uncertainty.bias[0]) for n in range(6)]
    total = torch.zeros((), dtype=torch.float64)
    for i, j in enumerate(partner):
        mixed = (sigma[i] * mu[i] + sigma[j] * mu[j]) / (sigma[i] + sigma[j])
        powers = torch.exp(model.classifier.weight @ mixed + model.classifier.bias)
        total = total - torch.log(powers[label[i]] / powers.sum()) - torch.log(powers[label[j]] / powers.sum())
    return total / 6


def test_loss_and_gradients_equal_the_naive_ones() -> None:
    module, data = rul(), double_batch()
    torch.manual_seed(3)
    partner = torch.randperm(6).tolist()
    expected = naive(module, data, partner)
    wanted = torch.autograd.grad(expected, list(module.parameters()))
    torch.manual_seed(3)
    output = module.compute_loss(data)
    found = torch.autograd.grad(output.loss, list(module.parameters()))
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-10)
    for gradient, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=0, atol=1e-10)
    torch.testing.assert_close(output.logits, module(data["image"]))


def test_maps_stay_exact_and_the_classifier_reads_the_features() -> None:
    module, image = rul().eval(), double_batch()["image"]
    logits, maps = module.logits_and_maps(image)
    torch.testing.assert_close(maps.mean((2, 3)) + module.model.classifier.bias, logits)
    assert module.features(image).shape == (6, 5)
    torch.testing.assert_close(module.model.classifier(module.features(image)), logits)


def test_the_harder_face_of_two_is_made_the_more_uncertain() -> None:
    # Both answers are fixed: face 0 is told clearly, face 1 barely. What is left to learn is the share of each.
    torch.manual_seed(0)
    logits = torch.tensor([[6.0, 0.0, 0.0], [0.4, 1.0, 0.0]])
    log_sigma = torch.zeros(2, requires_grad=True)
    module = RULModule(num_classes=3, backbone="tiny")
    module._branches = lambda image: (image, log_sigma)  # type: ignore[method-assign]
    module.model.logits_and_maps = lambda features: (logits, None)  # type: ignore[method-assign]
    data = {"image": torch.rand(2, 3, 16, 16), "label": torch.tensor([0, 1])}
    for _ in range(200):
        (gradient,) = torch.autograd.grad(module.compute_loss(data).loss, log_sigma, allow_unused=False)
        with torch.no_grad():
            log_sigma -= 0.5 * gradient
    assert log_sigma[1] - log_sigma[0] > 1


def test_the_scale_of_uncertainty_means_nothing() -> None:
    module, data = rul().eval(), double_batch()
    losses = []
    for shift in (0.0, 300.0):
        with torch.no_grad():
            module.model.uncertainty.bias.fill_(shift)
        torch.manual_seed(0)
        losses.append(module.compute_loss(data).loss)
    torch.testing.assert_close(*losses)
    assert module.uncertainty(data["image"]).shape == (6,)


def test_train_and_eval_mode_do_the_same_without_batch_norm() -> None:
    module = rul()
    module.model.backbone.layers = module.model.backbone.layers[:1]
    losses = []
    for mode in (True, False):
        torch.manual_seed(3)
        losses.append(module.train(mode).compute_loss(double_batch()).loss)
    assert losses[0] == losses[1]


def test_soft_labels_replace_labels() -> None:
    module, data = rul(), double_batch()
    soft = torch.nn.functional.one_hot(data["label"], 3).double()
    losses = []
    for more in ({}, {"soft_label": soft}):
        torch.manual_seed(1)
        losses.append(module.compute_loss({**data, **more}).loss)
    torch.testing.assert_close(*losses)


def test_half_precision_is_left_behind() -> None:
    module, data = rul().float(), {**double_batch(), "image": double_batch()["image"].float()}
    with torch.autocast("cpu", torch.bfloat16):
        output = module.compute_loss(data)
    assert output.loss.dtype == output.logits.dtype == torch.float32
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


def fit(root: Path, folder: Path, epochs: int, path: Path | None = None) -> RULModule:
    torch.manual_seed(0)
    module = RULModule(backbone="tiny", lr=1e-2)
    trainer = L.Trainer(
        max_epochs=epochs, default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=FERDataModule(root, image_size=16, batch_size=8), ckpt_path=path, weights_only=True)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module


def test_an_interrupted_run_ends_like_one_that_was_not(faces: Path, tmp_path: Path) -> None:
    whole = fit(faces, tmp_path, 2)
    fit(faces, tmp_path, 1)
    expected = whole.state_dict()
    resumed = fit(faces, tmp_path, 2, tmp_path / "1.ckpt")
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())
    loaded = load_module(tmp_path / "2.ckpt")
    assert isinstance(loaded, RULModule)
    assert torch.equal(loaded.uncertainty(batch()["image"]), whole.eval().uncertainty(batch()["image"]))


def test_its_backbone_serves_another_method(faces: Path, tmp_path: Path) -> None:
    whole = fit(faces, tmp_path, 1)
    taken = RULModule(num_classes=3, backbone="tiny", weights=str(tmp_path / "1.ckpt")).model.backbone.state_dict()
    assert all(torch.equal(value, taken[key]) for key, value in whole.model.backbone.state_dict().items())


def test_an_empty_feature_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="feature_size to be at least 1, but got 0"):
        rul(feature_size=0)
