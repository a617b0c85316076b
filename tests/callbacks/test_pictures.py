from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eac_lightning._files import replacing
from eac_lightning._lightning import L, loggers
from eac_lightning.callbacks._folder import run_folder
from eac_lightning.callbacks._pictures import save_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)

MakeTrainer = Callable[..., L.Trainer]


class Recorder:
    """Stands for a logger's service: notes what it is handed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


class FakeWandb(loggers.WandbLogger):
    def __init__(self) -> None:
        self.recorder = Recorder()

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.recorder.log_image(key, images, step)

    save_dir = name = version = None


class FakeMLFlow(loggers.MLFlowLogger):
    def __init__(self) -> None:
        self.recorder = Recorder()

    experiment = property(lambda self: self.recorder)
    run_id = "run-7"
    save_dir = name = version = None


def test_the_picture_is_in_the_run_folder(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(logger=loggers.CSVLogger(tmp_path, name="run", version="a"))
    path = save_picture(trainer, "cam", PICTURE)
    assert path == run_folder(trainer) / "pictures" / "cam.png" == tmp_path / "run/a/pictures/cam.png"
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), PICTURE)
    assert [file.name for file in path.parent.iterdir()] == ["cam.png"]


def test_without_a_logger_the_run_folder_is_the_root(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    assert run_folder(make_trainer()) == tmp_path


def test_tensorboard_gets_an_image_of_this_step(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = loggers.TensorBoardLogger(tmp_path, name="tb", version="b")
    trainer = make_trainer(logger=logger)
    monkeypatch.setattr(type(trainer), "global_step", 5)
    save_picture(trainer, "cam_val_epoch_001", PICTURE, tag="cam/val")
    logger.finalize("success")
    events = event_accumulator.EventAccumulator(logger.log_dir)
    events.Reload()
    assert events.Tags()["images"] == ["cam/val"]
    (event,) = events.Images("cam/val")
    assert (event.step, event.width, event.height) == (5, 20, 12)


def test_wandb_and_mlflow_get_it_too(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    wandb, mlflow = FakeWandb(), FakeMLFlow()
    files = loggers.CSVLogger(tmp_path)
    path = save_picture(make_trainer(logger=[files, wandb, mlflow]), "cam", PICTURE, tag="cam/test")
    ((name, (key, images, step), _),) = wandb.recorder.calls
    assert (name, key, step) == ("log_image", "cam/test", 0)
    np.testing.assert_array_equal(images[0], PICTURE)
    assert mlflow.recorder.calls == [("log_artifact", ("run-7", str(path), "pictures"), {})]


def test_the_file_name_is_the_tag_where_none_is_given(make_trainer: MakeTrainer) -> None:
    wandb = FakeWandb()
    trainer = make_trainer(logger=[wandb], default_root_dir=".")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eac_lightning.callbacks._pictures.write_png", lambda path, image: None)
        save_picture(trainer, "confusion", PICTURE)
    assert wandb.recorder.calls[0][1][0] == "confusion"


def test_a_newer_picture_takes_the_place_of_the_older(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    save_picture(trainer, "cam", PICTURE)
    path = save_picture(trainer, "cam", 255 - PICTURE)
    assert path is not None
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), 255 - PICTURE)


@pytest.mark.parametrize("options", [{}, {"fast_dev_run": True}])
def test_nothing_is_written_where_there_is_nothing_to_write(
    make_trainer: MakeTrainer, tmp_path: Path, options: dict[str, Any]
) -> None:
    assert save_picture(make_trainer(**options), "cam", PICTURE if options else None) is None
    assert not (tmp_path / "pictures").exists()


def test_only_rank_zero_writes(make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.strategy), "is_global_zero", False)
    assert save_picture(trainer, "cam", PICTURE) is None
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    with replacing(path) as partial:
        partial.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
