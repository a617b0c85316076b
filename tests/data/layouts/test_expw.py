from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import make_expw

FIRST = "happy_expression_0.jpg 0 5 2 16 21 83.4 0"


def change(root: Path, new: str, old: str = FIRST) -> Path:
    file = root / "label" / "label.lst"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return root


def test_several_faces_of_one_photograph(tmp_path: Path) -> None:
    data = read_annotations(make_expw(tmp_path))
    assert data.class_names == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert data.table["path"][:2].tolist() == [f"image/origin/happy_expression_0.jpg#{face}" for face in (0, 1)]
    assert data.table["label"].tolist() == [(number + face) % 7 for number in range(42) for face in range(2)]
    assert data.boxes is not None
    np.testing.assert_array_equal(data.boxes[:2], [[2, 5, 16, 21], [22, 5, 36, 21]])
    whole = np.asarray(Image.open(tmp_path / "image/origin/happy_expression_0.jpg"))
    np.testing.assert_array_equal(data.picture(1), whole[5:21, 22:36])


def test_photographs_stay_whole_when_splits_are_drawn(tmp_path: Path) -> None:
    table = read_annotations(make_expw(tmp_path), val_fraction=0.2, test_fraction=0.2).table
    photo = table["path"].str.split("#").str[0]
    assert (table.groupby(photo)["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "val", "test"}


def test_boxes_that_reach_outside_are_clipped(tmp_path: Path) -> None:
    change(make_expw(tmp_path), "happy_expression_0.jpg 0 -9 -3 16 99 83.4 0")
    assert read_annotations(tmp_path).picture(0).shape == (30, 16, 3)


def test_classes_are_chosen_with_their_boxes(tmp_path: Path) -> None:
    data = read_annotations(make_expw(tmp_path), classes=["happy", "sad"])
    assert data.boxes is not None
    assert len(data.boxes) == len(data.table) == 24
    for row, path in enumerate(data.table["path"]):
        assert data.boxes[row, 0] == 2 + 20 * int(path[-1])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("happy_expression_0.jpg 1 5 2 16 21 83.4 0", "happy_expression_0.jpg#1: listed before"),
        ("gone.jpg 0 5 2 16 21 83.4 0", "gone.jpg#0: no such file"),
        ("../../../secret.jpg 0 5 2 16 21 83.4 0", "secret.jpg#0: a name that leads out of"),
    ],
)
def test_faces_that_cannot_be_used(line: str, reason: str, tmp_path: Path) -> None:
    change(make_expw(tmp_path), line)
    with pytest.raises(DataError, match=reason):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, on_bad_image="skip").left_out) == 1


@pytest.mark.parametrize(
    "line",
    [
        "happy_expression_0.jpg 0 5 2 16 21 83.4 7",
        "happy_expression_0.jpg 0 5 2 16 21 0",
        "happy_expression_0.jpg,0,5,2,16,21,83.4,0",
        "happy_expression_0.jpg 0 5 2 16 99999999999 83.4 0",
        "nonsense",
    ],
)
def test_lines_of_another_form(line: str, tmp_path: Path) -> None:
    change(make_expw(tmp_path), f"\n{line}")
    with pytest.raises(DataError, match=f"but line 2 is '{line}', and so are 1 in all"):
        read_annotations(tmp_path)


def test_the_list_beside_the_pictures(tmp_path: Path) -> None:
    make_expw(tmp_path)
    (tmp_path / "label" / "label.lst").rename(tmp_path / "label.lst")
    (tmp_path / "image" / "origin").rename(tmp_path / "origin")
    (tmp_path / "image").rmdir()
    assert read_annotations(tmp_path).table["path"][0] == "origin/happy_expression_0.jpg#0"


def test_list_or_pictures_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but the list is missing"):
        read_annotations(tmp_path, "expw")
    (make_expw(tmp_path) / "image").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="but the pictures are missing"):
        read_annotations(tmp_path, "expw")


def test_a_list_that_leads_out(tmp_path: Path) -> None:
    file = make_expw(tmp_path / "root") / "label" / "label.lst"
    file.rename(tmp_path / "label.lst")
    file.symlink_to(tmp_path / "label.lst")
    with pytest.raises(DataError, match="label.lst leads out of it, by a link"):
        read_annotations(tmp_path / "root")
