import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eac_lightning._lightning import L, callbacks
from eac_lightning.data import datamodule as datamodule_module
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.data.splits import assign_folds
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.noise import SymmetricNoise
from eac_lightning.seeding import derive_seed
from eac_lightning.types import Batch

MakeFolder = Callable[..., Path]
SMALL = {"image_size": 8, "batch_size": 8, "seed": 0}


class Recorder(L.LightningModule):
    """Notes what it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3 * 8 * 8, 3)
        self.fed: dict[str, list[tuple[int, list[int], float]]] = {"train": [], "val": [], "test": []}

    def note(self, name: str, batch: Batch) -> None:
        self.fed[name].append((self.current_epoch, batch["index"].tolist(), float(batch["image"].sum())))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.note("train", batch)
        return nn.functional.cross_entropy(self.net(batch["image"].flatten(1)), batch["label"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.note("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.note("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch["index"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)

    def indices(self, name: str) -> list[int]:
        return [i for _, batch, _ in self.fed[name] for i in batch]


def make_trainer(folder: Path, **options: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": 1, "enable_checkpointing": False, "num_sanity_val_steps": 0} | options
    return L.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **quiet, **options)


def test_classes_are_known_before_setup(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder(), **SMALL)
    assert data.class_names == ("anger", "happiness", "sadness")
    assert data.num_classes == 3


def test_every_split_is_fed_exactly_once(make_folder: MakeFolder, tmp_path: Path) -> None:
    data, module = FERDataModule(make_folder(), **SMALL), Recorder()
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    trainer.validate(module, data, verbose=False)
    split = data.annotations.table["split"]
    assert sorted(module.indices("train")) == np.flatnonzero(split == "train").tolist()
    assert module.indices("val") == 2 * np.flatnonzero(split == "val").tolist()
    assert module.indices("test") == np.flatnonzero(split == "test").tolist()
    predicted = trainer.predict(module, data)
    assert torch.cat(predicted).tolist() == list(range(len(split)))


def test_a_batch_is_uint8_and_becomes_float_rgb_on_the_device(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder(), **SMALL, store_size=12)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (8, 1, 12, 12)
    assert set(batch) == {"image", "label", "index"}
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image.shape == (8, 3, 8, 8)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    assert torch.equal(image[:, 0], image[:, 2])


def test_augmentation_is_for_training_alone(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder()
    plain, augmented = (Recorder(), Recorder())
    make_trainer(tmp_path).fit(plain, FERDataModule(root, **SMALL))
    state = torch.random.get_rng_state()
    data = FERDataModule(root, **SMALL, augment="standard")
    make_trainer(tmp_path).fit(augmented, data)
    assert plain.fed["val"] == augmented.fed["val"]
    assert plain.indices("train") == augmented.indices("train")
    assert plain.fed["train"] != augmented.fed["train"]
    data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_is_fed_what_an_unbroken_one_is(make_folder: MakeFolder, tmp_path: Path, workers: int) -> None:
    root = make_folder({"train": 5, "val": 2, "test": 2})
    keep = callbacks.ModelCheckpoint(tmp_path / "kept", "{epoch}", save_top_k=-1)
    options = SMALL | {"augment": "standard", "num_workers": workers}
    unbroken, resumed = Recorder(), Recorder()
    make_trainer(tmp_path, max_epochs=3, callbacks=[keep], enable_checkpointing=True).fit(
        unbroken, FERDataModule(root, **options)
    )
    make_trainer(tmp_path, max_epochs=3).fit(
        resumed, FERDataModule(root, **options), ckpt_path=tmp_path / "kept" / "epoch=0.ckpt"
    )
    assert resumed.fed["train"] == [fed for fed in unbroken.fed["train"] if fed[0] > 0]


def test_overfitting_repeats_the_same_batches(make_folder: MakeFolder, tmp_path: Path) -> None:
    module = Recorder()
    make_trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(module, FERDataModule(make_folder(), **SMALL))
    batches = [batch for _, batch, _ in module.fed["train"]]
    assert batches[:2] == batches[2:]
    assert [len(batch) for batch in batches] == [8, 8, 8, 8]
    assert len(module.fed["val"][0][1]) == 8


def test_limits_are_respected(make_folder: MakeFolder, tmp_path: Path) -> None:
    module = Recorder()
    make_trainer(tmp_path, limit_train_batches=1, limit_val_batches=0).fit(
        module, FERDataModule(make_folder(), **SMALL)
    )
    assert len(module.fed["train"]) == 1
    assert not module.fed["val"]


def test_balanced_sampling_draws_rare_classes_as_often(make_folder: MakeFolder) -> None:
    root = make_folder({"train": 4, "val": 2})
    for number in range(20):
        (root / "train" / "anger" / f"more{number}.png").write_bytes(
            (root / "train" / "anger" / "000.png").read_bytes()
        )
    data = FERDataModule(root, **SMALL, sampler="balanced")
    labels = torch.cat([batch["label"] for batch in data.train_dataloader()])
    counts = torch.bincount(labels)
    assert len(labels) == 32
    assert int(counts.max() - counts.min()) <= 1


def test_noise_gives_training_batches_clean_labels(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder(), **SMALL, noise=SymmetricNoise(0.5, exact=True))
    batches = list(data.train_dataloader())
    wrong = sum(int((batch["label"] != batch["clean_label"]).sum()) for batch in batches)
    assert wrong == 15
    assert "clean_label" not in next(iter(data.val_dataloader()))
    predicted = next(iter(data.predict_dataloader()))
    assert {"label", "clean_label"} <= set(predicted)


def test_evaluation_judges_by_the_clean_label(make_folder: MakeFolder) -> None:
    root = make_folder({"all": 4})
    lines = ["path,label,clean_label,split"]
    for face, split in enumerate(("train", "val", "test")):
        for number, name in enumerate(("anger", "happiness", "sadness")):
            clean = "happiness" if split != "train" and number == 0 else ""
            lines.append(f"all/{name}/00{face}.png,{name},{clean},{split}")
    (root / "labels.csv").write_text("\n".join(lines))
    data = FERDataModule(root / "labels.csv", **SMALL)
    assert data.dataset("test").labels.tolist() == [1, 1, 2]
    assert data.dataset("val")[[0, 1]]["clean_label"].tolist() == [1, -1]
    assert data.dataset("predict").labels.tolist() == [0, 1, 2] * 3


def test_without_a_share_validation_uses_the_test_split(make_folder: MakeFolder, tmp_path: Path) -> None:
    data = FERDataModule(make_folder({"train": 4, "test": 3}), **SMALL, val_fraction=0)
    module = Recorder()
    make_trainer(tmp_path).fit(module, data)
    assert module.indices("val") == np.flatnonzero(data.annotations.table["split"] == "test").tolist()
    assert data.dataset("val") is data.dataset("test")


def test_a_missing_split_is_an_error_only_when_asked_for(make_folder: MakeFolder, tmp_path: Path) -> None:
    data = FERDataModule(make_folder({"train": 4, "val": 3}), **SMALL)
    trainer = make_trainer(tmp_path)
    trainer.fit(Recorder(), data)
    with pytest.raises(DataError, match="no test split, only train, val"):
        trainer.test(Recorder(), data, verbose=False)


def test_a_subset_trains_on_fewer_faces_with_the_same_labels(make_folder: MakeFolder) -> None:
    root = make_folder()
    noise = SymmetricNoise(0.3)
    whole = FERDataModule(root, **SMALL, noise=noise)
    part = FERDataModule(root, **SMALL, noise=noise, subset=12)
    some = part.dataset("train")[list(range(12))]
    assert len(part.dataset("train")) == 12
    assert torch.bincount(some["clean_label"]).tolist() == [4, 4, 4]
    assert part.annotations.table.equals(whole.annotations.table)
    assert len(part.dataset("val")) == len(whole.dataset("val"))
    assert "train: 12 (of 30)" in part.summary()


def test_all_bad_pictures_are_listed_before_training(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(classes=("anger", "happiness", "sadness"))
    for split in ("train", "val"):
        (root / split / "anger" / "000.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"2 of 42(.|\n)*train/anger/000.png(.|\n)*") as caught:
        make_trainer(tmp_path).fit(Recorder(), FERDataModule(root, **SMALL))
    assert "val/anger/000.png: not a picture" in str(caught.value)


def test_bad_pictures_can_be_left_out(make_folder: MakeFolder, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder()
    (root / "train" / "anger" / "003.png").write_bytes(b"nothing")
    data = FERDataModule(root, **SMALL, on_bad_image="skip")
    train = data.dataset("train")
    paths = data.annotations.table["path"].iloc[train[list(range(29))]["index"].numpy()]
    assert len(train) == 29
    assert "train/anger/003.png" not in set(paths)
    assert "Left out 1 of 30 pictures" in caplog.text


def test_a_class_that_loses_all_its_faces_is_refused(make_folder: MakeFolder) -> None:
    root = make_folder({"train": 2, "val": 2})
    for picture in (root / "train" / "sadness").iterdir():
        picture.write_bytes(b"nothing")
    with pytest.raises(DataError, match="no face of the classes sadness"):
        FERDataModule(root, **SMALL, on_bad_image="skip").dataset("train")


def test_pixels_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for label in (0, 3, 4):
            pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
            lines.append(f"{label},{pixels},{usage}")
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    data = FERDataModule(tmp_path, **SMALL, classes=["happiness", "sadness", "anger"])
    batch = data.dataset("train")[[0, 1, 2]]
    assert batch["image"].shape == (3, 1, 8, 8)
    assert batch["label"].tolist() == [2, 0, 1]


def test_the_summary_is_logged_once(make_folder: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = FERDataModule(make_folder(), **SMALL, noise=SymmetricNoise(0.3, exact=True))
    with caplog.at_level(logging.INFO, "eac_lightning"):
        data.setup("fit")
        data.setup("test")
    summaries = [message for message in caplog.messages if message.startswith("Data in")]
    assert len(summaries) == 1
    assert "SymmetricNoise moved 9 of 30 training labels (30.00%)." in summaries[0]
    assert "val: 12 (anger 4, happiness 4, sadness 4)." in summaries[0]


def test_setup_without_a_stage_reads_all_splits(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder({"train": 4, "val": 3}), **SMALL)
    data.setup()
    assert len(data.dataset("train")) == 12


def test_the_seed_is_that_of_seed_everything(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def order(seed: int | None) -> list[int]:
        data = FERDataModule(root, image_size=8, seed=seed)
        return [i for batch in data.train_dataloader() for i in batch["index"].tolist()]

    root = make_folder()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert order(None) == order(0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert order(None) == order(5) != order(0)


def test_a_trainer_of_the_other_namespace_is_refused(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FERDataModule(make_folder(), **SMALL)
    data.trainer = object()
    with pytest.raises(ConfigurationError, match="EAC_LIGHTNING_NAMESPACE"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, but is 0"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"store_size": 0}, "store_size must be at least 1"),
        ({"subset": 0}, "subset must be at least 1"),
        ({"sampler": "balance"}, "Did you mean 'balanced'"),
        ({"cache": "disc"}, "Did you mean 'disk'"),
        ({"on_bad_image": "skp"}, "Did you mean 'skip'"),
        ({"augment": "flp"}, "Did you mean 'flip'"),
        ({"folds": 3, "fold": 3}, "fold must be one of the 3 folds, from 0, but is 3"),
        ({"folds": 3, "fold": -1}, "fold must be one of the 3 folds, from 0, but is -1"),
        ({"folds": 0}, "fold must be one of the 0 folds"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FERDataModule("nowhere", **options)


def test_an_unknown_split_names_the_nearest(make_folder: MakeFolder) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'train'"):
        FERDataModule(make_folder(), **SMALL).dataset("trian")


def test_annotations_are_read_once(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    read = datamodule_module.read_annotations
    monkeypatch.setattr(
        datamodule_module,
        "read_annotations",
        lambda *args, **options: calls.append(args) or read(*args, **options),
    )
    data = FERDataModule(make_folder(), **SMALL)
    data.setup("fit")
    assert data.num_classes == len(data.annotations.class_names)
    assert len(calls) == 1


def indices(loader: Any) -> list[int]:
    return [i for batch in loader for i in batch["index"].tolist()]


def test_an_audit_reads_the_training_split_in_order(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder(), **SMALL, augment="standard", sampler="balanced")
    rows = np.flatnonzero(data.annotations.table["split"] == "train")
    assert indices(data.audit_dataloader()) == rows.tolist()
    batches = list(data.audit_dataloader())
    label = torch.cat([batch["label"] for batch in batches]).tolist()
    assert label == data.annotations.table["label"].iloc[rows].tolist()


def test_a_fold_is_held_out_and_the_others_train(make_folder: MakeFolder) -> None:
    root = make_folder()
    whole = indices(FERDataModule(root, **SMALL).audit_dataloader())
    held = []
    for fold in range(4):
        data = FERDataModule(root, **SMALL, folds=4, fold=fold)
        data.setup("fit")
        held_out, train = indices(data.audit_dataloader()), indices(data.train_dataloader())
        assert held_out == sorted(held_out)
        assert not set(held_out) & set(train)
        assert sorted(held_out + train) == whole
        assert data.dataset("held_out").labels.tolist() == data.annotations.table["label"].loc[held_out].tolist()
        assert len(data.dataset("val")) == 12
        held += held_out
    assert sorted(held) == whole


def test_folds_are_of_the_faces_that_train_and_keep_their_noise(make_folder: MakeFolder) -> None:
    root = make_folder()
    options = {**SMALL, "noise": SymmetricNoise(0.5), "subset": 12}
    whole = FERDataModule(root, **options)
    parts = [FERDataModule(root, **options, folds=3, fold=fold) for fold in range(3)]
    assert sorted(i for part in parts for i in indices(part.audit_dataloader())) == indices(whole.audit_dataloader())
    for part in parts:
        assert part.annotations.table.equals(whole.annotations.table)


def test_one_fold_is_none(make_folder: MakeFolder) -> None:
    with pytest.raises(ConfigurationError, match="at least 2 folds, but got 1"):
        FERDataModule(make_folder(), **SMALL, folds=1).setup("fit")


def test_folds_are_dealt_by_a_seed_of_their_own(make_folder: MakeFolder) -> None:
    data = FERDataModule(make_folder({"train": 8, "val": 2, "test": 2}), **(SMALL | {"seed": 3}), folds=4, fold=1)
    data.setup("fit")
    rows = data.annotations.table[data.annotations.table["split"] == "train"]
    held_out = rows.index[assign_folds(rows, 4, derive_seed(3, "folds")) == 1]
    asked = torch.cat([batch["index"] for batch in data.audit_dataloader()])
    assert asked.tolist() == held_out.tolist()
