import shutil
from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import draw, make_sfew

FORMS = ["{split}", "{split}/{split}_Aligned_Faces", "{split}_Aligned_Faces", "images/{split}_Aligned_Faces_new"]


@pytest.mark.parametrize("form", FORMS)
def test_labels_splits_and_films(form: str, tmp_path: Path) -> None:
    data = read_annotations(make_sfew(tmp_path, form))
    assert data.layout == "sfew"
    assert data.class_names == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert data.table["split"].value_counts().to_dict() == {"train": 42, "val": 42}
    assert set(data.table["group"]) == {f"{split}Film{number}" for split in ("Train", "Val") for number in (0, 1)}
    for path, label in data.table[["path", "label"]].itertuples(index=False):
        names = {"Angry": "anger", "Happy": "happiness", "Sad": "sadness"}
        folder = Path(path).parent.name
        assert names.get(folder, folder.lower()) == data.class_names[label]
    assert "Left out 3 pictures in no class folder, as those of the test set are." in data.notes


def test_aligned_faces_are_taken_before_frames(tmp_path: Path) -> None:
    make_sfew(make_sfew(tmp_path, test=False), "{split}", test=False)
    data = read_annotations(tmp_path)
    assert data.table["path"].str.contains("Aligned").all()
    assert data.notes[1:] == (
        "Faces are the aligned ones.",
        "Left out 84 whole frames beside the aligned faces.",
    )


def test_ordinary_class_folders_stay_class_folders(tmp_path: Path) -> None:
    for name in ("Angry", "Happy"):
        for split in ("Train", "Val"):
            for number in range(4):
                draw(tmp_path / split / name / f"{number}.png")
    assert read_annotations(tmp_path).layout == "folder"


def test_no_such_picture(tmp_path: Path) -> None:
    draw(tmp_path / "Train" / "Angry" / "1.png")
    with pytest.raises(DataError, match="Expected {Train,Val}/<Class>/.* but there is no such picture"):
        read_annotations(tmp_path, "sfew")


def test_frames_of_some_classes(tmp_path: Path) -> None:
    make_sfew(tmp_path, "{split}", test=False)
    for split in ("Train", "Val"):
        shutil.rmtree(tmp_path / split / "Disgust")
    data = read_annotations(tmp_path)
    assert (data.layout, data.class_names) == ("sfew", ("anger", "fear", "happiness", "neutral", "sadness", "surprise"))
    assert "Left out classes that no picture shows: Disgust." in data.notes
