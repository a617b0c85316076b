from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import draw, make_jaffe


def test_names_say_it_all(tmp_path: Path) -> None:
    data = read_annotations(make_jaffe(tmp_path))
    assert data.class_names == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    rows = data.table.set_index("path")
    assert rows.loc["KA.AN1.1.tiff", ["label", "subject"]].tolist() == [0, "KA"]
    assert rows.loc["YM.SU2.140.tiff", ["label", "subject"]].tolist() == [6, "YM"]
    assert len(rows) == 140


def test_below_a_folder_of_its_name_and_other_pictures(tmp_path: Path) -> None:
    make_jaffe(tmp_path / "jaffedbase")
    draw(tmp_path / "jaffedbase" / "mean.tiff")
    data = read_annotations(tmp_path)
    assert data.layout == "jaffe"
    assert "Left out 1 pictures of other names: jaffedbase/mean.tiff." in data.notes


def test_in_class_folders_they_are_a_folder(tmp_path: Path) -> None:
    make_jaffe(tmp_path)
    for picture in list(tmp_path.glob("*.tiff")):
        (tmp_path / picture.name[3:5]).mkdir(exist_ok=True)
        picture.rename(tmp_path / picture.name[3:5] / picture.name)
    assert read_annotations(tmp_path).layout == "folder"


def test_no_such_picture(tmp_path: Path) -> None:
    draw(tmp_path / "KA.XX1.39.tiff")
    with pytest.raises(DataError, match=r"Expected pictures called as KA\.AN1\.39\.tiff.* but no picture is called so"):
        read_annotations(tmp_path, "jaffe")


def test_a_copy_of_some_classes(tmp_path: Path) -> None:
    for picture in [*make_jaffe(tmp_path).glob("*.DI*"), *tmp_path.glob("*.NE*")]:
        picture.unlink()
    data = read_annotations(tmp_path)
    assert data.class_names == ("anger", "fear", "happiness", "sadness", "surprise")
    rows = data.table.set_index("path")
    assert rows.loc["YM.SU2.140.tiff", ["label", "subject"]].tolist() == [4, "YM"]
    assert "Left out classes that no picture shows: disgust, neutral." in data.notes
