"""What every method shares: classes, steps, optimizer, books, checkpoints; with and without a Trainer."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from eac_lightning import (
    ClassificationModule,
    EACModule,
    ELRModule,
    FERDataModule,
    FERModule,
    RULModule,
    SCNModule,
    SymmetricNoise,
    load_module,
)
from eac_lightning._lightning import L, loggers
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError, TrainingDivergedError
from eac_lightning.types import StepOutput
from tests.conftest import CLASSES, batch


def trainer(folder: Path, **options: Any) -> L.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "default_root_dir": folder,
        "logger": loggers.CSVLogger(folder, name="", version=""),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return L.Trainer(**(settings | options))


def data(root: Path, **options: Any) -> FERDataModule:
    return FERDataModule(root, **({"image_size": 16, "batch_size": 8} | options))


def module(**options: Any) -> ClassificationModule:
    torch.manual_seed(0)
    return ClassificationModule(**({"backbone": "tiny", "lr": 1e-2} | options))


class DivergingModule(ClassificationModule):
    """Returns NaN from a step on."""

    def compute_loss(self, batch: Any) -> StepOutput:
        output = super().compute_loss(batch)
        return output._replace(loss=output.loss * float("nan")) if self.current_epoch == 1 else output


# ---- classes -----------------------------------------------------------------------------------------------------


def test_the_network_stands_after_init_where_the_classes_are_known() -> None:
    assert module(num_classes=3).class_names == ("0", "1", "2")
    assert module(class_names=list(CLASSES)).num_classes == 3
    assert module().num_classes == 0
    assert not hasattr(module(), "model")


def test_a_number_that_contradicts_the_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="num_classes=2 and 3 names"):
        module(num_classes=2, class_names=list(CLASSES))


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least two classes"):
        module(num_classes=1)


def test_the_data_tells_classes_and_size(faces: Path, tmp_path: Path) -> None:
    net = module()
    trainer(tmp_path / "run").fit(net, datamodule=data(faces))
    assert net.class_names == CLASSES
    assert net.image_size == 16


def test_data_and_module_that_disagree_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"The module has 5 classes.*the data 3 \(anger, happiness, neutral\)"):
        trainer(tmp_path).fit(module(num_classes=5), datamodule=data(faces))


def test_the_same_classes_in_another_order_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the same classes in the same order"):
        trainer(tmp_path).fit(module(class_names=["neutral", "happiness", "anger"]), datamodule=data(faces))


def test_a_module_that_knows_a_number_learns_the_names(faces: Path, tmp_path: Path) -> None:
    net = module(num_classes=3)
    run = trainer(tmp_path)
    run.fit(net, datamodule=data(faces))
    assert net.class_names == CLASSES
    assert "val/recall/happiness" in run.callback_metrics


def test_a_module_of_another_image_size_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="built for images of 48 px, but the data yields 16 px"):
        trainer(tmp_path).fit(module(image_size=48), datamodule=data(faces))


def test_classes_that_nobody_knows_are_asked_for(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(batch()["image"], batch()["label"]))
    with pytest.raises(ConfigurationError, match="Give num_classes"):
        trainer(tmp_path).fit(module(), loader)


class PlainData(L.LightningDataModule):
    """A user's own DataModule, which yields (image, label) and knows a number at most."""

    def __init__(self, num_classes: int | None) -> None:
        super().__init__()
        if num_classes is not None:
            self.num_classes = num_classes

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(batch(12)["image"], batch(12)["label"]), batch_size=6)

    val_dataloader = train_dataloader


def test_any_datamodule_of_pairs_works(tmp_path: Path) -> None:
    net = module()
    trainer(tmp_path).fit(net, datamodule=PlainData(3))
    assert net.class_names == ("0", "1", "2")
    assert json.loads((tmp_path / "results.json").read_text())["fit"]["best"] >= 0


# ---- without a Trainer -------------------------------------------------------------------------------------------


