from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts.affectnet import COLUMNS, FOLDER, IMAGES
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import make_affectnet


def change(root: Path, old: str, new: str, name: str = "training.csv") -> Path:
    file = root / FOLDER / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return root


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("folder", [FOLDER, "."])
def test_labels_splits_and_paths(header: bool, folder: str, tmp_path: Path) -> None:
    data = read_annotations(make_affectnet(tmp_path, header, folder))
    assert data.class_names == (
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
    )  # fmt: skip
    assert data.table["label"].tolist() == [*range(8)] * 3
    assert data.table["split"].tolist() == ["train"] * 16 + ["val"] * 8
    assert data.table["path"][0] == "Manually_Annotated_Images/0/train0000.jpg"
    assert "Left out 9 of 33 faces that are no emotion: none 3, uncertain 3, no face 3." in data.notes


def test_faces_are_cut_out(tmp_path: Path) -> None:
    data = read_annotations(make_affectnet(tmp_path))
    assert data.boxes is not None
    np.testing.assert_array_equal(data.boxes, [[3, 2, 13, 11]] * 24)
    whole = np.asarray(Image.open(tmp_path / data.table["path"][5]))
    np.testing.assert_array_equal(data.picture(5), whole[2:11, 3:13])


def test_seven_classes_keep_their_boxes(tmp_path: Path) -> None:
    change(make_affectnet(tmp_path), "1/train0001.jpg,3,2,10,9", "1/train0001.jpg,1,1,4,4")
    seven = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
    data = read_annotations(tmp_path, classes=seven)
    assert data.boxes is not None
    assert len(data.boxes) == len(data.table) == 21
    assert data.boxes[1].tolist() == [1, 1, 5, 5]
    assert data.boxes[7].tolist() == [3, 2, 13, 11]


def test_without_validation_a_share_is_drawn(tmp_path: Path) -> None:
    (make_affectnet(tmp_path) / FOLDER / "validation.csv").unlink()
    assert set(read_annotations(tmp_path, val_fraction=0.2).table["split"]) == {"train", "val"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0/train0000.jpg,NULL,NULL,NULL,NULL", "expected four numbers as its face box"),
        ("0/train0000.jpg,3,2,1e12,9", "expected four numbers as its face box"),
        ("1/train0001.jpg,3,2,10,9", "listed before"),
        ("../../secret.jpg,3,2,10,9", "leads out of"),
        ("0/gone.jpg,3,2,10,9", "no such file"),
    ],
)
def test_faces_that_cannot_be_used(line: str, reason: str, tmp_path: Path) -> None:
    change(make_affectnet(tmp_path), "0/train0000.jpg,3,2,10,9", line)
    with pytest.raises(DataError, match=reason):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, on_bad_image="skip").left_out) == 1


def test_a_box_beside_the_picture(tmp_path: Path) -> None:
    change(make_affectnet(tmp_path), "0/train0000.jpg,3,2,10,9", "0/train0000.jpg,25,2,10,9")
    data = read_annotations(tmp_path)
    with pytest.raises(DataError, match=r"its face box .*: 25, 2, 35, 11\) holds nothing of its 20 × 16 pixels"):
        data.picture(0)


@pytest.mark.parametrize("code", ["11", "-1", "", "happy"])
def test_another_expression(code: str, tmp_path: Path) -> None:
    change(make_affectnet(tmp_path), ",0,0.25,0.5", f",{code},0.25,0.5")
    with pytest.raises(DataError, match=f"expression from 0 to 10 .* in 1 rows, first row 2, it is '{code}'"):
        read_annotations(tmp_path)


def test_a_list_of_another_form(tmp_path: Path) -> None:
    (make_affectnet(tmp_path) / FOLDER / "training.csv").write_text("path,label\na.jpg,1\n")
    with pytest.raises(DataError, match=f"Expected the columns {COLUMNS[0]}, .* in .*training.csv, but: "):
        read_annotations(tmp_path)


def test_a_line_that_is_cut_off(tmp_path: Path) -> None:
    file = make_affectnet(tmp_path) / FOLDER / "training.csv"
    file.write_text(file.read_text()[:-400])
    with pytest.raises(DataError, match="in the seventh column of .* in 1 rows, first row 23, it is ''"):
        read_annotations(tmp_path)


def test_a_list_of_nothing(tmp_path: Path) -> None:
    file = make_affectnet(tmp_path) / FOLDER / "validation.csv"
    file.write_text(",".join(COLUMNS) + "\n")
    assert len(read_annotations(tmp_path).table) == 16
    file.write_text("")
    with pytest.raises(DataError, match="validation.csv, but: No columns to parse"):
        read_annotations(tmp_path)


def test_lists_or_pictures_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="but the lists are missing"):
        read_annotations(tmp_path, "affectnet")
    make_affectnet(tmp_path)
    (tmp_path / IMAGES[0]).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="but the pictures are missing"):
        read_annotations(tmp_path, "affectnet")


def test_a_list_that_leads_out(tmp_path: Path) -> None:
    root = make_affectnet(tmp_path / "root")
    file = root / FOLDER / "training.csv"
    file.rename(tmp_path / "training.csv")
    file.symlink_to(tmp_path / "training.csv")
    with pytest.raises(DataError, match="training.csv leads out of it, by a link"):
        read_annotations(root)
    assert len(read_annotations(root, allow_outside=True).table) == 24


def test_lists_without_an_emotion(tmp_path: Path) -> None:
    for name in ("training.csv", "validation.csv"):
        file = make_affectnet(tmp_path) / FOLDER / name
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if line.split(",")[6] in ("expression", "8", "9", "10")))
    (tmp_path / FOLDER / "training.csv").unlink()
    with pytest.raises(DataError, match="No labelled picture is left .* Left out 3 of 3 faces that are no emotion"):
        read_annotations(tmp_path)
