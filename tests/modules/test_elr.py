"""ELR against the paper's formulas in loops, over several steps; and what it remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eac_lightning import ClassificationModule, ELRModule, FERDataModule, load_module
from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError
from tests.conftest import CLASSES, batch


def elr(**options: Any) -> ELRModule:
    torch.manual_seed(0)
    return ELRModule(**{"num_classes": 3, "backbone": "tiny", **options}).double()


def double_batch(seed: int = 0) -> dict[str, Tensor]:
    plain = batch(seed=seed)
    return {**plain, "image": plain["image"].double(), "index": torch.tensor([4, 0, 9, 2, 7, 5])}


def naive(module: ELRModule, data: dict[str, Tensor], targets: dict[int, list[float]]) -> Tensor:
    """Equations 6 and 9 for one batch, with the memory as a dict that is moved on."""
    logits = module(data["image"])
    weight, momentum = module.hparams["regularization_weight"], module.hparams["target_momentum"]
    total = torch.zeros((), dtype=torch.float64)
    for n, index in enumerate(data["index"].tolist()):
        powers = [torch.exp(logits[n, k]) for k in range(3)]
        p = [(power / sum(powers)).clamp(1e-4, 1 - 1e-4) for power in powers]
        size = sum(p_k.item() for p_k in p)
        old = targets.get(index, [0.0] * 3)
        targets[index] = [momentum * old[k] + (1 - momentum) * p[k].item() / size for k in range(3)]
        inner = sum(targets[index][k] * p[k] for k in range(3))
        cross_entropy = -torch.log(powers[int(data["label"][n])] / sum(powers))
        total = total + cross_entropy + weight * torch.log(1 - inner)
    return total / len(logits)


def test_losses_gradients_and_targets_of_three_steps_equal_the_naive_ones() -> None:
    module = elr(regularization_weight=2.0, target_momentum=0.6)
    targets: dict[int, list[float]] = {}
    for step in range(3):
        data = double_batch(seed=step)
        expected = naive(module, data, targets)
        wanted = torch.autograd.grad(expected, list(module.parameters()))
        output = module.compute_loss(data)
        found = torch.autograd.grad(output.loss, list(module.parameters()))
        torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-10)
        for gradient, right in zip(found, wanted, strict=True):
            torch.testing.assert_close(gradient, right, rtol=0, atol=1e-10)
        module.remember(module.unpack(data), output)
        for index, target in targets.items():
            assert module.memory.get(torch.tensor([index]))[0].tolist() == pytest.approx(target, abs=1e-12)


def test_the_term_pulls_the_logits_as_the_paper_derives() -> None:
    # In numpy: d log(1 − ⟨t, p⟩) / d logit_k = p_k (⟨t, p⟩ − t_k) / (1 − ⟨t, p⟩).
    module, data = elr(regularization_weight=3.0, loss_options={"label_smoothing": 1.0}), double_batch()
    kept = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).double().softmax(1)
    module.memory.set(data["index"], kept)
    logits = module.compute_loss(data).logits.detach()
    p = np.exp(logits.numpy())
    p /= p.sum(1, keepdims=True)
    expected = np.zeros((6, 3))
    for n in range(6):
        t = 0.7 * kept[n].numpy() + 0.3 * p[n]
        inner = sum(t[k] * p[n, k] for k in range(3))
        for k in range(3):
            expected[n, k] = (p[n, k] - 1 / 3 + 3.0 * p[n, k] * (inner - t[k]) / (1 - inner)) / 6
    found = logits.requires_grad_()
    module.forward = lambda image: found  # type: ignore[method-assign]
    module.compute_loss(data).loss.backward()
    np.testing.assert_allclose(found.grad.numpy(), expected, rtol=0, atol=1e-12)


def test_to_compute_is_not_to_remember_in_either_mode() -> None:
    module = elr().eval()
    first, second = (module.compute_loss(double_batch()) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert not len(module.memory.values)
    module.model.backbone.layers = module.model.backbone.layers[:1]
    assert torch.equal(
        module.train().compute_loss(double_batch()).loss, module.eval().compute_loss(double_batch()).loss
    )


def test_without_its_term_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    plain = ClassificationModule(num_classes=3, backbone="tiny").double()
    output = elr(regularization_weight=0.0).compute_loss(double_batch())
    torch.testing.assert_close(output.loss, plain.compute_loss(double_batch()).loss)
    torch.testing.assert_close(output.logs["classification"], output.loss.detach())


def test_a_certain_network_stays_finite() -> None:
    module = elr(target_momentum=0.0)
    with torch.no_grad():
        module.model.classifier.weight.zero_()
        module.model.classifier.bias.copy_(torch.tensor([500.0, 0.0, 0.0]))
    output = module.compute_loss(double_batch())
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


def test_it_holds_on_to_what_it_said_against_a_wrong_label() -> None:
    data, pulls = double_batch(), []
    for weight in (0.0, 20.0):
        module = elr(regularization_weight=weight).eval()
        said = module(data["image"]).argmax(1)
        wrong = {**data, "label": (said + 1) % 3}
        module.memory.set(data["index"], torch.nn.functional.one_hot(said, 3).double() * 0.95)
        module.compute_loss(wrong).loss.backward()
        pulls.append(module.model.classifier.bias.grad[said].mean())
    assert pulls[0] > 0 > pulls[1]


def test_soft_labels_replace_labels() -> None:
    data, module = double_batch(), elr()
    soft = torch.nn.functional.one_hot(data["label"], 3).double()
    torch.testing.assert_close(module.compute_loss({**data, "soft_label": soft}).loss, module.compute_loss(data).loss)


def fit(root: Path, folder: Path, epochs: int, path: Path | None = None) -> ELRModule:
    torch.manual_seed(0)
    module = ELRModule(backbone="tiny", lr=1e-2)
    trainer = L.Trainer(
        max_epochs=epochs, default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=FERDataModule(root, image_size=16, batch_size=8), ckpt_path=path, weights_only=True)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module


def test_an_interrupted_run_ends_like_one_that_was_not(faces: Path, tmp_path: Path) -> None:
    whole = fit(faces, tmp_path, 3)
    fit(faces, tmp_path, 1)
    resumed = fit(faces, tmp_path, 3, tmp_path / "1.ckpt")
    expected = whole.state_dict()
    assert (whole.memory.values.sum(1) > 0).sum() == 24
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())
    loaded = load_module(tmp_path / "3.ckpt")
    assert isinstance(loaded, ELRModule)
    assert loaded.class_names == CLASSES
    assert torch.equal(loaded.memory.values, whole.memory.values)
    taken = ClassificationModule(num_classes=3, backbone="tiny", weights=str(tmp_path / "3.ckpt")).state_dict()
    assert torch.equal(taken["model.backbone.layers.0.weight"], expected["model.backbone.layers.0.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regularization_weight": -1.0}, "regularization_weight to be at least 0, but got -1"),
        ({"regularization_weight": float("nan")}, "regularization_weight to be at least 0, but got nan"),
        ({"target_momentum": 1.5}, "target_momentum to be from 0 to 1, but got 1.5"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        elr(**options)
