import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from eac_lightning._lightning import L, callbacks
from eac_lightning.audit.table import read_audit
from eac_lightning.callbacks.label_audit import LabelAuditCallback
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.labels.noise import SymmetricNoise
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import EACModule
from tests.callbacks.conftest import CLASSES, Faces, TinyBackbone, TinyModule, loader

MakeTrainer = Callable[..., L.Trainer]
COLUMNS = ["index", "path", "given", "suggested", "confidence", "p_given", "loss", "margin", "aum", "disagreements",
           "consistency", "agreement", "combined", "score", "suspect", "p_anger", "p_fear", "p_happiness"]  # fmt: skip


class Tuples(Faces):
    def __getitem__(self, index: int) -> object:
        sample: Any = super().__getitem__(index)
        return sample["image"], sample["label"], index


class TinyEAC(EACModule):
    def __init__(self) -> None:
        super().__init__(class_names=CLASSES, consistency_weight=0.5, erasing_probability=1.0)

    def configure_models(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.model = CAMClassifier(TinyBackbone(), self.num_classes)


def training(count: int = 10, faces: Dataset[Any] | None = None) -> DataLoader[Any]:
    """Shuffled, and with a smaller last batch that is never left out of an audit."""
    return DataLoader(faces or Faces(count, "dict"), batch_size=4, shuffle=True, drop_last=True)


def figures(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "audit.json").read_text())
    return content


def naive(module: Any, faces: Any, mirror: bool) -> pd.DataFrame:
    """One face at a time, formula by formula."""
    rows, names = [], list(module.class_names)
    module.eval()
    for position in range(len(faces)):
        sample = faces[position]
        with torch.no_grad():
            image = sample["image"][None].float() / 255
            (logits,), (maps,) = module.logits_and_maps(image)
            (flipped,), (flipped_maps,) = module.logits_and_maps(torch.flip(image, [3]))
        given = int(sample["label"])
        both = (logits + flipped) / 2 if mirror else logits
        p = torch.exp(both) / torch.exp(both).sum()
        one, other = maps[given].flatten(), torch.flip(flipped_maps[given], [1]).flatten()
        p1, p2 = F.softmax(logits, 0), F.softmax(flipped, 0)
        rows.append(
            {
                "index": int(sample["index"]),
                "given": names[given],
                "p_given": float(p[given]),
                "loss": -float(torch.log(p[given])),
                "margin": float(both[given] - max(both[k] for k in range(len(names)) if k != given)),
                "disagreements": float(int(both.argmax()) != given),
                "consistency": float(one @ other / (one.norm() * other.norm())) if mirror else np.nan,
                "agreement": float(sum((p1[k] * p2[k]) ** 0.5 for k in range(len(names)))) if mirror else np.nan,
                **{f"p_{name}": float(p[k]) for k, name in enumerate(names)},
            }
        )
    return pd.DataFrame(rows).sort_values("index", ignore_index=True)


