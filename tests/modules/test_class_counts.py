"""Losses that follow from class counts: told by the data, kept in the checkpoint, missed where nobody tells."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from eac_lightning import (
    ClassificationModule,
    EACModule,
    ELRModule,
    FaceNet2ExpNetModule,
    FERDataModule,
    FERModule,
    Predictor,
    RULModule,
    SCNModule,
    SymmetricNoise,
    TransitionNoise,
    load_module,
    logit_adjusted_cross_entropy,
)
from eac_lightning._lightning import L
from eac_lightning.cli import main
from eac_lightning.cli.compare import method_name
from eac_lightning.errors import ConfigurationError
from tests.conftest import CLASSES, batch, make_faces

COUNTS = [8, 6, 3]
LOSSES: list[dict[str, Any]] = [
    {"loss": "logit_adjustment"},
    {"loss": "logit_adjustment", "loss_options": {"tau": 0.5}},
    {"loss": "focal", "loss_options": {"class_weights": "balanced"}},
    {"loss_options": {"class_weights": "balanced", "label_smoothing": 0.1}},
]


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Eight, six and three training faces of the three classes, and four of each to validate and to test."""
    root = make_faces(tmp_path / "uneven")
    for label, name in enumerate(CLASSES):
        for number in range(COUNTS[label], 8):
            (root / "train" / name / f"{number}.png").unlink()
    return root


def data(root: Path, **options: Any) -> FERDataModule:
    return FERDataModule(root, **({"image_size": 16, "batch_size": 6, "seed": 0} | options))


def trainer(folder: Path, **options: Any) -> L.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": folder}
    return L.Trainer(**(settings | quiet | options))


def module(kind: type[FERModule] = ClassificationModule, **options: Any) -> FERModule:
    torch.manual_seed(0)
    return kind(**({"backbone": "tiny"} | options))


def by_hand(options: dict[str, Any], logits: Tensor, label: Tensor) -> float:
    """Return the loss of COUNTS faces a class, in loops over faces."""
    chosen, total = options.get("loss_options", {}), 0.0
    for row, y in zip(logits.double(), label.tolist(), strict=True):
        if options.get("loss") == "logit_adjustment":
            prior = torch.tensor([count / sum(COUNTS) for count in COUNTS])
            total -= float((row + chosen.get("tau", 1.0) * prior.log()).log_softmax(0)[y])
            continue
        log_p, smoothing = row.log_softmax(0), chosen.get("label_smoothing", 0.0)
        for k in range(3):
            weight = sum(COUNTS) / (3 * COUNTS[k])
            focus = float(1 - log_p[k].exp()) ** 2 if options.get("loss") == "focal" else 1.0
            total -= weight * ((1 - smoothing) * (k == y) + smoothing / 3) * focus * float(log_p[k])
    return total / len(label)


# ---- what the data tell ------------------------------------------------------------------------------------------


def test_the_data_module_counts_the_labels_that_are_trained_on(uneven: Path) -> None:
    assert data(uneven).class_counts == (8, 6, 3)
    noisy = data(uneven, noise=SymmetricNoise(0.5))
    assert noisy.class_counts == tuple((noisy.dataset("train").labels == k).sum() for k in range(3))
    assert noisy.class_counts != (8, 6, 3)
    assert data(uneven, per_class=4).class_counts == (4, 4, 3)
    assert sum(data(uneven, subset=9).class_counts) == 9
    parts = [data(uneven, folds=3, fold=fold).class_counts for fold in range(3)]
    assert [sum(each) for each in zip(*parts, strict=True)] == [2 * count for count in COUNTS]
    assert data(uneven, sampler="balanced").class_counts == (8, 6, 3)


def test_corrections_are_counted(uneven: Path) -> None:
    table = uneven.parent / "corrections.csv"
    table.write_text("path,label,action\ntrain/anger/0.png,neutral,change\ntrain/anger/1.png,,drop\n")
    assert data(uneven, label_overrides=str(table)).class_counts == (6, 6, 4)


def test_pictures_that_are_skipped_are_not_counted(uneven: Path) -> None:
    (uneven / "train" / "anger" / "0.png").write_bytes(b"no picture")
    assert data(uneven, on_bad_image="skip").class_counts == (7, 6, 3)


def test_shards_tell_without_reading_faces(uneven: Path, tmp_path: Path) -> None:
    assert main(["data", "pack", str(uneven), str(tmp_path / "shards")]) == 0
    packed = data(tmp_path / "shards")
    assert packed.class_counts == (8, 6, 3)
    assert packed._annotations is None


