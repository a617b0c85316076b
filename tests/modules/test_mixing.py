"""Mixing in a training step: where it happens, what is logged, what it does not go with, and that it can be replayed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from eac_lightning import (
    ClassificationModule,
    EACModule,
    ELRModule,
    FaceNet2ExpNetModule,
    FERDataModule,
    FERModule,
    LabelAuditCallback,
    RULModule,
    SCNModule,
    SymmetricNoise,
    load_module,
)
from eac_lightning._lightning import L, callbacks, loggers
from eac_lightning.data.mixing import MIXINGS
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.classification import LOSSES
from eac_lightning.types import StepOutput
from tests.conftest import CLASSES, batch

PAIRS = ("mixup", "cutmix", "fmix")
METHODS: tuple[Any, ...] = (EACModule, ELRModule, SCNModule, RULModule)


def trainer(folder: Path, **options: Any) -> L.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "default_root_dir": folder,
        "logger": loggers.CSVLogger(folder, name="", version=""),
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(**(settings | options))


def data(root: Path, **options: Any) -> FERDataModule:
    return FERDataModule(root, **({"image_size": 16, "batch_size": 8} | options))


def module(method: Any = ClassificationModule, **options: Any) -> Any:
    torch.manual_seed(0)
    return method(**({"backbone": "tiny", "lr": 1e-2} | options))


class Seeing(ClassificationModule):
    """Keeps the batches that its loss is given."""

    def __init__(self, mixing: str | None = None, seed: int = 0) -> None:
        super().__init__(backbone="tiny", mixing=mixing, seed=seed)
        self.seen: list[dict[str, Tensor]] = []

    def compute_loss(self, batch: Any) -> StepOutput:
        self.seen.append(batch)
        return super().compute_loss(batch)


# ---- the training step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_a_training_step_mixes_and_validation_does_not(mixing: str, faces: Path, tmp_path: Path) -> None:
    plain, mixed = Seeing(), Seeing(mixing)
    for net in (plain, mixed):
        trainer(tmp_path / "run").fit(net, datamodule=data(faces))
    assert len(plain.seen) == len(mixed.seen) == 3
    for before, after in zip(plain.seen, mixed.seen, strict=True):
        assert torch.equal(before["label"], after["label"])
        assert torch.equal(before["index"], after["index"])
        assert ("soft_label" in after) == (mixing in PAIRS)
    # CutMix may draw a rectangle of no pixel.
    images = ([step["image"] for step in net.seen] for net in (plain, mixed))
    assert not all(torch.equal(*pair) for pair in zip(*images, strict=True))
    plain.load_state_dict(mixed.state_dict())
    run = trainer(tmp_path / "run")
    figures = [run.validate(net, datamodule=data(faces), verbose=False) for net in (plain, mixed)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("mixing", PAIRS)
def test_the_loss_itself_does_not_mix(mixing: str) -> None:
    plain, mixed = (module(num_classes=3, mixing=name).train() for name in (None, mixing))
    assert torch.equal(plain.compute_loss(batch()).loss, mixed.compute_loss(batch()).loss)


@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_what_mixed_faces_have_no_answer_to_is_not_logged(mixing: str, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.fit(module(mixing=mixing), datamodule=data(faces, noise=SymmetricNoise(0.4)))
    logged = {name for name in run.callback_metrics if name.startswith("train/")}
    whole = {"train/loss", "train/accuracy", "train/memorized", "train/recovered"}
    assert logged == ({"train/loss"} if mixing in PAIRS else whole)
    fit = json.loads((tmp_path / "results.json").read_text())["fit"]
    assert 0 <= fit["best"] <= 1
    assert ("memorized" in fit) == (mixing == "cutout")


def test_mixed_faces_are_learned_from(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=15)
    run.fit(module(mixing="fmix"), datamodule=data(faces))
    assert run.callback_metrics["val/accuracy"] > 0.6


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_every_precision_goes_with_mixing(precision: str, mixing: str, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, precision=precision, limit_val_batches=0, logger=False)
    run.fit(module(mixing=mixing), datamodule=data(faces))
    assert torch.isfinite(run.callback_metrics["train/loss"])


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_learns_from_two_labels(loss: str, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, limit_val_batches=0, logger=False)
    run.fit(module(mixing="mixup", loss=loss), datamodule=data(faces))
    assert torch.isfinite(run.callback_metrics["train/loss"])


def test_images_that_come_normalised_are_mixed_too(faces: Path, tmp_path: Path) -> None:
    for mixing in MIXINGS:
        run = trainer(tmp_path, limit_val_batches=0, logger=False)
        run.fit(module(mixing=mixing, normalize=False), datamodule=data(faces))
        assert torch.isfinite(run.callback_metrics["train/loss"])


# ---- replay ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", list(MIXINGS))
def test_what_a_step_mixes_follows_from_seed_epoch_and_step_alone(mixing: str, tmp_path: Path) -> None:
    faces = batch(8)
    same = TensorDataset(faces["image"].repeat(3, 1, 1, 1), faces["label"].repeat(3))
    loader = DataLoader(same, batch_size=8)
    seen = []
    for seed, other in ((1, 5), (1, 6), (2, 5)):
        net = Seeing(mixing, seed)
        net._set_classes(CLASSES)
        torch.manual_seed(other)
        trainer(tmp_path, max_epochs=2, limit_val_batches=0, logger=False).fit(net, loader)
        seen.append(torch.cat([step["image"] for step in net.seen]))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0][:24], seen[0][24:])  # the same faces an epoch later
    assert not torch.equal(seen[0][:8], seen[0][8:16])  # and a step later


@pytest.mark.parametrize("mixing", ["cutmix", "fmix"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(mixing: str, faces: Path, tmp_path: Path) -> None:
    def fit(epochs: int, folder: str, resume: Path | None = None) -> dict[str, Tensor]:
        net = module(mixing=mixing)
        run = trainer(tmp_path / folder, max_epochs=epochs)
        run.fit(net, datamodule=data(faces, augment="flip"), ckpt_path=resume, weights_only=True)
        run.save_checkpoint(tmp_path / f"{folder}.ckpt")
        state: dict[str, Tensor] = net.model.state_dict()
        return state

    whole = fit(3, "whole")
    fit(1, "begun")
    resumed = fit(3, "resumed", tmp_path / "begun.ckpt")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_checkpoint_knows_its_mixing_and_one_from_before_has_none(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run")
    run.fit(module(mixing="fmix", mixing_options={"alpha": 0.5}), datamodule=data(faces))
    run.save_checkpoint(tmp_path / "mixed.ckpt")
    loaded = load_module(tmp_path / "mixed.ckpt")
    assert loaded.mixes_labels
    assert loaded.hparams["mixing_options"] == {"alpha": 0.5}
    content = torch.load(tmp_path / "mixed.ckpt", weights_only=True)
    for name in ("mixing", "mixing_options", "force_mixing"):
        del content["hyper_parameters"][name]
    torch.save(content, tmp_path / "before.ckpt")
    before = load_module(tmp_path / "before.ckpt")
    assert before.mixing is None
    assert torch.equal(before(batch()["image"]), loaded(batch()["image"]))


# ---- what it does not go with ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (EACModule, "two expressions each"),
        (ELRModule, "what it remembers of a face"),
        (SCNModule, "the importance and the new label"),
        (RULModule, "mixes the features of faces itself"),
    ],
)
@pytest.mark.parametrize("mixing", PAIRS)
@pytest.mark.parametrize("known", [{"num_classes": 3}, {}])
def test_a_method_that_cannot_learn_from_mixtures_says_why(
    method: Any, reason: str, mixing: str, known: dict[str, int]
) -> None:
    with pytest.raises(
        ConfigurationError, match=f"{method.__name__} does not go with mixing='{mixing}': .*{reason}.*force_mixing"
    ):
        module(method, mixing=mixing, **known)


def test_eac_alone_refuses_cutout() -> None:
    with pytest.raises(ConfigurationError, match="EAC leaves out parts of both views itself"):
        module(EACModule, mixing="cutout")
    for method in (ClassificationModule, ELRModule, SCNModule, RULModule):
        assert not module(method, num_classes=3, mixing="cutout").mixes_labels


@pytest.mark.parametrize("method", METHODS)
def test_who_insists_gets_it(method: Any, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, limit_val_batches=0)
    run.fit(module(method, mixing="cutmix", force_mixing=True), datamodule=data(faces))
    assert torch.isfinite(run.callback_metrics["train/loss"])
    run.save_checkpoint(tmp_path / "forced.ckpt")
    assert load_module(tmp_path / "forced.ckpt").mixes_labels


def test_every_method_takes_the_arguments() -> None:
    for method in (FERModule, ClassificationModule, FaceNet2ExpNetModule, *METHODS):
        assert method.mixing_conflict == "" or method.mixing_conflict.endswith(".")
        options = {"mixing": "mixup", "mixing_options": {"alpha": 0.2}, "force_mixing": True}
        made = method(**options)
        assert {name: made.hparams[name] for name in options} == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "fmixx"}, "Unknown mixing 'fmixx'. Did you mean 'fmix'"),
        ({"mixing": "fmix", "mixing_options": {"alpha": -1}}, "alpha of fmix to be above 0"),
        ({"mixing_options": {"alpha": 1}}, "but no mixing that they are of"),
    ],
)
def test_a_mixing_that_cannot_be_is_refused_before_classes_are_known(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        module(**options)


class Stages(callbacks.Callback):
    def __init__(self) -> None:
        self.logged: list[set[str]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.logged.append({name for name in trainer.callback_metrics if name.startswith("train/")})


def test_facenet2expnet_mixes_from_the_second_stage_on(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = FaceNet2ExpNetModule(
        teacher="tiny", student_width=4, student_depth=3, student_stride=4, stage1_epochs=1, mixing="fmix"
    )
    seen: list[tuple[int, bool]] = []
    compute = FaceNet2ExpNetModule.compute_loss
    monkeypatch.setattr(
        FaceNet2ExpNetModule,
        "compute_loss",
        lambda self, batch: (seen.append((self.stage, "soft_label" in batch)), compute(self, batch))[1],
    )
    stages = Stages()
    run = trainer(tmp_path, max_epochs=2, callbacks=[stages])
    run.fit(net, datamodule=data(faces, unlabelled_root=faces / "test"))
    assert set(seen) == {(1, False), (2, True)}
    assert stages.logged[0] == {"train/loss", "train/regression"}
    assert math.isfinite(run.callback_metrics["val/loss"])


# ---- audits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passive", [False, True])
def test_labels_that_are_mixed_are_not_audited(passive: bool, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, callbacks=[LabelAuditCallback(passive=passive)])
    with pytest.raises(
        ConfigurationError, match="LabelAuditCallback does not go with mixing='mixup'.*never learnt alone"
    ):
        run.fit(module(mixing="mixup"), datamodule=data(faces))


def test_labels_under_cutout_and_of_who_insists_are_audited(faces: Path, tmp_path: Path) -> None:
    for number, options in enumerate(({"mixing": "cutout"}, {"mixing": "mixup", "force_mixing": True})):
        folder = tmp_path / str(number)
        run = trainer(folder, callbacks=[LabelAuditCallback(passive=True)], limit_val_batches=0)
        run.fit(module(**options), datamodule=data(faces))
        assert (folder / "audit.parquet").is_file()
