from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts import Options, choose_layout
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import PEOPLE, make_ckextended, make_ckplus48


def test_the_table_has_contempt_after_the_codes_of_fer2013(tmp_path: Path) -> None:
    data = read_annotations(make_ckextended(tmp_path))
    assert data.class_names == (
        "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
    )  # fmt: skip
    assert data.images is not None
    assert data.images.shape == (40, 48, 48)
    assert data.table["label"].tolist() == [*range(8)] * 5
    assert data.table["split"].value_counts().to_dict() == {"train": 24, "val": 8, "test": 8}
    assert any("does not say who is shown" in note for note in data.notes)
    np.testing.assert_array_equal(data.picture(7), data.images[7])


def test_the_file_itself(tmp_path: Path) -> None:
    assert read_annotations(make_ckextended(tmp_path) / "ckextended.csv").layout == "ckplus48"


def test_pictures_say_the_person(tmp_path: Path) -> None:
    data = read_annotations(make_ckplus48(tmp_path), val_fraction=0.2, test_fraction=0.2)
    assert "Left out classes that no picture shows: neutral." in data.notes
    assert data.class_names == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt")
    assert set(data.table["subject"]) == {f"S{person + 10:03d}" for person in range(PEOPLE)}
    for path, label in data.table[["path", "label"]].itertuples(index=False):
        assert path.split("/")[1].replace("happy", "happiness") == data.class_names[label]


def test_other_class_folders_stay_class_folders(tmp_path: Path) -> None:
    make_ckplus48(tmp_path)
    root = tmp_path / "CK+48"
    assert read_annotations(root, val_fraction=0.2, test_fraction=0.2).layout == "ckplus48"
    for folder in list(root.iterdir()):
        for number, picture in enumerate(sorted(folder.iterdir())):
            picture.rename(folder / f"{number}.png")
    assert read_annotations(root).layout == "folder"


def test_a_malformed_row(tmp_path: Path) -> None:
    file = make_ckextended(tmp_path) / "ckextended.csv"
    file.write_text(file.read_text().replace("\n7,", "\n8,", 1))
    with pytest.raises(DataError, match=r"ckextended\.csv:9: expected an emotion from 0 to 7, but it is '8'"):
        read_annotations(tmp_path)


def test_neither_table_nor_pictures(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "1.png").touch()
    with pytest.raises(DataError, match=r"Expected ckextended\.csv, or .* but no picture is called so"):
        read_annotations(tmp_path, "ckplus48")


def test_a_table_that_leads_out(tmp_path: Path) -> None:
    make_ckextended(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "ckextended.csv").symlink_to(tmp_path / "elsewhere" / "ckextended.csv")
    with pytest.raises(DataError, match="leads out of it, by a link"):
        read_annotations(tmp_path / "root")


@pytest.mark.parametrize(("file", "layout"), [("labels.csv", "table"), ("fer2013.csv", "fer2013")])
def test_another_table_wins_over_names(file: str, layout: str, tmp_path: Path) -> None:
    make_ckplus48(tmp_path)
    (tmp_path / file).touch()
    assert choose_layout(tmp_path, "auto", Options())[0] == layout


def test_the_table_wins_over_fer2013(tmp_path: Path) -> None:
    (make_ckextended(tmp_path) / "fer2013.csv").touch()
    assert read_annotations(tmp_path).layout == "ckplus48"
