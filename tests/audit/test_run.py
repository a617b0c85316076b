"""A run is taken up again from the ``config.yaml`` that a real fit has written."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from eac_lightning.audit.run import FinishedRun
from eac_lightning.cli import main
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.noise import SymmetricNoise
from eac_lightning.models import backbones
from eac_lightning.modules import ClassificationModule
from eac_lightning.runs.folder import CONFIG
from tests.conftest import TinyBackbone, make_faces


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one short run, with noise and options of its own; its data lie in ``faces`` beside it."""
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "argv", ["eac"])
        patch.setattr(backbones, "_registry", {**backbones._registry, "tiny": TinyBackbone})
        options = [
            "fit", "-c", "ce_mobilefacenet", "-c", "noise/symmetric_30", "--model.backbone", "tiny", "--model.lr=0.25",
            "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.callbacks", "[]",
            "--trainer.default_root_dir", "run", "--data.root", str(make_faces(here / "faces")),
            "--data.image_size", "16", "--data.batch_size", "8", "--seed_everything", "3",
        ]  # fmt: skip
        assert main(options) == 0
    return here / "run"


def write_config(folder: Path, **sections: Any) -> Path:
    """Write a config.yaml of which some sections are other than they should be."""
    data = {"class_path": "eac_lightning.FERDataModule", "init_args": {"root": "faces"}}
    model = {"class_path": "eac_lightning.ClassificationModule", "init_args": {"num_classes": 3, "backbone": "tiny"}}
    config = {"data": data, "model": model, "trainer": {"max_epochs": 1, "accelerator": "cpu"}, **sections}
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder


def test_its_data_are_the_same_with_the_same_noise(finished: Path) -> None:
    run = FinishedRun(finished)
    assert run.seed == 3
    data = run.data()
    assert isinstance(data, FERDataModule)
    same = FERDataModule(finished.parent / "faces", image_size=16, batch_size=8, noise=SymmetricNoise(0.3), seed=3)
    assert data.annotations.table.equals(same.annotations.table)
    assert (data.annotations.table["label"] != data.annotations.table["clean_label"]).any()
    assert [batch["index"].tolist() for batch in data.train_dataloader()] == [
        batch["index"].tolist() for batch in same.train_dataloader()
    ]


def test_some_arguments_may_change(finished: Path) -> None:
    data = FinishedRun(finished).data(folds=3, fold=1)
    assert (data.folds, data.fold, data.batch_size) == (3, 1, 8)  # type: ignore[attr-defined]


def test_its_module_is_untrained_and_has_its_settings(finished: Path) -> None:
    module = FinishedRun(finished).module()
    assert isinstance(module, ClassificationModule)
    assert (module.hparams["backbone"], module.hparams["lr"]) == ("tiny", 0.25)
    assert not module.class_names  # those are the data's to tell


def test_its_trainer_keeps_the_schedule_and_writes_nothing_but_a_report(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    before = sorted(finished.parent.rglob("*"))
    run = FinishedRun(finished)
    trainer, module = run.trainer(tmp_path), run.module()
    trainer.fit(module, datamodule=run.data())
    assert (trainer.max_epochs, trainer.global_step) == (1, 3)
    assert trainer.precision == "32-true"
    assert not trainer.loggers
    assert trainer.checkpoint_callback is None
    assert sorted(finished.parent.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    trained = torch.load(finished / "last.ckpt", weights_only=True)["state_dict"]
    assert set(module.state_dict()) == set(trained)


def test_data_that_have_moved_are_named(finished: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(finished.parent / "faces", tmp_path / "elsewhere")
    run = shutil.copytree(finished, tmp_path / "run")
    config = yaml.safe_load((run / CONFIG).read_text())
    config["data"]["init_args"]["root"] = str(tmp_path / "gone")
    (run / CONFIG).write_text(yaml.safe_dump(config))
    with pytest.raises(DataError, match="Expected a data set at .*gone"):
        FinishedRun(run).data().setup("fit")
    data = FinishedRun(run, moved).data()
    data.setup("fit")
    assert len(data.dataset("train")) == 24  # type: ignore[attr-defined]


@pytest.mark.parametrize(("seeds", "expected"), [((None, None), (0, 0)), ((5, None), (5, 5)), ((5, 7), (5, 7))])
def test_the_data_have_the_runs_seed_or_their_own(
    seeds: tuple[int | None, int | None], expected: tuple[int, int], tmp_path: Path
) -> None:
    data = {"class_path": "eac_lightning.FERDataModule", "init_args": {"root": "faces", "seed": seeds[1]}}
    run = FinishedRun(write_config(tmp_path, seed_everything=seeds[0], data=data))
    assert (run.seed, run.data().seed) == expected  # type: ignore[attr-defined]


def test_data_that_take_no_seed_get_none(tmp_path: Path) -> None:
    data = {"class_path": "eac_lightning._lightning.L.LightningDataModule"}
    run = FinishedRun(write_config(tmp_path, seed_everything=5, data=data))
    assert type(run.data()).__name__ == "LightningDataModule"


def test_without_a_config_it_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"settings of a run in .*config.yaml.*FileNotFoundError.* or the data: --root"):
        FinishedRun(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"3",
        b"- 1",
        b"data: [",
        b"\xff\xfe\x00",
        b"trainer: {}\ndata: {}\nmodel: {}",
        b"trainer: {}\ndata: x\nmodel: x",
    ],
)
def test_a_config_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(DataError, match="Expected the settings of a run in .*config.yaml"):
        FinishedRun(tmp_path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"class_path": "nowhere.Mine"}, "Cannot rebuild nowhere.Mine .*--import"),
        ({"class_path": "eac_lightning.ClassificationModule", "init_args": {"lrr": 1}}, "Cannot rebuild .*lrr"),
        ({"class_path": "eac_lightning.FERDataModule"}, "Cannot rebuild eac_lightning.FERDataModule"),
        ({"class_path": "eac_lightning.ClassificationModule", "init_args": {"lr": "fast"}}, "Cannot rebuild .*fast"),
    ],
)
def test_a_module_that_cannot_be_rebuilt_is_named(model: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = FinishedRun(write_config(tmp_path, model=model))
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        run.module()


def test_ones_own_module_is_rebuilt_where_it_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_audited.py").write_text(
        "from eac_lightning import ClassificationModule\n\nclass MyModule(ClassificationModule):\n    'Mine.'\n"
    )
    model = {"class_path": "own_audited.MyModule", "init_args": {"num_classes": 3, "backbone": "tiny"}}
    run = FinishedRun(write_config(tmp_path, model=model))
    with pytest.raises(ConfigurationError, match=r"Cannot rebuild own_audited.MyModule"):
        run.module()
    monkeypatch.syspath_prepend(tmp_path)
    module = run.module()
    assert type(module).__name__ == "MyModule"
    monkeypatch.delitem(sys.modules, "own_audited")
