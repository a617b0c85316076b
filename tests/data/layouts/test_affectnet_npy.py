import pickle
from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import make_affectnet_npy


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def expression(root: Path, number: int = 0) -> Path:
    return root / f"train_set/annotations/{number}_exp.npy"


def test_labels_splits_and_paths(tmp_path: Path) -> None:
    data = read_annotations(make_affectnet_npy(tmp_path))
    assert data.boxes is None
    for path, label, split in data.table[["path", "label", "split"]].itertuples(index=False):
        assert label == int(Path(path).stem) % 8
        assert path.startswith(f"{split}_set/images/")
    assert data.table["split"].value_counts().to_dict() == {"train": 24, "val": 8}


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    make_affectnet_npy(tmp_path)
    expression(tmp_path, 0).unlink()
    np.save(expression(tmp_path, 1), "10")
    np.save(expression(tmp_path, 2), 8)
    data = read_annotations(tmp_path)
    assert "Left out 1 pictures without an expression." in data.notes
    assert "Left out 2 of 31 faces that are no emotion: none 1, no face 1." in data.notes
    assert len(data.table) == 29


@pytest.mark.parametrize("value", ["happy", "", 11, -1, 0.5, np.nan, [1, 2], np.zeros(100_000)], ids=str)
def test_other_values(value: object, tmp_path: Path) -> None:
    np.save(expression(make_affectnet_npy(tmp_path)), np.array(value))
    with pytest.raises(DataError, match=r"images/0\.jpg: expected one number from 0 to 10 in 0_exp\.npy"):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, on_bad_image="skip").table) == 31


@pytest.mark.parametrize("cut", [0, 5, 20, 100, 130])
def test_cut_files(cut: int, tmp_path: Path) -> None:
    file = expression(make_affectnet_npy(tmp_path))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match="expected one number"):
        read_annotations(tmp_path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    file, proof = expression(make_affectnet_npy(tmp_path)), tmp_path / "exploded"
    for content in (np.array(Bomb(proof), dtype=object), Bomb(proof)):
        if isinstance(content, Bomb):
            file.write_bytes(pickle.dumps(content))
        else:
            np.save(file, content, allow_pickle=True)
        with pytest.raises(DataError, match="expected one number"):
            read_annotations(tmp_path)
    assert not proof.exists()


def test_a_header_that_promises_terabytes(tmp_path: Path) -> None:
    file = expression(make_affectnet_npy(tmp_path))
    np.save(file, np.zeros(1_000_000, np.int8))
    file.write_bytes(file.read_bytes().replace(b"(1000000,)", b"(10**12, )")[:500])
    with pytest.raises(DataError, match="expected one number"):
        read_annotations(tmp_path)
    np.save(file, np.zeros(1_000_000, np.int64))
    file.write_bytes(file.read_bytes().replace(b"(1000000,), }      ", b"(999999999999,), } ")[:500])
    with pytest.raises(DataError, match="expected one number"):
        read_annotations(tmp_path)


def test_no_such_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train_set/images/0.jpg and .* but there is no such folder"):
        read_annotations(tmp_path, "affectnet_npy")