def test_batches_of_every_form_give_the_same_loss() -> None:
    net, whole = module(num_classes=3).eval(), batch()
    pixels = (whole["image"] * 255).to(torch.uint8)
    forms: list[Any] = [
        {"image": pixels, "label": whole["label"]},
        (pixels, whole["label"]),
        [pixels.float() / 255, whole["label"], torch.arange(6)],
    ]
    losses = [net.compute_loss(form).loss for form in forms]
    assert losses[0] == losses[1] == losses[2]


def test_grey_is_rgb_thrice() -> None:
    net, grey = module(num_classes=3).eval(), torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(net(grey), net(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("faces", "got str"),
        ((torch.zeros(1, 3, 8, 8),), r"got tuple of 1 \(Tensor\)"),
        ({"image": torch.zeros(1, 3, 8, 8)}, r"got a dict with image \(Tensor\)"),
        ((torch.zeros(3, 8, 8), torch.zeros(3)), r"got \(3, 8, 8\).*batch dimension"),
        ((torch.zeros(1, 4, 8, 8), torch.zeros(1)), r"got \(1, 4, 8, 8\)"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.int64), torch.zeros(1)), "got torch.int64"),
        ((torch.zeros(1, 3, 8, 8), torch.zeros(1)), "integer type.*float32"),
        ((torch.zeros(1, 3, 8, 8), torch.tensor([7])), r"labels from 0 to 2 \(3 classes\), but found 7"),
        ((torch.zeros(1, 3, 8, 8), torch.tensor([-1])), "but found -1"),
    ],
)
def test_a_batch_of_another_form_is_described(wrong: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        module(num_classes=3).compute_loss(wrong)


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (torch.full((6, 4), 0.25), r"soft_label to be floats of shape \(6, 3\).*but got \(6, 4\) of torch.float32"),
        (torch.ones(6, 3, dtype=torch.long), r"but got \(6, 3\) of torch.int64"),
        (torch.full((3,), 1 / 3), r"but got \(3,\) of torch.float32"),
        ([[1.0, 0.0, 0.0]] * 6, "but got list"),
        (torch.full((6, 3), 3.0), "sum to 1, but found 3 as the least value and sums from 9 to 9. Divide votes"),
        (torch.tensor([[1.5, -0.5, 0.0]] * 6), "found -0.5 as the least"),
        (torch.full((6, 3), float("nan")), "found nan"),
    ],
)
@pytest.mark.parametrize("method", [ClassificationModule, ELRModule, SCNModule, RULModule])
def test_soft_labels_that_are_no_distributions_are_refused(method: Any, soft: Any, message: str) -> None:
    made = method(num_classes=3, backbone="tiny")
    with pytest.raises(DataError, match=message):
        made.compute_loss({**batch(), "index": torch.arange(6), "soft_label": soft})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", [ClassificationModule, ELRModule, SCNModule, RULModule])
def test_soft_labels_of_any_float_type_are_learned_from(method: Any, dtype: torch.dtype) -> None:
    made = method(num_classes=3, backbone="tiny", loss="symmetric_cross_entropy")
    soft = torch.tensor([0.5, 0.3, 0.2], dtype=dtype).expand(6, 3)
    output = made.compute_loss({**batch(), "index": torch.arange(6), "soft_label": soft})
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert made.model.classifier.weight.grad.abs().sum() > 0


def test_maps_logits_and_features_agree() -> None:
    net, image = module(num_classes=3).eval(), batch()["image"]
    maps, logits, features = net.attention_maps(image), net(image), net.features(image)
    assert maps.shape == (6, 3, 4, 4)
    assert features.shape == (6, 8)
    torch.testing.assert_close(maps.mean((2, 3)) + net.model.classifier.bias, logits)
    torch.testing.assert_close(net.model.classifier(features), logits)


