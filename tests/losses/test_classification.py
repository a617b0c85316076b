"""Losses by name, alone and in the modules."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning import ClassificationModule, EACModule, FaceNet2ExpNetModule, FERModule, load_module
from eac_lightning._lightning import L
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.classification import LOSSES, create_classification_loss
from eac_lightning.losses.generalized_cross_entropy import generalized_cross_entropy
from tests.conftest import batch

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 2, 1, 1])
COUNTS = [60, 30, 10]
OPTIONS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"class_weights": "balanced", "class_counts": COUNTS},
    "focal": {"class_weights": [1.0, 2.0, 3.0]},
    "logit_adjustment": {"class_counts": COUNTS},
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_labels_and_distributions(name: str) -> None:
    loss = create_classification_loss(name, OPTIONS.get(name))
    torch.testing.assert_close(loss(LOGITS, LABEL), loss(LOGITS, F.one_hot(LABEL, 3).float()))


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "distributions"])
def test_smoothed_labels_equal_the_naive_ones(soft: bool) -> None:
    smoothing, classes = 0.1, 3
    wanted = np.array([[0.7, 0.3, 0], [0, 0, 1], [0.2, 0.2, 0.6], [0, 1, 0]]) if soft else np.eye(3)[LABEL]
    p = np.exp(LOGITS.double().numpy())
    p /= p.sum(1, keepdims=True)
    value, gradient = 0.0, np.zeros((4, 3))
    for n in range(4):
        for k in range(classes):
            target = (1 - smoothing) * wanted[n, k] + smoothing / classes
            value -= target * math.log(p[n, k]) / 4
            gradient[n, k] = (p[n, k] - target) / 4
    logits = LOGITS.double().requires_grad_()
    target = torch.from_numpy(wanted) if soft else LABEL
    loss = create_classification_loss("cross_entropy", {"label_smoothing": smoothing})(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(logits.grad.numpy(), gradient, rtol=0, atol=1e-12)


def test_options_reach_the_loss() -> None:
    smoothed = create_classification_loss("cross_entropy", {"label_smoothing": 0.1})
    torch.testing.assert_close(smoothed(LOGITS, LABEL), F.cross_entropy(LOGITS, LABEL, label_smoothing=0.1))
    found = create_classification_loss("generalized_cross_entropy", {"q": 1})(LOGITS, LABEL)
    torch.testing.assert_close(found, generalized_cross_entropy(LOGITS, LABEL, 1.0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cross_entropie", {}, "Unknown loss 'cross_entropie'. Did you mean 'cross_entropy'"),
        ("cross_entropy", {"q": 0.7}, "Unknown option of cross_entropy 'q'.* Known: .*label_smoothing"),
        ("symmetric_cross_entropy", {"q": 0.7}, "Known: alpha, beta, log_zero"),
        ("generalized_cross_entropy", {"q": "0.7"}, "q of generalized_cross_entropy to be a number, but got '0.7'"),
        ("generalized_cross_entropy", {"q": 2.0}, "at most 1, but got 2.0"),
        ("symmetric_cross_entropy", {"log_zero": 1.0}, "log_zero below 0"),
        ("symmetric_cross_entropy", {"beta": math.nan}, "to be at least 0 and log_zero below 0, but got .*beta=nan"),
        ("cross_entropy", {"label_smoothing": math.nan}, "label_smoothing to be from 0 to 1, but got nan"),
        ("cross_entropy", {"label_smoothing": 1.5}, "label_smoothing to be from 0 to 1, but got 1.5"),
        ("cross_entropy", {"class_weights": "balance"}, "Unknown class_weights 'balance'. Did you mean 'balanced'"),
        (
            "cross_entropy",
            {"class_weights": [1.0, 2.0]},
            r"class_weights to be 3 numbers, one for each class \(0, 1, 2\)",
        ),
        ("focal", {"gamma": -1}, "gamma to be at least 0, but got -1"),
        ("focal", {"class_weights": 2.0}, "class_weights to be 3 numbers"),
        ("focal", {"gamma": None}, "gamma of focal to be a number, but got None"),
        ("logit_adjustment", {"tau": -1}, "tau to be at least 0, but got -1"),
        ("logit_adjustment", {"class_counts": [5, 0, 5]}, "none labelled 1 "),
    ],
)
def test_what_cannot_be_is_said_when_the_module_is_built(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ClassificationModule(num_classes=3, backbone="tiny", loss=name, loss_options=options)


class Double(FERModule):
    """A method of somebody else, which says nothing of losses."""

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__(num_classes, backbone=backbone)


def test_a_module_trains_with_the_loss_that_it_was_given() -> None:
    for kind in (ClassificationModule, EACModule):
        options: dict[str, Any] = {"consistency_weight": 0.0} if kind is EACModule else {}
        module = kind(
            num_classes=3, backbone="tiny", loss="generalized_cross_entropy", loss_options={"q": 0.5}, **options
        )
        output = module.compute_loss(batch())
        torch.testing.assert_close(output.loss, generalized_cross_entropy(output.logits, batch()["label"], 0.5))
    taught = FaceNet2ExpNetModule(num_classes=3, stage1_epochs=0, student_width=4, loss="symmetric_cross_entropy")
    assert taught.classification_loss.alpha == 0.1
    assert isinstance(Double(3, "tiny").classification_loss, torch.nn.CrossEntropyLoss)


def test_a_checkpoint_knows_its_loss_and_validation_tells_cross_entropy(faces: Path, tmp_path: Path) -> None:
    settings = {"loss": "cross_entropy", "loss_options": {"label_smoothing": 0.9}}
    trainer = L.Trainer(
        max_epochs=1, default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    module = ClassificationModule(backbone="tiny", **settings)
    trainer.fit(module, datamodule=FERDataModule(faces, image_size=16, batch_size=12))
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    loaded = load_module(tmp_path / "module.ckpt")
    assert loaded.classification_loss.label_smoothing == 0.9
    loader = FERDataModule(faces, image_size=16, batch_size=12)
    loader.setup("validate")
    (whole,) = loader.val_dataloader()
    with torch.no_grad():
        expected: Tensor = F.cross_entropy(loaded(whole["image"]), whole["label"])
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(expected), abs=1e-5)
