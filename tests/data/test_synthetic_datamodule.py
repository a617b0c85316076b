from pathlib import Path

import pytest

from eac_lightning.data import synthetic
from eac_lightning.data.synthetic import MARK, SyntheticFERDataModule
from eac_lightning.errors import ConfigurationError, DataError

SMALL = {"count": 60, "size": 48, "image_size": 16, "classes": ["happy", "neutral", "anger"]}


def test_faces_are_drawn_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = SyntheticFERDataModule(tmp_path / "runs" / "faces", **SMALL)
    assert data.class_names == ("happiness", "neutral", "anger")
    assert not data.root.exists()
    data.prepare_data()
    data.setup("fit")
    assert data.annotations.class_names == data.class_names
    assert len(data.dataset("train")) == 42
    assert len(data.dataset("val")) == 9
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["faces"]
    monkeypatch.delattr(synthetic, "write_synthetic_faces")
    SyntheticFERDataModule(tmp_path / "runs" / "faces", **SMALL, seed=5).prepare_data()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    data = SyntheticFERDataModule(tmp_path, **SMALL)
    data.prepare_data()
    assert (tmp_path / MARK).is_file()


def test_other_synthetic_faces_are_drawn_anew(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    SyntheticFERDataModule(root, **SMALL).prepare_data()
    before = {path.name: path.read_bytes() for path in root.rglob("*.png")}
    SyntheticFERDataModule(root, **(SMALL | {"count": 90, "faces_seed": 1})).prepare_data()
    assert len(list(root.rglob("*.png"))) == 90
    SyntheticFERDataModule(root, **SMALL).prepare_data()
    assert {path.name: path.read_bytes() for path in root.rglob("*.png")} == before


@pytest.mark.parametrize("as_file", [True, False])
def test_anything_else_is_left_alone(tmp_path: Path, as_file: bool) -> None:
    root = tmp_path / "mine"
    if as_file:
        root.write_text("mine")
    else:
        root.mkdir()
        (root / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="something else than synthetic faces"):
        SyntheticFERDataModule(root, **SMALL).prepare_data()


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    write = synthetic.write_synthetic_faces
    monkeypatch.setattr(
        synthetic,
        "write_synthetic_faces",
        lambda out, progress, **wanted: write(out, progress=stop, **wanted),
    )
    with pytest.raises(KeyboardInterrupt):
        SyntheticFERDataModule(tmp_path / "faces", **SMALL).prepare_data()
    assert not list(tmp_path.iterdir())


def test_an_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'happiness'"):
        SyntheticFERDataModule(tmp_path, classes=["happines", "anger"])