def assert_as_naive(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert table["index"].tolist() == expected["index"].tolist()
    assert table["given"].tolist() == expected["given"].tolist()
    for name in expected.columns.drop(["index", "given"]):
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mirror", ["last", "never"])
@pytest.mark.parametrize("make", [TinyModule, TinyEAC])
def test_every_index_once_with_the_values_of_a_naive_pass(
    make: Callable[[], Any], mirror: str, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    module = make()
    make_trainer(LabelAuditCallback(from_epoch=1, mirror=mirror)).fit(module, training())
    table = read_audit(tmp_path)
    assert table.columns.tolist() == COLUMNS
    assert_as_naive(table, naive(module, Faces(10, "dict"), mirror == "last"))
    # Of one audited epoch, sums are the epoch's values.
    np.testing.assert_allclose(table["aum"], table["margin"], rtol=1e-6)
    np.testing.assert_allclose(table["score"], table["combined"], rtol=1e-6)
    kept = figures(tmp_path)
    assert (kept["samples"], kept["suspects"]) == (10, int(table["suspect"].sum()))
    assert kept["settings"] == {
        "score": "combined", "epochs": [1], "from_epoch": 1, "every_n_epochs": 1, "passive": False, "mirror": mirror,
    }  # fmt: skip


def test_epochs_are_summed(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Of three epochs, each looked at naively as it ends, the audit has the means, and loss and margin of the last."""
    looks: list[pd.DataFrame] = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            looks.append(naive(pl_module, Faces(10, "dict"), mirror=True))
            pl_module.train()

    make_trainer(LabelAuditCallback(mirror="always"), Look(), max_epochs=3).fit(TinyModule(), training())
    table = read_audit(tmp_path)
    mean = {name: np.mean([look[name] for look in looks], axis=0) for name in ("p_given", "margin", "disagreements")}
    expected = looks[-1].assign(p_given=mean["p_given"], disagreements=mean["disagreements"], aum=mean["margin"])
    for name in ("p_anger", "p_fear", "p_happiness"):
        expected[name] = np.mean([look[name] for look in looks], axis=0)
    assert_as_naive(table, expected)
    assert looks[0]["margin"].tolist() != looks[-1]["margin"].tolist()


def test_augmentation_is_left_out_of_the_audit(faces: Path, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    data = FERDataModule(faces, image_size=16, batch_size=5, augment="standard", noise=SymmetricNoise(0.3), seed=0)
    module = TinyEAC()
    module.hparams["class_names"] = list(data.class_names)
    make_trainer(LabelAuditCallback(from_epoch=1)).fit(module, datamodule=data)
    table = read_audit(tmp_path)
    assert_as_naive(table, naive(module, data.dataset("train"), mirror=True))
    annotations = data.annotations.table
    assert table["path"].tolist() == annotations["path"][table["index"]].tolist()
    assert set(annotations["split"][table["index"]]) == {"train"}
    clean = [data.class_names[label] for label in annotations["clean_label"][table["index"]]]
    assert table["clean"].tolist() == clean
    known = figures(tmp_path)["known"]
    assert known["noise_rate"] == pytest.approx((table["clean"] != table["given"].astype(str)).mean())
    assert 0 <= known["auroc"] <= 1


def test_a_datamodule_augments_while_training_and_not_while_audited(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    stages: list[str] = []

    class Data(L.LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            return training()

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            assert self.trainer is not None
            stages.append("training" if self.trainer.training else "validating" if self.trainer.validating else "?")
            return batch

    make_trainer(LabelAuditCallback(), max_epochs=1).fit(TinyModule(), datamodule=Data())
    assert stages == ["training"] * 2 + ["validating"] * 3
    assert read_audit(tmp_path)["path"].tolist() == [""] * 10


def test_training_is_the_same_bit_for_bit(make_trainer: MakeTrainer, faces: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    class Mode(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append((all(part.training for part in pl_module.modules()), trainer.training))

    def weights(*more: L.Callback) -> dict[str, Tensor]:
        L.seed_everything(5, verbose=False)
        module = TinyEAC()
        data = FERDataModule(faces, image_size=16, batch_size=5, augment="standard", seed=0)
        module.hparams["class_names"] = list(data.class_names)
        make_trainer(*more, Mode(), max_epochs=2).fit(module, datamodule=data)
        return {**module.state_dict(), "the next draw": torch.rand(3)}

    without, audited = weights(), weights(LabelAuditCallback(mirror="always"))
    passive = weights(LabelAuditCallback(passive=True))
    assert all(torch.equal(value, audited[name]) for name, value in without.items())
    assert all(torch.equal(value, passive[name]) for name, value in without.items())
    assert seen == [(True, True)] * 6


def test_a_frozen_part_stays_in_eval_mode(make_trainer: MakeTrainer) -> None:
    modes = []

    class Mode(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            pl_module.model.backbone.eval()

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
            modes.append((pl_module.training, pl_module.model.backbone.training))

    make_trainer(LabelAuditCallback(), Mode(), max_epochs=1).fit(TinyModule(), training())
    assert modes == [(True, False)]


@pytest.mark.parametrize(
    ("from_epoch", "every_n_epochs", "epochs"),
    [(0, 1, [0, 1, 2, 3]), (1, 2, [1, 3]), (0, 2, [0, 2, 3]), (9, 1, [3]), (2, 5, [2, 3])],
)
def test_which_epochs_are_audited(
    from_epoch: int, every_n_epochs: int, epochs: list[int], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    audit = LabelAuditCallback(from_epoch, every_n_epochs, mirror="never")
    make_trainer(audit, max_epochs=4).fit(TinyModule(), training(4))
    assert figures(tmp_path)["settings"]["epochs"] == epochs
    assert audit.record is not None
    assert audit.record.columns["count"].tolist() == [len(epochs)] * 4


@pytest.mark.parametrize("make", [TinyModule, TinyEAC])
def test_passive_takes_what_training_computes_and_asks_nothing(
    make: Callable[[], Any], make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answers that the training step returned, and no pass more than without the callback."""
    passes = []
    forward = TinyBackbone.forward_features
    monkeypatch.setattr(TinyBackbone, "forward_features", lambda *given: passes.append(1) or forward(*given))
    answers: dict[int, Tensor] = {}

    class Note(L.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            answers.update(zip(batch["index"].tolist(), outputs["logits"], strict=True))

    module = make()
    make_trainer(Note()).fit(module, training(8))
    alone = len(passes)
    make_trainer(LabelAuditCallback(from_epoch=1, passive=True), Note()).fit(make(), training(8))
    assert len(passes) == 2 * alone
    table = read_audit(tmp_path)
    assert table["index"].tolist() == list(range(8))
    expected = torch.stack([answers[index] for index in range(8)]).softmax(1)
    np.testing.assert_allclose(table[COLUMNS[-3:]], expected, rtol=1e-5)
    assert table[["consistency", "agreement"]].isna().all(axis=None)
    assert figures(tmp_path)["settings"].items() >= {"score": "combined", "epochs": [1], "passive": True}.items()


def test_passive_has_no_row_of_what_was_not_drawn(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    drawn = DataLoader(Faces(9, "dict"), sampler=[7, 2, 2, 5], batch_size=2)
    make_trainer(LabelAuditCallback(passive=True), max_epochs=1).fit(TinyModule(), drawn)
    assert read_audit(tmp_path)["index"].tolist() == [2, 5, 7]


def test_a_step_that_returns_no_logits_has_nothing_to_keep(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(TinyModule):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx)["loss"]

    make_trainer(LabelAuditCallback(passive=True), max_epochs=1).fit(Silent(), training())
    assert "no audit: no training step gave an answer" in caplog.text
    assert not list(tmp_path.glob("**/audit.*"))


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_whatever_the_precision_the_record_is_in_single(precision: str, make_trainer: MakeTrainer) -> None:
    audit = LabelAuditCallback()
    make_trainer(audit, precision=precision).fit(TinyModule(), training())
    assert audit.record is not None
    assert audit.record.columns["loss"].dtype == torch.float32
    assert audit.record.epochs == [0, 1]


def test_a_test_of_a_checkpoint_leaves_the_next_fit_alone(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    audit, module = LabelAuditCallback(), TinyModule()
    trainer = make_trainer(audit, max_epochs=1)
    trainer.fit(module, training())
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    trainer.test(module, training(), ckpt_path=tmp_path / "one.ckpt", verbose=False)
    make_trainer(audit, max_epochs=2).fit(TinyModule(), training())
    assert audit.record is not None
    assert audit.record.epochs == [0, 1]
    assert audit.record.columns["count"].tolist() == [2] * 10


@pytest.mark.parametrize("passive", [False, True])
def test_a_killed_run_goes_on_to_the_same_audit(passive: bool, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    class Kill(L.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 1:
                raise RuntimeError("killed")

    def fit(name: str, *more: L.Callback, checkpoint: str | None = None) -> LabelAuditCallback:
        audit, folder = LabelAuditCallback(passive=passive), tmp_path / name
        last = callbacks.ModelCheckpoint(
            folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )
        trainer = make_trainer(
            audit, last, *more, max_epochs=3, enable_checkpointing=True, default_root_dir=folder, deterministic=True
        )
        # In order: which faces come together must not hang on the random state of the process.
        trainer.fit(TinyModule(), DataLoader(Faces(11, "dict"), batch_size=4), ckpt_path=checkpoint, weights_only=True)
        return audit

    whole = fit("whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit("part", Kill())
    assert not (tmp_path / "part" / "audit.json").exists()
    resumed = fit("part", checkpoint=str(tmp_path / "part" / "last.ckpt"))
    assert whole.record is not None
    assert resumed.record is not None
    assert whole.record.epochs == resumed.record.epochs == [0, 1, 2]
    for name, column in whole.record.columns.items():
        torch.testing.assert_close(column, resumed.record.columns[name], rtol=0, atol=0, equal_nan=True)
    pd.testing.assert_frame_equal(read_audit(tmp_path / "whole"), read_audit(tmp_path / "part"))
    assert figures(tmp_path / "whole") == figures(tmp_path / "part")


def test_an_epoch_is_counted_once() -> None:
    """A run that ends in the middle of an epoch and goes on may reach the end of that epoch twice."""
    from eac_lightning.audit.record import AuditRecord, Observations

    audit, seen = LabelAuditCallback(), Observations(3)
    seen.see(torch.arange(4), torch.zeros(4, dtype=torch.int64), torch.rand(4, 3))
    audit.record = AuditRecord(3)
    audit.keep(2, seen)
    audit.keep(2, seen)
    assert audit.record.columns["count"].tolist() == [1] * 4


def test_the_audit_of_other_classes_is_refused(make_trainer: MakeTrainer) -> None:
    first = LabelAuditCallback()
    make_trainer(first, max_epochs=1).fit(TinyModule(), training())
    second = LabelAuditCallback()
    state = first.state_dict()
    state["columns"]["probability_sum"] = torch.zeros(10, 7)
    second.load_state_dict(state)
    with pytest.raises(CheckpointError, match="audit is of 7 classes, but the module has 3"):
        make_trainer(second, max_epochs=1).fit(TinyModule(), training())


def test_a_damaged_audit_is_refused(make_trainer: MakeTrainer) -> None:
    audit = LabelAuditCallback()
    audit.load_state_dict({"epochs": [0], "columns": {"count": torch.zeros(3)}})
    with pytest.raises(CheckpointError, match="audit in the checkpoint is damaged"):
        make_trainer(audit, max_epochs=1).fit(TinyModule(), training())
    assert LabelAuditCallback().state_dict() == {}


def test_a_plain_loader_of_tuples(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    module = TinyModule()
    make_trainer(LabelAuditCallback(from_epoch=1)).fit(module, training(faces=Tuples(10, "dict")))
    assert_as_naive(read_audit(tmp_path), naive(module, Faces(10, "dict"), mirror=True))


@pytest.mark.parametrize("passive", [False, True])
def test_batches_without_index_are_refused_at_the_first_step(passive: bool, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(LabelAuditCallback(from_epoch=5, passive=passive), max_epochs=9)
    with pytest.raises(ConfigurationError, match="batch has none.*return .*image, label, index"):
        trainer.fit(TinyModule(), loader(12, "tuple"))
    assert (trainer.current_epoch, trainer.global_step) == (0, 1)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([Faces(8, "dict")[index] for index in range(8)])


def test_an_iterable_dataset_is_refused_before_training_and_taken_passively(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(LabelAuditCallback(from_epoch=5), max_epochs=9)
    with pytest.raises(ConfigurationError, match="map-style data set, but got .*passive=True"):
        trainer.fit(TinyModule(), DataLoader(Stream(), batch_size=4))
    assert trainer.global_step == 0
    make_trainer(LabelAuditCallback(passive=True)).fit(TinyModule(), DataLoader(Stream(), batch_size=4))
    assert read_audit(tmp_path)["index"].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_epoch": -1}, "from_epoch ≥ 0 and every_n_epochs ≥ 1, but got -1 and 1"),
        ({"every_n_epochs": 0}, "but got 0 and 0"),
        ({"mirror": "first"}, "Unknown mirror 'first'. .*always, last, never"),
        ({"score": "los"}, "Unknown score 'los'. Did you mean 'loss'"),
        ({"score": "consistency", "passive": True}, "which takes mirror='always' and not passive=True"),
        ({"score": "agreement", "mirror": "last"}, "'agreement' compares each face with its mirror image"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LabelAuditCallback(**options)


def test_only_a_fer_module_is_audited(make_trainer: MakeTrainer) -> None:
    class Other(L.LightningModule):
        def configure_optimizers(self) -> None:
            return None

        def training_step(self, batch: Any, batch_idx: int) -> None:
            return None

    with pytest.raises(ConfigurationError, match="LabelAuditCallback needs a FERModule"):
        make_trainer(LabelAuditCallback()).fit(Other(), training())


def test_a_trial_run_leaves_nothing_behind(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    make_trainer(LabelAuditCallback(), fast_dev_run=True).fit(TinyModule(), training())
    assert not list(tmp_path.glob("audit.*"))


def test_another_score_ranks(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    make_trainer(LabelAuditCallback(score="aum")).fit(TinyModule(), training())
    table = read_audit(tmp_path)
    np.testing.assert_allclose(table["score"], -table["aum"])
    # The suspects are the highest scores.
    suspect = table["suspect"].to_numpy()
    assert table["score"][suspect].min() >= table["score"][~suspect].max()
