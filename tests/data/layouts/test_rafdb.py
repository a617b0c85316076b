from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError


def write(base: Path, extra: str = "") -> None:
    rows = [(f"{split}_{i:05d}", i) for split in ("train", "test") for i in range(1, 8)]
    (base / "EmoLabel").mkdir(parents=True)
    (base / "Image/aligned").mkdir(parents=True)
    text = "".join(f"{name}.jpg {code}\n" for name, code in rows)
    (base / "EmoLabel/list_patition_label.txt").write_text(text + "\n" + extra)
    for name, _ in rows:
        (base / f"Image/aligned/{name}_aligned.jpg").touch()


@pytest.mark.parametrize("prefix", ["", "basic/"])
def test_labels_splits_and_paths(tmp_path: Path, prefix: str) -> None:
    write(tmp_path / prefix)
    data = read_annotations(tmp_path, val_fraction=0)
    assert data.layout == "rafdb"
    assert data.class_names == (
        "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral",
    )  # fmt: skip
    assert data.table["label"].tolist() == [*range(7), *range(7)]
    assert data.table["split"].tolist() == ["train"] * 7 + ["test"] * 7
    assert data.table["path"][0] == f"{prefix}Image/aligned/train_00001_aligned.jpg"
    assert "Validation uses the test split." in data.notes


def test_missing_faces_are_listed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "Image/aligned/test_00003_aligned.jpg").unlink()
    with pytest.raises(DataError, match=r"1 are missing(.|\n)*test_00003_aligned\.jpg: no such file"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("line", ["train_00008.jpg 8", "train_00008.jpg 0", "train_00008.jpg", "dev_1.jpg 3"])
def test_lines_of_another_form(tmp_path: Path, line: str) -> None:
    write(tmp_path, line)
    with pytest.raises(DataError, match=f"class from 1 to 7, in .*, but line 16 is '{line}'"):
        read_annotations(tmp_path)


def test_no_list_of_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected EmoLabel/list_patition_label\.txt in .* or its folder basic"):
        read_annotations(tmp_path, "rafdb")
