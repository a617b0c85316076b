from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def full(root: Path, *tops: str) -> Path:
    return touch(root, *(f"{top}/{name}/{i}.png" for top in tops for name in ("happy", "sad") for i in range(4)))


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("Training", "PublicTest", "PrivateTest"),
        ("training", "validation", "testing"),
    ],
)
def test_usual_spellings_of_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    data = read_annotations(full(tmp_path, *names))
    assert data.layout == "folder"
    assert data.class_names == ("happiness", "sadness")
    assert data.table["split"].value_counts().to_dict() == {"train": 8, "val": 8, "test": 8}
    folders = dict(zip(names, ("train", "val", "test"), strict=True))
    assert all(folders[path.split("/")[0]] == split for path, split in data.table[["path", "split"]].to_numpy())
    assert data.table["clean_label"].eq(-1).all()


def test_rows_are_sorted_numbered_and_relative(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "b/sub/deep/1.jpeg", "a/3.webp", "a/1.TIFF", "train.csv")
    data = read_annotations(tmp_path, val_fraction=0, test_fraction=0)
    assert data.table["path"].tolist() == ["a/1.TIFF", "a/3.webp", "b/2.PNG", "b/sub/deep/1.jpeg"]
    assert data.table["label"].tolist() == [0, 0, 1, 1]
    assert data.table.index.tolist() == [0, 1, 2, 3]
    assert data.root == tmp_path
    assert all((data.root / path).is_file() for path in data.table["path"])


def test_flat_folders_are_split_by_seed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{i}.jpg" for name in ("10", "9", "x") for i in range(20)))
    data = read_annotations(tmp_path, seed=5)
    assert data.class_names == ("9", "10", "x")
    assert data.table["split"].value_counts().to_dict() == {"train": 48, "val": 6, "test": 6}
    assert "flat class folders 10/, 9/, x/" in data.notes[0]


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    full(tmp_path, "train")
    touch(tmp_path, "train/sad/.hidden.png", "train/.cache/x.png", ".git/y.png", "extra/z.png")
    touch(tmp_path, "train/sad/Thumbs.db", "train/happy/notes.txt", "train/loose.png")
    data = read_annotations(tmp_path)
    assert len(data.table) == 8
    assert "Ignored folders beside the splits: extra." in data.notes
    assert "Ignored 2 files in class folders that are no pictures by their ending." in data.notes


def test_links_below_a_class_are_not_followed(tmp_path: Path) -> None:
    full(tmp_path, "train")
    (tmp_path / "train/sad/loop").symlink_to(tmp_path / "train")
    (tmp_path / "train/angry").symlink_to(tmp_path / "train/sad")
    data = read_annotations(tmp_path)
    assert len(data.table) == 12
    assert data.class_names == ("anger", "happiness", "sadness")


def test_subset_order_and_what_was_left_out(tmp_path: Path) -> None:
    full(tmp_path, "train", "test")
    touch(tmp_path, "train/angry/1.png", "test/angry/2.png", "train/unknown/3.png")
    data = read_annotations(tmp_path, classes=["SA", "Happy"])
    assert data.class_names == ("sadness", "happiness")
    assert data.table.groupby("label")["path"].first().tolist() == ["test/sad/0.png", "test/happy/0.png"]
    assert "Left out 3 rows of classes that were not asked for: angry 2, unknown 1." in data.notes


def test_two_spellings_of_one_class_are_joined(tmp_path: Path) -> None:
    full(tmp_path, "train")
    touch(tmp_path, "test/happiness/9.png", "test/sadness/9.png")
    data = read_annotations(tmp_path)
    assert data.class_names == ("happiness", "sadness")
    assert len(data.table) == 10
    assert any("joined: happiness, happy, sad, sadness" in note for note in data.notes)


def test_empty_class_folder(tmp_path: Path) -> None:
    full(tmp_path, "train", "test")
    touch(tmp_path, "test/angry/readme.txt")
    with pytest.raises(DataError, match=r"none in test/angry\. Add pictures"):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, classes=["sad", "happy"]).table) == 16


def test_class_missing_from_train(tmp_path: Path) -> None:
    touch(full(tmp_path, "train", "test"), "test/fear/1.png")
    with pytest.raises(DataError, match=r"no fear\. .*classes=\['happiness', 'sadness'\]"):
        read_annotations(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"two classes .* only 'happiness'"):
        read_annotations(touch(tmp_path, "happy/1.png", "happy/2.png"), val_fraction=0)


def test_no_class_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no class folder"):
        read_annotations(touch(tmp_path, "train/1.png"))
    with pytest.raises(DataError, match="found no class folder"):
        read_annotations(touch(tmp_path / "flat", "1.png"), "folder")


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one folder for val .* found val and valid"):
        read_annotations(full(tmp_path, "train", "val", "valid"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder of class folders, but .*x\.csv is a file"):
        read_annotations(touch(tmp_path, "x.csv") / "x.csv", "folder")