# ---- what the module does with it --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", LOSSES)
def test_a_fit_learns_the_counts_and_the_checkpoint_needs_no_data(
    options: dict[str, Any], uneven: Path, tmp_path: Path
) -> None:
    given = json.dumps(options)
    net = module(**options)
    run = trainer(tmp_path / "run")
    run.fit(net, datamodule=data(uneven))
    assert json.dumps(options) == given  # the caller's own dict
    assert net.hparams["loss_options"]["class_counts"] == COUNTS
    run.save_checkpoint(tmp_path / "module.ckpt")
    for each in (net, load_module(tmp_path / "module.ckpt")):
        output = each.compute_loss(batch())
        assert output.loss.item() == pytest.approx(by_hand(options, output.logits.detach(), batch()["label"]), rel=1e-5)
    assert Predictor.from_checkpoint(tmp_path / "module.ckpt", crops=True).module.class_names == CLASSES


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (EACModule, {"consistency_weight": 1.0}),
        (ELRModule, {}),
        (SCNModule, {}),
        (RULModule, {}),
        (FaceNet2ExpNetModule, {"backbone": "expnet", "stage1_epochs": 0, "student_width": 4}),
    ],
)
def test_every_method_takes_them(kind: type[FERModule], options: dict[str, Any], uneven: Path, tmp_path: Path) -> None:
    net = module(kind, loss="logit_adjustment", **options)
    trainer(tmp_path).fit(net, datamodule=data(uneven))
    assert net.classification_loss.log_prior.exp().tolist() == pytest.approx([8 / 17, 6 / 17, 3 / 17])


def test_validation_tells_plain_cross_entropy(uneven: Path, tmp_path: Path) -> None:
    losses = []
    for loss in ("cross_entropy", "logit_adjustment"):
        run = trainer(tmp_path / loss, max_epochs=1)
        run.fit(module(loss=loss, lr=0.0), datamodule=data(uneven))
        losses.append(float(run.callback_metrics["val/loss"]))
    assert losses[0] == losses[1]


def test_a_resumed_run_has_the_counts_of_its_data_and_ends_as_if_it_had_not_been(uneven: Path, tmp_path: Path) -> None:
    whole = module(loss="logit_adjustment")
    trainer(tmp_path / "whole", max_epochs=2).fit(whole, datamodule=data(uneven))
    run = trainer(tmp_path / "part", max_epochs=1)
    run.fit(module(loss="logit_adjustment"), datamodule=data(uneven))
    run.save_checkpoint(tmp_path / "part.ckpt")
    resumed = module(loss="logit_adjustment")
    trainer(tmp_path / "rest", max_epochs=2).fit(resumed, datamodule=data(uneven), ckpt_path=tmp_path / "part.ckpt")
    assert resumed.hparams["loss_options"] == {"class_counts": COUNTS}
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_half_precision_training_does(uneven: Path, tmp_path: Path) -> None:
    for number, options in enumerate(LOSSES):
        run = trainer(tmp_path / str(number), precision="bf16-mixed")
        run.fit(module(**options), datamodule=data(uneven))
        assert run.callback_metrics["train/loss"].isfinite()


# ---- what was given, and what nobody tells -----------------------------------------------------------------------


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(batch(12)["image"], batch(12)["label"]), batch_size=6)


