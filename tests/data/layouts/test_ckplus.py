import re
from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.splits import assign_folds
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import PEOPLE, make_ckplus

EMOTION = "Emotion/S005/003/S005_003_00000005_emotion.txt"


def test_last_frames_and_first(tmp_path: Path) -> None:
    data = read_annotations(make_ckplus(tmp_path))
    assert data.class_names == (
        "neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise",
    )  # fmt: skip
    first = data.table[data.table["path"].str.contains("S005/003")]
    assert [path[-6:] for path in first["path"]] == ["01.png", "03.png", "04.png", "05.png"]
    assert first["label"].tolist() == [0, 3, 3, 3]
    assert set(first["subject"]) == {"S005"}
    assert len(data.table) == PEOPLE * 7 * 4
    assert f"Of {PEOPLE * 8} sequences, {PEOPLE} have no emotion file and are left out." in data.notes


def test_nobody_is_in_two_folds(tmp_path: Path) -> None:
    table = read_annotations(make_ckplus(tmp_path), val_fraction=0, test_fraction=0).table
    folds = table.assign(fold=assign_folds(table, 4, seed=0)).groupby("subject")["fold"].nunique()
    assert len(folds) == PEOPLE
    assert (folds == 1).all()


def test_a_short_sequence_has_no_neutral_frame(tmp_path: Path) -> None:
    make_ckplus(tmp_path)
    for frame in (1, 2):
        (tmp_path / f"cohn-kanade-images/S005/003/S005_003_{frame:08d}.png").unlink()
    table = read_annotations(tmp_path).table
    assert table[table["path"].str.contains("S005/003")]["label"].tolist() == [3, 3, 3]


def test_other_places_and_other_files(tmp_path: Path) -> None:
    make_ckplus(tmp_path)
    (tmp_path / "Emotion_labels").mkdir()
    (tmp_path / "Emotion").rename(tmp_path / "Emotion_labels/Emotion")
    (tmp_path / "cohn-kanade-images/S005/003/._S005_003_00000005.png").touch()
    (tmp_path / "cohn-kanade-images/S005/.DS_Store").touch()
    assert len(read_annotations(tmp_path).table) == PEOPLE * 7 * 4


@pytest.mark.parametrize("text", ["", "8.0000000e+00", "3.5", "nan", "happy", "3 4", "3e1"])
def test_another_emotion(text: str, tmp_path: Path) -> None:
    (make_ckplus(tmp_path) / EMOTION).write_text(text)
    with pytest.raises(DataError, match=rf"one number from 0 to 7 in .*S005_003_.*, but found '{re.escape(text)}'"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("text", ["3", "   3.0000000e+00\r\n", "3.0"])
def test_spellings_of_a_number(text: str, tmp_path: Path) -> None:
    (make_ckplus(tmp_path) / EMOTION).write_text(text)
    assert len(read_annotations(tmp_path).table) == PEOPLE * 7 * 4


def test_two_emotions(tmp_path: Path) -> None:
    (make_ckplus(tmp_path) / EMOTION.replace("0005_e", "0004_e")).write_text("1")
    with pytest.raises(DataError, match="one emotion file in .*003, but found S005_003_00000004_emotion.txt, S005"):
        read_annotations(tmp_path)


def test_no_frames(tmp_path: Path) -> None:
    make_ckplus(tmp_path)
    for frame in range(1, 6):
        (tmp_path / f"cohn-kanade-images/S005/003/S005_003_{frame:08d}.png").unlink()
    with pytest.raises(DataError, match=r"Expected frames such as S005_001_00000011\.png in .*003, but there is none"):
        read_annotations(tmp_path)


def test_no_emotions(tmp_path: Path) -> None:
    (make_ckplus(tmp_path) / "Emotion").rename(tmp_path / "old")
    with pytest.raises(DataError, match="a folder is missing"):
        read_annotations(tmp_path, "ckplus")
    (tmp_path / "Emotion").mkdir()
    with pytest.raises(DataError, match="Expected sequences with an emotion file"):
        read_annotations(tmp_path)


def test_a_part_copy_has_the_classes_that_it_shows(tmp_path: Path) -> None:
    make_ckplus(tmp_path)
    for file in (tmp_path / "Emotion").rglob("*_emotion.txt"):
        if file.read_text().strip().startswith("2"):  # contempt
            file.unlink()
    data = read_annotations(tmp_path)
    assert data.class_names == ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert "Left out classes that no picture shows: contempt." in data.notes
