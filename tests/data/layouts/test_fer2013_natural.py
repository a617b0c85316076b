from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts.fer2013 import CLASSES
from eac_lightning.errors import DataError
from tests.conftest import make_fer2013

SURE = [(name, {name: 10}) for name in CLASSES]
DOUBTFUL = [
    ("anger", {"sadness": 4, "anger": 3, "contempt": 3}),
    ("fear", {"contempt": 6, "fear": 4}),
    ("fear", {"fear": 5, "surprise": 5}),
    ("sadness", {"unknown": 6, "sadness": 4}),
    ("neutral", {"NF": 10}),
]


def test_given_labels_are_of_fer2013_and_clean_ones_of_the_votes(tmp_path: Path) -> None:
    make_fer2013(tmp_path, SURE + DOUBTFUL)
    data = read_annotations(tmp_path, "fer2013_natural", votes="plurality", val_fraction=0)
    assert data.class_names == CLASSES
    assert data.table["label"].tolist() == [*range(7), CLASSES.index("anger")]
    assert data.table["clean_label"].tolist() == [*range(7), CLASSES.index("sadness")]
    assert data.votes is not None
    assert data.votes[-1].tolist() == [3, 0, 0, 0, 4, 0, 0]
    assert "clean labels, which judge them, are FER+ votes, plurality." in data.notes[1]
    assert "Left out 4 of 12 faces: contempt 1, tie 1, unknown 1, not a face 1." in data.notes
    assert "The given label differs from the clean one on 12.5% of 8 training faces." in data.notes


def test_the_votes_option_says_what_is_clean(tmp_path: Path) -> None:
    make_fer2013(tmp_path, SURE + DOUBTFUL)
    data = read_annotations(tmp_path, "fer2013_natural", val_fraction=0)
    assert "Left out 5 of 12 faces: no majority 1, contempt 1, tie 1, unknown 1, not a face 1." in data.notes


def test_it_is_read_only_where_it_is_named(tmp_path: Path) -> None:
    data = read_annotations(make_fer2013(tmp_path, SURE), classes=list(CLASSES), val_fraction=0)
    assert data.layout == "ferplus"
    assert "fer2013_natural" not in data.notes[0]


def test_both_files_are_needed(tmp_path: Path) -> None:
    make_fer2013(tmp_path, SURE)
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(DataError, match=r"fer2013new\.csv beside fer2013\.csv"):
        read_annotations(tmp_path, "fer2013_natural")