def test_counts_can_be_given_and_stay(uneven: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = module(num_classes=3, loss="logit_adjustment", loss_options={"class_counts": [1, 1, 2]})
    expected = logit_adjusted_cross_entropy(
        net.compute_loss(batch()).logits, batch()["label"], torch.tensor([0.25, 0.25, 0.5]).log()
    )
    torch.testing.assert_close(net.compute_loss(batch()).loss, expected)
    trainer(tmp_path).fit(net, loader())
    assert "class_counts" not in caplog.text
    trainer(tmp_path).fit(net, datamodule=data(uneven))
    assert net.hparams["loss_options"]["class_counts"] == [1, 1, 2]
    assert "was given class_counts [1, 1, 2], and the training faces have [8, 6, 3]: it keeps" in caplog.text
    net.hparams["loss_options"]["class_counts"] = None
    trainer(tmp_path).fit(net, datamodule=data(uneven))
    assert net.hparams["loss_options"]["class_counts"] == COUNTS


@pytest.mark.parametrize("options", LOSSES)
def test_where_nobody_tells_them_it_is_said_what_to_give(options: dict[str, Any], tmp_path: Path) -> None:
    net = module(num_classes=3, **options)
    message = r'which nobody told.* give loss_options=\{"class_counts": \[...\]\}'
    with pytest.raises(ConfigurationError, match=message):
        trainer(tmp_path).fit(net, loader())
    with pytest.raises(ConfigurationError, match=message):
        net.compute_loss(batch())
    trainer(tmp_path).validate(net, loader(), verbose=False)


@pytest.mark.parametrize(
    "counts", [{0: 8, 1: 6, 2: 3}, {"anger": 8, "happiness": 6, "neutral": 3}, lambda: COUNTS, 17, [8.0, 6.0, 3.5]]
)
def test_counts_that_a_data_module_tells_in_another_form_are_refused(counts: Any, tmp_path: Path) -> None:
    told = L.LightningDataModule()
    told.train_dataloader, told.class_counts = loader, counts  # type: ignore[method-assign,attr-defined]
    with pytest.raises(ConfigurationError, match="DataModule's class_counts to be a whole number for each class, but"):
        trainer(tmp_path).fit(module(num_classes=3, loss="logit_adjustment"), datamodule=told)


@pytest.mark.parametrize("counts", [np.array(COUNTS), torch.tensor(COUNTS), tuple(COUNTS)])
def test_counts_of_a_data_module_may_be_an_array(counts: Any, tmp_path: Path) -> None:
    told = L.LightningDataModule()
    told.train_dataloader, told.class_counts = loader, counts  # type: ignore[method-assign,attr-defined]
    net = module(num_classes=3, loss="logit_adjustment")
    trainer(tmp_path).fit(net, datamodule=told)
    assert net.hparams["loss_options"] == {"class_counts": COUNTS}


def test_a_class_that_nobody_is_labelled_as_is_named(uneven: Path, tmp_path: Path) -> None:
    noise = TransitionNoise([[1, 0, 0], [0, 1, 0], [1, 0, 0]])  # all neutral faces are called angry
    with pytest.raises(ConfigurationError, match=r"none labelled neutral \(class_counts \[11, 6, 0\]\)"):
        trainer(tmp_path).fit(module(loss="logit_adjustment"), datamodule=data(uneven, noise=noise))


def test_balanced_sampling_beside_it_is_warned_of(
    uneven: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path).fit(module(loss="logit_adjustment"), datamodule=data(uneven, sampler="balanced"))
    assert "sampler='balanced' shows all classes equally often, and the loss logit_adjustment" in caplog.text


# ---- the command line --------------------------------------------------------------------------------------------


def command(root: Path, *more: str) -> list[str]:
    return [
        "-c", "ce_mobilefacenet", "--model.backbone=tiny", "--trainer.accelerator=cpu", "--trainer.max_epochs=1",
        "--trainer.callbacks=[]", f"--data.root={root}", "--data.image_size=16", "--data.batch_size=6",
        "--trainer.default_root_dir=run", *more,
    ]  # fmt: skip


def test_fit_test_and_infer_by_command(uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model.loss=focal", "--model.loss_options={gamma: 1.5, class_weights: balanced}"]
    assert main(["fit", *command(uneven, *options)]) == 0
    fit = json.loads(Path("run/results.json").read_text())["fit"]
    assert {"val/macro_precision", "val/ece"} <= fit["history"][0].keys()
    assert {"macro_precision", "ece"} <= fit["last"].keys()
    assert main(["test", *command(uneven, *options)]) == 0
    assert {"test/macro_precision", "test/ece"} <= json.loads(Path("run/results.json").read_text())["test"].keys()
    assert main(["infer", "run/last.ckpt", str(uneven / "test"), "--crops"]) == 0
    assert Path("predictions/predictions.csv").is_file()


def test_compare_sets_class_weights_beside_plain_cross_entropy(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *command(uneven, "--model.loss_options={class_weights: balanced}")]) == 0
    methods = {"cross_entropy": None, "cross_entropy_with_class_weights": {"class_weights": "balanced"}}
    assert set(json.loads(Path("run/summary.json").read_text())) == set(methods)
    for method, options in methods.items():
        model = yaml.safe_load(Path("run", method, "config.yaml").read_text())["model"]["init_args"]
        assert (model["loss"], model["loss_options"]) == ("cross_entropy", options)


@pytest.mark.parametrize(
    ("loss", "options", "name"),
    [
        ("cross_entropy", None, "cross_entropy"),
        ("cross_entropy", {"label_smoothing": 0.0, "class_weights": None, "class_counts": [1, 2]}, "cross_entropy"),
        ("cross_entropy", {"label_smoothing": 0.1}, "cross_entropy_with_label_smoothing"),
        ("logit_adjustment", {"tau": 0.5}, "logit_adjustment"),
    ],
)
def test_a_method_goes_by_its_loss(loss: str, options: dict[str, Any] | None, name: str) -> None:
    assert method_name("eac_lightning.ClassificationModule", loss, options) == name
    assert method_name("eac_lightning.EACModule", loss, options) == "eac"
