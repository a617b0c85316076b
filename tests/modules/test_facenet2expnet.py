"""FaceNet2ExpNet: what each stage learns, what it leaves alone, and that an interruption changes nothing."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eac_lightning import (
    ClassificationModule,
    EACModule,
    FaceNet2ExpNetModule,
    FERDataModule,
    create_backbone,
    load_module,
)
from eac_lightning._lightning import L, callbacks, loggers
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.models import backbones
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.runs.checkpoints import BestCheckpoint, LastCheckpoint
from tests.conftest import CLASSES, TinyBackbone, batch


class Signed(TinyBackbone):
    def forward_features(self, image: Tensor) -> Tensor:
        return super().forward_features(image) - 0.1


class Half(TinyBackbone):
    """A teacher whose map has other sides than the student's."""

    def forward_features(self, image: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(super().forward_features(image), 2)


@pytest.fixture(autouse=True)
def _teachers(_tiny_backbone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"signed": Signed, "half": Half}
    monkeypatch.setattr(backbones, "_registry", {**backbones._registry, **more})


def module(**options: Any) -> FaceNet2ExpNetModule:
    torch.manual_seed(0)
    small = {
        "teacher": "tiny",
        "student_width": 4,
        "student_depth": 3,
        "student_stride": 4,
        "stage1_epochs": 2,
        "class_names": list(CLASSES),
    }
    return FaceNet2ExpNetModule(**{**small, "image_size": 16, **options})


def data(faces: Path, **options: Any) -> FERDataModule:
    return FERDataModule(faces, **{"image_size": 16, "batch_size": 8, **options})


def trainer(folder: Path, epochs: int, *more: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=loggers.CSVLogger(folder, name="", version=""),
        callbacks=[BestCheckpoint(folder), LastCheckpoint(folder), *more],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class Recorder(callbacks.Callback):
    """What the optimizer does and what the network is, by epoch."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.steps: list[float] = []
        self.states: list[dict[str, Tensor]] = []
        self.logged: list[set[str]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        steps = [float(state["step"]) for state in optimizer.state.values()]
        self.steps.append(max(steps, default=0.0))
        self.rates.append([group["lr"] for group in optimizer.param_groups])

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.states.append({key: value.clone() for key, value in pl_module.model.state_dict().items()})
        self.logged.append(set(trainer.callback_metrics))


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_stage_1_is_the_regression_and_trains_the_student_alone(norm: int, reduction: str) -> None:
    method = module(norm=norm, reduction=reduction)
    image = batch()["image"]
    normalized = (image - method.model.mean) / method.model.std
    student = method.model.backbone.forward_features(normalized)
    face = method.teacher.backbone.forward_features(normalized)
    total = sum((abs(g - G) ** norm).sum() for g, G in zip(student, face, strict=True)) / len(image)
    expected = total / student[0].numel() if reduction == "mean" else total

    output = method.compute_loss(batch())
    torch.testing.assert_close(output.loss, expected)
    assert output.logits is None
    output.loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.model.backbone.parameters())
    assert all(not parameter.grad.any() for parameter in method.model.classifier.parameters())
    assert all(parameter.grad is None for parameter in method.teacher.backbone.parameters())


def test_stage_1_reads_no_labels_and_stage_2_insists_on_them() -> None:
    unlabelled = {**batch(), "label": torch.full((6,), -1)}
    assert module().compute_loss(unlabelled).loss > 0
    with pytest.raises(ValueError, match="found -1"):
        module(stage1_epochs=0).compute_loss(unlabelled)


def test_a_map_of_another_size_is_matched() -> None:
    method = module(teacher="half")
    assert method.teacher(batch()["image"]).shape[-2:] == (2, 2)
    assert method.model.feature_map(batch()["image"]).shape[-2:] == (4, 4)
    assert method.compute_loss(batch()).loss > 0


def test_the_teacher_is_no_part_of_the_module(faces: Path, tmp_path: Path) -> None:
    method = module()
    before = {key: value.clone() for key, value in method.teacher.backbone.state_dict().items()}
    own = {id(parameter) for parameter in method.parameters()}
    assert own.isdisjoint(id(parameter) for parameter in method.teacher.backbone.parameters())
    assert not any("teacher" in key for key in method.state_dict())
    run = trainer(tmp_path / "run", 3)
    run.fit(method, datamodule=data(faces, augment="flip"))
    method.train()
    assert not method.teacher.backbone.training
    after = method.teacher.backbone.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    saved = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert not any("teacher" in key for key in saved["state_dict"])
    held = sum(len(group["params"]) for group in saved["optimizer_states"][0]["param_groups"])
    assert held == len(list(method.parameters()))


def test_each_stage_has_its_rate_and_its_state(faces: Path, tmp_path: Path) -> None:
    method, recorder = module(stage1_lr=0.5, lr=0.02, lr_decay=0.5), Recorder()
    classifier = method.model.classifier.weight.detach().clone()
    trainer(tmp_path / "run", 4, recorder).fit(method, datamodule=data(faces))
    flat = [rate for rates in recorder.rates[::3] for rate in rates]
    assert flat == pytest.approx([0.5, 0, 0.25, 0, 0.02, 0.02, 0.01, 0.01])
    assert recorder.steps == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert torch.equal(recorder.states[1]["classifier.weight"], classifier)
    assert not torch.equal(recorder.states[2]["classifier.weight"], classifier)


def test_figures_and_log_name_the_stage(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    run = trainer(tmp_path / "run", 4, recorder)
    with caplog.at_level(logging.INFO, "eac_lightning"):
        run.fit(module(), datamodule=data(faces))
    said = [record.message for record in caplog.records if record.message.startswith("stage")]
    assert said == [
        "stage 1 of 2 from epoch 0 on: regression to tiny",
        "stage 2 of 2 from epoch 2 on: cross-entropy on the labels",
    ]
    assert {"stage", "train/regression", "val/regression"} <= recorder.logged[0]
    assert not {"train/accuracy", "val/macro_f1"} & recorder.logged[1]
    assert {"train/accuracy", "val/macro_f1"} <= recorder.logged[2]
    assert not {"train/regression", "val/regression"} & recorder.logged[2]
    assert "stage" in run.progress_bar_metrics
    # No epoch of stage 1 is the best one.
    assert read_checkpoint(tmp_path / "run" / "best.ckpt")["epoch"] >= 2
    history = json.loads((tmp_path / "run" / "results.json").read_text())["fit"]
    assert history["best_epoch"] >= 2
    assert "val/regression" in history["history"][0]


def test_the_student_of_stage_1_serves_any_module(faces: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer(tmp_path / "run", 3, recorder).fit(module(), datamodule=data(faces))
    path = str(tmp_path / "run" / "student.safetensors")
    wanted = {key.removeprefix("backbone."): value for key, value in recorder.states[1].items() if "backbone" in key}
    found = create_backbone("expnet", path).state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    eac = EACModule(class_names=list(CLASSES), backbone="expnet", weights=path)
    trainer(tmp_path / "eac", 1).fit(eac, datamodule=data(faces))
    assert load_module(tmp_path / "eac" / "last.ckpt")(batch()["image"]).shape == (6, 3)
    second = module(stage1_epochs=0, weights=path, teacher="no such network")
    assert torch.equal(second.model.backbone.state_dict()["blocks.0.0.weight"], wanted["blocks.0.0.weight"])
    assert second.stage == 2


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_interrupted_run_ends_like_one_that_was_not(stop: int, faces: Path, tmp_path: Path) -> None:
    unlabelled = str(faces / "val")
    whole = module()
    trainer(tmp_path / "whole", 4).fit(whole, datamodule=data(faces, augment="flip", unlabelled_root=unlabelled))
    trainer(tmp_path / "part", stop).fit(module(), datamodule=data(faces, augment="flip", unlabelled_root=unlabelled))
    resumed = module()
    trainer(tmp_path / "part", 4).fit(
        resumed,
        datamodule=data(faces, augment="flip", unlabelled_root=unlabelled),
        ckpt_path=str(tmp_path / "part" / "last.ckpt"),
        weights_only=True,
    )
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.model.state_dict(prefix="model.").items())


def test_unlabelled_faces_are_read_in_stage_1_alone(faces: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Counter(callbacks.Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            seen.append(0)

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            seen[-1] += len(batch["label"])

    trainer(tmp_path / "run", 4, Counter()).fit(module(), datamodule=data(faces, unlabelled_root=str(faces / "val")))
    assert seen == [36, 36, 24, 24]


def test_a_loaded_module_needs_no_teacher_and_knows_its_stage(faces: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    torch.save(TinyBackbone().state_dict(), teacher)
    trainer(tmp_path / "run", 3).fit(module(teacher_weights=str(teacher)), datamodule=data(faces))
    teacher.unlink()
    path = tmp_path / "run" / "last.ckpt"
    loaded = load_module(path)
    assert loaded.stage == 2
    assert loaded.compute_loss(batch()).logits.shape == (6, 3)
    assert loaded._teacher is None
    again = trainer(tmp_path / "run", 4)
    again.fit(module(teacher_weights=str(teacher), stage1_epochs=2, backbone_options=loaded.hparams["backbone_options"]),
              datamodule=data(faces), ckpt_path=str(path), weights_only=True)  # fmt: skip
    assert again.current_epoch == 4


def test_a_module_that_was_loaded_goes_on_with_its_teacher(faces: Path, tmp_path: Path) -> None:
    torch.save(TinyBackbone().state_dict(), tmp_path / "teacher.pt")
    trainer(tmp_path / "run", 1).fit(module(teacher_weights=str(tmp_path / "teacher.pt")), datamodule=data(faces))
    path = tmp_path / "run" / "last.ckpt"
    loaded = FaceNet2ExpNetModule.load_from_checkpoint(path)
    assert loaded.stage == 1
    wanted = read_checkpoint(tmp_path / "teacher.pt")
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.teacher.backbone.state_dict().items())


def test_a_checkpoint_of_stage_1_says_that_it_knows_nothing(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path / "run", 1).fit(module(), datamodule=data(faces))
    load_module(tmp_path / "run" / "last.ckpt")
    assert "of stage 1 (after 1 of 2 epochs)" in caplog.text


def test_outside_a_fit_the_stage_is_that_of_the_weights(faces: Path, tmp_path: Path) -> None:
    method = module()
    trainer(tmp_path / "run", 3).fit(method, datamodule=data(faces))
    (figures,) = trainer(tmp_path / "test", 1).test(method, datamodule=data(faces), verbose=False)
    assert "test/macro_f1" in figures
    assert method.stage == 2
    wrong = DataLoader([{**batch(), "label": torch.full((6,), 7)}], batch_size=None)
    for stage in (1, 2):
        method.stage = stage
        with pytest.raises(ValueError, match="found 7"):
            trainer(tmp_path / "test", 1).test(method, wrong, verbose=False)
    with pytest.raises(ConfigurationError, match="stage 1 or 2, but got 3"):
        method.stage = 3


def test_without_stage_1_the_student_is_what_was_asked_for_and_needs_no_teacher() -> None:
    method = module(stage1_epochs=0, teacher="no such network")
    assert method.model.backbone.options == {"width": 4, "depth": 3, "num_features": 512, "stride": 4, "signed": False}


def test_a_loop_without_a_trainer_goes_from_stage_to_stage() -> None:
    method = module()
    assert method.compute_loss(batch()).logits is None
    method.stage = 2
    assert method.compute_loss(batch()).logits.shape == (6, 3)


@pytest.mark.parametrize(("monitor", "mode"), [("val/accuracy", "max"), ("val/loss", "min")])
def test_stage_1_is_never_the_best_and_stops_nothing(monitor: str, mode: str, faces: Path, tmp_path: Path) -> None:
    best = callbacks.ModelCheckpoint(dirpath=tmp_path / "monitored", monitor=monitor, mode=mode)
    stopping = callbacks.EarlyStopping(monitor, mode=mode, patience=5)
    run = L.Trainer(
        max_epochs=6, callbacks=[best, stopping], default_root_dir=tmp_path, logger=False, accelerator="cpu"
    )
    run.fit(module(lr=1e-3, stage1_epochs=2), datamodule=data(faces))
    assert run.current_epoch == 6
    assert read_checkpoint(best.best_model_path)["epoch"] >= 2


def test_the_trainer_gets_its_setting_back(faces: Path, tmp_path: Path) -> None:
    for epochs in (4, 2):
        run = trainer(tmp_path / str(epochs), epochs)
        run.fit(module(), datamodule=data(faces, unlabelled_root=str(faces / "val")))
        assert run.reload_dataloaders_every_n_epochs == 0


def test_a_fit_that_ends_before_stage_1_leaves_a_student(faces: Path, tmp_path: Path) -> None:
    trainer(tmp_path / "run", 1).fit(module(stage1_epochs=5), datamodule=data(faces))
    assert (tmp_path / "run" / "student.safetensors").is_file()


def test_a_teacher_without_weights_is_told(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tmp_path / "run", 1).fit(module(), datamodule=data(faces))
    assert "The teacher tiny has random weights" in caplog.text


def test_another_student_does_not_take_the_checkpoint(faces: Path, tmp_path: Path) -> None:
    trainer(tmp_path / "run", 1).fit(module(), datamodule=data(faces))
    with pytest.raises(CheckpointError, match="built with .*'width': 4.*'width': 8"):
        trainer(tmp_path / "run", 2).fit(
            module(student_width=8), datamodule=data(faces), ckpt_path=str(tmp_path / "run" / "last.ckpt")
        )


def test_unlabelled_faces_that_nobody_reads_are_told(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ClassificationModule(backbone="tiny")
    trainer(tmp_path / "run", 1).fit(plain, datamodule=data(faces, unlabelled_root=faces / "val"))
    assert "ClassificationModule reads no faces without labels" in caplog.text
    with pytest.raises(DataError, match="Expected a folder of unlabelled faces"):
        trainer(tmp_path / "run", 1).fit(plain, datamodule=data(faces, unlabelled_root=faces / "nowhere"))


def test_a_timm_transformer_teaches_at_the_size_of_the_faces() -> None:
    method = module(teacher="timm/vit_tiny_patch16_224", image_size=32, student_signed=True)
    assert method.teacher.num_features == 192
    assert method.compute_loss(batch(size=32)).loss > 0


def test_stage_1_alone_says_so(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tmp_path / "run", 2).fit(module(), datamodule=data(faces))
    assert "All 2 epochs are stage 1" in caplog.text
    assert (tmp_path / "run" / "student.safetensors").is_file()


def test_another_student_needs_the_teachers_channels(faces: Path, tmp_path: Path) -> None:
    assert module(backbone="tiny").compute_loss(batch()).loss > 0
    with pytest.raises(ConfigurationError, match="a student with the 8 channels.*resnet8 has 128"):
        trainer(tmp_path / "run", 3).fit(module(backbone="resnet8"), datamodule=data(faces))


def test_a_signed_layer_needs_a_signed_student() -> None:
    with pytest.raises(ConfigurationError, match="answers below zero.*student_signed"):
        module(teacher="signed").compute_loss(batch())
    assert module(teacher="signed", student_signed=True).compute_loss(batch()).loss > 0


@pytest.mark.parametrize("name", ["stage1_epochs", "stage1_lr"])
def test_impossible_arguments_are_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Expected {name} to be at least 0, but got -1"):
        module(**{name: -1})
    with pytest.raises(ConfigurationError, match="name of a backbone as teacher, but got a TinyBackbone"):
        module(teacher=TinyBackbone())
    with pytest.raises(ConfigurationError, match="norm to be 1 or 2"):
        module(norm=3).compute_loss(batch())
