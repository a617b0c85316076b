from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import ConfigurationError, DataError
from tests.data.layouts.data_sets import PEOPLE, draw, make_kdef


def test_names_say_it_all(tmp_path: Path) -> None:
    data = read_annotations(make_kdef(tmp_path))
    assert data.class_names == ("fear", "anger", "disgust", "happiness", "neutral", "sadness", "surprise")
    rows = data.table.set_index("path")
    assert rows.loc["KDEF/AF01/AF01ANS.JPG", ["label", "subject"]].tolist() == [1, "F01"]
    assert rows.loc["KDEF/BM04/BM04AFS.JPG", ["label", "subject"]].tolist() == [0, "M04"]
    assert len(rows) == PEOPLE * 2 * 7
    assert "Left out 1 pictures of other names: KDEF/AF01/AF01V.JPG." in data.notes
    assert f"Left out {PEOPLE * 2 * 7} pictures of other angles: HL {PEOPLE * 2 * 7}." in data.notes


def test_both_sessions_show_the_same_people(tmp_path: Path) -> None:
    table = read_annotations(make_kdef(tmp_path), val_fraction=0.2, test_fraction=0.2).table
    assert set(table["path"].str[5]) == {"A", "B"}
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert table["subject"].nunique() == PEOPLE


def test_angles_are_chosen(tmp_path: Path) -> None:
    both = read_annotations(make_kdef(tmp_path), angles=("HL", "S"))
    assert len(both.table) == PEOPLE * 2 * 7 * 2
    assert not any("angles" in note for note in both.notes)
    half = read_annotations(tmp_path, angles=["HL"])
    assert half.table["path"].str.endswith("HL.JPG").all()


def test_below_the_folder_it_comes_in(tmp_path: Path) -> None:
    make_kdef(tmp_path / "KDEF_and_AKDEF")
    draw(tmp_path / "KDEF_and_AKDEF" / "AKDEF" / "FAFFL.JPG")
    data = read_annotations(tmp_path)
    assert data.layout == "kdef"
    assert "Left out 2 pictures of other names: KDEF_and_AKDEF/AKDEF/FAFFL.JPG, KDEF_and" in " ".join(data.notes)


def test_angles_that_there_are_not(tmp_path: Path) -> None:
    make_kdef(tmp_path)
    with pytest.raises(ConfigurationError, match="Unknown angle 'left'"):
        read_annotations(tmp_path, angles=["left"])
    with pytest.raises(ConfigurationError, match="Expected at least one of the angles FL, HL, S, HR, FR, but got none"):
        read_annotations(tmp_path, angles=[])


def test_an_angle_that_no_picture_has(tmp_path: Path) -> None:
    make_kdef(tmp_path)
    with pytest.raises(DataError, match="No labelled picture is left in"):
        read_annotations(tmp_path, angles=["FR"])


def test_a_copy_of_some_classes(tmp_path: Path) -> None:
    for picture in make_kdef(tmp_path).glob("KDEF/*/*AFS.JPG"):
        picture.unlink()
    for picture in tmp_path.glob("KDEF/*/*AFHL.JPG"):
        picture.unlink()
    data = read_annotations(tmp_path)
    assert data.class_names == ("anger", "disgust", "happiness", "neutral", "sadness", "surprise")
    assert "Left out classes that no picture shows: afraid." in data.notes