def test_the_classifier_learns_though_the_contraction_is_detached() -> None:
    net, data_ = module(num_classes=3), batch()
    loss = net.compute_loss(data_).loss
    found = torch.autograd.grad(loss, net.model.classifier.weight)[0]
    features = net.features(data_["image"])
    expected = torch.autograd.grad(
        nn.functional.cross_entropy(net.model.classifier(features), data_["label"]), net.model.classifier.weight
    )[0]
    torch.testing.assert_close(found, expected)


def test_normalize_false_takes_images_as_they_come() -> None:
    image = batch()["image"]
    mean, std = (
        torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
    )
    torch.testing.assert_close(
        module(num_classes=3).eval()(image), module(num_classes=3, normalize=False).eval()((image - mean) / std)
    )


def test_an_image_smaller_than_a_cell_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 4 px for TinyBackbone.*got 3×2"):
        module(num_classes=3)(torch.zeros(1, 3, 3, 2))


def test_the_optimizer_works_unattached() -> None:
    net = module(num_classes=3, lr=0.5, weight_decay=0.25, lr_decay=0.5)
    [optimizer], [schedule] = net.configure_optimizers()
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_a_plain_loop_learns() -> None:
    net, data_ = module(num_classes=3), batch(12)
    [optimizer], _ = net.configure_optimizers()
    losses = []
    for _ in range(30):
        loss = net.compute_loss((data_["image"], data_["label"])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_the_base_itself_computes_nothing() -> None:
    with pytest.raises(NotImplementedError, match="Take ClassificationModule or EACModule"):
        FERModule(num_classes=3, backbone="tiny").compute_loss(batch())


# ---- in a Trainer ------------------------------------------------------------------------------------------------


def test_a_fit_learns_logs_and_reports(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = module()
    run = trainer(tmp_path / "run", max_epochs=15)
    run.fit(net, datamodule=data(faces, noise=SymmetricNoise(0.3), augment="flip"))
    fit = json.loads((tmp_path / "run" / "results.json").read_text())["fit"]
    assert fit["best"] > 0.6
    assert fit["best"] >= fit["last5"]
    assert set(fit["recall"]) == set(CLASSES)
    assert fit["mean_class_last5"] == pytest.approx(fit["last5"])  # every class has as many faces
    assert 0 <= fit["memorized"] <= 1
    assert 0 <= fit["recovered"] <= 1
    assert len(fit["history"]) == 15
    assert fit["last5"] == pytest.approx(sum(epoch["val/accuracy"] for epoch in fit["history"][-5:]) / 5)
    for name in ("train/loss", "val/loss", "val/macro_f1", "train/memorized", "train/recovered"):
        assert name in run.callback_metrics
    printed = capsys.readouterr().out
    assert "wrong labels memorised" in printed
    assert "recall of happiness" in printed


def test_without_known_wrong_labels_none_are_reported(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.fit(module(), datamodule=data(faces))
    assert "train/memorized" not in run.callback_metrics
    assert "memorized" not in json.loads((tmp_path / "results.json").read_text())["fit"]


def test_epochs_without_validation_are_not_reported_twice(faces: Path, tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=4, check_val_every_n_epoch=2).fit(module(), datamodule=data(faces))
    history = json.loads((tmp_path / "results.json").read_text())["fit"]["history"]
    assert ["val/accuracy" in epoch for epoch in history] == [False, True, False, True]


def test_a_run_without_validation_ends_without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = DataLoader(TensorDataset(batch()["image"], batch()["label"]))
    trainer(tmp_path).fit(module(num_classes=3), loader)
    assert "best" not in json.loads((tmp_path / "results.json").read_text())["fit"]
    assert "overall accuracy" not in capsys.readouterr().out


def test_validate_test_and_predict(faces: Path, tmp_path: Path) -> None:
    net, run, dm = module(), trainer(tmp_path), data(faces)
    run.fit(net, datamodule=dm)
    assert 0 <= run.validate(net, datamodule=dm, verbose=False)[0]["val/accuracy"] <= 1
    assert 0 <= run.test(net, datamodule=dm, verbose=False)[0]["test/recall/anger"] <= 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["test"]["test/accuracy"] >= 0
    assert results["fit"]["history"]
    outputs = run.predict(net, datamodule=dm)
    assert outputs is not None
    probabilities = torch.cat([output["probabilities"] for output in outputs])
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(probabilities)))
    assert sorted(torch.cat([output["index"] for output in outputs]).tolist()) == list(range(48))


def test_images_alone_can_be_predicted() -> None:
    net, image = module(num_classes=3), batch()["image"]
    assert set(net.predict_step(image, 0)) == set(net.predict_step([image], 0)) == {"probabilities"}
    assert set(net.predict_step({"image": image, "index": torch.arange(6)}, 0)) == {"probabilities", "index"}


def test_integer_labels_of_any_type_will_do() -> None:
    net, whole = module(num_classes=3).eval(), batch()
    assert net.compute_loss((whole["image"], whole["label"].int())).loss == net.compute_loss(whole).loss


class OwnModel(ClassificationModule):
    """A model of another kind than CAMClassifier."""

    def configure_models(self) -> None:
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(768, self.num_classes))  # type: ignore[assignment]

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def test_a_subclass_may_have_a_model_of_its_own_kind(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run")
    run.fit(OwnModel(), datamodule=data(faces))
    run.save_checkpoint(tmp_path / "own.ckpt")
    assert isinstance(load_module(tmp_path / "own.ckpt"), OwnModel)


def test_metrics_equal_a_count_by_hand(faces: Path, tmp_path: Path) -> None:
    net, run, dm = module(), trainer(tmp_path), data(faces, batch_size=5)
    run.fit(net, datamodule=dm)
    figures = run.validate(net, datamodule=dm, verbose=False)[0]
    hits, total = 0, 0
    net.eval()
    for item in dm.val_dataloader():
        with torch.no_grad():
            hits += int((net(item["image"]).argmax(1) == item["label"]).sum())
        total += len(item["label"])
    assert figures["val/accuracy"] == pytest.approx(hits / total)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(faces: Path, tmp_path: Path) -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        net = EACModule(backbone="tiny", seed=seed)
        trainer(tmp_path / "run", logger=False).fit(net, datamodule=data(faces, seed=seed))
        weights.append(net.model.classifier.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_leaves_torchs_generator_alone(faces: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = EACModule(num_classes=3, backbone="tiny")
    dm = data(faces)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(tmp_path, logger=False).fit(net, datamodule=dm)
    assert torch.equal(before, torch.get_rng_state())


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(faces: Path, tmp_path: Path) -> None:
    from eac_lightning.runs.checkpoints import BestCheckpoint, LastCheckpoint

    net = DivergingModule(num_classes=3, backbone="tiny")
    run = trainer(
        tmp_path / "run", max_epochs=3, callbacks=[BestCheckpoint(tmp_path / "run"), LastCheckpoint(tmp_path / "run")]
    )
    with pytest.raises(TrainingDivergedError, match="loss is nan at step 0 of epoch 1"):
        run.fit(net, datamodule=data(faces))
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values() if value.is_floating_point())


class BreakingModule(ClassificationModule):
    """Breaks its weights in the last step of an epoch, after a loss that was fine."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.current_epoch == 1 and self.trainer.is_last_batch:
            nn.init.constant_(self.model.classifier.weight, float("nan"))


def test_weights_that_break_in_the_last_step_are_not_saved(faces: Path, tmp_path: Path) -> None:
    from eac_lightning.runs.checkpoints import BestCheckpoint, LastCheckpoint

    run = trainer(
        tmp_path / "run", max_epochs=3, callbacks=[BestCheckpoint(tmp_path / "run"), LastCheckpoint(tmp_path / "run")]
    )
    with pytest.raises(TrainingDivergedError, match="loss is nan at the validation of epoch 1"):
        run.fit(BreakingModule(num_classes=3, backbone="tiny"), datamodule=data(faces))
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["epoch"] == 1


def test_means_of_half_precision_runs_count_every_sample() -> None:
    net = module(num_classes=3).bfloat16()
    net.log = lambda *_, **__: None  # type: ignore[method-assign]
    for value in range(2000):
        net._log_mean("train", "loss", torch.tensor(float(value % 2), dtype=torch.bfloat16), 1)
    assert float(net.means["train_loss"].compute()) == pytest.approx(0.5)  # type: ignore[operator]


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_every_precision_trains(precision: str, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, precision=precision)
    run.fit(EACModule(backbone="tiny"), datamodule=data(faces))
    assert torch.isfinite(run.callback_metrics["train/loss"])


def test_images_out_of_range_are_asked_about(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(batch()["image"] * 255, batch()["label"]))
    with pytest.raises(ConfigurationError, match="reaches from .* to 2.*normalize=False"):
        trainer(tmp_path).fit(module(num_classes=3), loader)
    trainer(tmp_path).fit(module(num_classes=3, normalize=False), loader)


def test_a_batch_of_one_is_named_where_batch_norm_cannot_take_it(tmp_path: Path) -> None:
    pictures = torch.rand(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64)
    net = module(num_classes=3)
    net.model.backbone.output_stride = 1  # type: ignore[assignment]
    with pytest.raises(DataError, match="at least two faces in a training batch.*step 0 has 1"):
        trainer(tmp_path).fit(net, DataLoader(TensorDataset(*pictures)))
    trainer(tmp_path).fit(module(num_classes=3), DataLoader(TensorDataset(torch.rand(1, 3, 16, 16), pictures[1])))


def test_another_error_of_a_loss_is_left_as_it_is(tmp_path: Path) -> None:
    class Broken(ClassificationModule):
        def compute_loss(self, batch: Any) -> StepOutput:
            raise ValueError("my own")

    loader = DataLoader(TensorDataset(batch()["image"], batch()["label"]))
    with pytest.raises(ValueError, match="my own"):
        trainer(tmp_path).fit(Broken(num_classes=3, backbone="tiny"), loader)


# ---- checkpoints -------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(faces: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    run = trainer(tmp_path / "run")
    run.fit(EACModule(backbone="tiny"), datamodule=data(faces))
    run.save_checkpoint(tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


def test_a_checkpoint_is_all_that_it_takes(checkpoint: Path, faces: Path) -> None:
    net = load_module(checkpoint)
    assert isinstance(net, EACModule)
    assert not net.training
    assert net.class_names == CLASSES
    assert net.image_size == 16
    about = torch.load(checkpoint, weights_only=True)["eac_lightning"]
    assert about["class_path"] == "eac_lightning.modules.eac.EACModule"
    assert about["mean"] == pytest.approx([0.485, 0.456, 0.406])
    again = EACModule.load_from_checkpoint(checkpoint, weights_only=True).eval()
    assert torch.equal(net(batch()["image"]), again(batch()["image"]))


def test_weights_that_a_run_began_from_are_not_needed_again(faces: Path, tmp_path: Path) -> None:
    torch.save(copy.deepcopy(module(num_classes=3).model.backbone).state_dict(), tmp_path / "start.pt")
    net = module(weights=str(tmp_path / "start.pt"))
    run = trainer(tmp_path / "run")
    run.fit(net, datamodule=data(faces))
    run.save_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "start.pt").unlink()
    assert load_module(tmp_path / "model.ckpt").hparams["weights"] is None
    assert torch.load(tmp_path / "model.ckpt", weights_only=True)["eac_lightning"]["weights"].endswith("start.pt")
    assert net.hparams["weights"].endswith("start.pt")


def test_a_resumed_run_ends_as_an_uninterrupted_one(faces: Path, tmp_path: Path) -> None:
    def fit(epochs: int, folder: str, resume: Path | None = None) -> tuple[Tensor, dict[str, Any]]:
        torch.manual_seed(0)
        net = EACModule(backbone="tiny", lr=1e-2)
        run = trainer(tmp_path / folder, max_epochs=epochs)
        run.fit(net, datamodule=data(faces, augment="standard"), ckpt_path=resume, weights_only=True)
        run.save_checkpoint(tmp_path / f"{folder}.ckpt")
        return net.model.classifier.weight.detach(), json.loads((tmp_path / folder / "results.json").read_text())["fit"]

    whole, report = fit(3, "whole")
    fit(1, "begun")
    resumed, continued = fit(3, "resumed", tmp_path / "begun.ckpt")
    assert torch.equal(whole, resumed)
    assert continued["history"] == report["history"]
    assert continued["last5"] == report["last5"]


def test_the_checkpoint_of_other_classes_is_refused(checkpoint: Path, faces: Path, tmp_path: Path) -> None:
    dm = data(faces, classes=["anger", "neutral"])
    with pytest.raises(CheckpointError, match=r"3 classes \(anger, happiness, neutral\).*has 2 \(anger, neutral\)"):
        trainer(tmp_path / "other", max_epochs=2).fit(
            EACModule(backbone="tiny"), datamodule=dm, ckpt_path=checkpoint, weights_only=True
        )


def test_the_checkpoint_of_another_backbone_is_refused(checkpoint: Path, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds the backbone tiny, but this module has resnet8"):
        trainer(tmp_path / "other").test(
            EACModule(backbone="resnet8"), datamodule=data(faces), ckpt_path=checkpoint, weights_only=True
        )


@pytest.mark.parametrize("name", ["lr", "weight_decay", "lr_decay"])
def test_settings_below_zero_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Expected {name} to be at least 0, but got -1"):
        module(**{name: -1})


def test_eac_warns_of_random_weights_and_of_nothing_else(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for options, warned in (
        ({}, True),
        ({"consistency_warmup_epochs": 8}, False),
        ({"consistency_weight": 1.0}, False),
    ):
        caplog.clear()
        trainer(tmp_path, logger=False).fit(EACModule(backbone="tiny", **options), datamodule=data(faces))  # type: ignore[arg-type]
        assert ("begins from random weights" in caplog.text) == warned


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "plain.ckpt")
    with pytest.raises(CheckpointError, match="no checkpoint of an eac_lightning module"):
        load_module(tmp_path / "plain.ckpt")
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_module(tmp_path / "nothing.ckpt")


def test_a_checkpoint_cannot_choose_what_is_imported(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["eac_lightning"]["class_path"] = "elsewhere.evil.Module"
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=r"elsewhere.evil.Module.*--import elsewhere.evil"):
        load_module(checkpoint)


class ShortModule(ClassificationModule):
    """A subclass that takes one argument alone."""

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__(backbone="tiny", lr=1e-2)
        self.margin = margin


def test_a_module_with_arguments_of_its_own_alone_loads(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run")
    net = ShortModule(margin=0.25)
    run.fit(net, datamodule=data(faces))
    run.save_checkpoint(tmp_path / "short.ckpt")
    loaded = load_module(tmp_path / "short.ckpt")
    assert isinstance(loaded, ShortModule)
    assert loaded.margin == 0.25
    assert loaded.class_names == CLASSES
    assert torch.equal(loaded(batch()["image"]), net.eval()(batch()["image"]))


def test_a_module_of_your_own_loads_where_it_is_imported(faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run")
    run.fit(DivergingModule(backbone="tiny"), datamodule=data(faces))
    run.save_checkpoint(tmp_path / "own.ckpt")
    assert isinstance(load_module(tmp_path / "own.ckpt"), DivergingModule)
