from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eac_lightning.errors import DataError
from eac_lightning.labels.overrides import Corrected, apply_overrides

NAMES = ("anger", "happiness", "sadness")


def make_table() -> pd.DataFrame:
    paths = [f"{i}.png" for i in range(30)]
    return pd.DataFrame({"path": paths, "label": np.zeros(30, np.int64), "clean_label": -1, "split": "train"})


def override(tmp_path: Path, *lines: str, header: str = "path,label,comment") -> Corrected:
    (tmp_path / "fixes.csv").write_text("\n".join([header, *lines]))
    return apply_overrides(make_table(), tmp_path / "fixes.csv", NAMES)


def test_labels_are_replaced_by_path(tmp_path: Path) -> None:
    table, changed, kept, dropped = override(
        tmp_path, "3.png,happy,", "5.png,sadness,seen", "5.png,sad,again", "7.png,anger,"
    )
    assert (changed, kept, dropped) == (2, 0, 0)
    assert table["label"].dtype == np.int64
    assert table["label"].to_numpy().nonzero()[0].tolist() == [3, 5]
    assert table["label"].tolist()[3:6] == [1, 0, 2]
    assert (table["clean_label"] == -1).all()


REVIEW = "path,label,action,given"


def test_a_review_changes_keeps_and_drops(tmp_path: Path) -> None:
    lines = ("3.png,happiness,accept,anger", "5.png,sad,change,angry", "6.png,anger,keep,anger", "7.png,,drop,anger")
    table, changed, kept, dropped = override(tmp_path, *lines, "8.png,happy,,", header=REVIEW)
    assert (changed, kept, dropped) == (3, 1, 1)
    assert table["label"].tolist()[3:9] == [1, 0, 2, 0, 0, 1]
    assert table["split"].value_counts().to_dict() == {"train": 29, "left out": 1}
    assert table.loc[7, "split"] == "left out"
    assert table.index.tolist() == list(range(30))


def test_strange_names_are_found_letter_by_letter(tmp_path: Path) -> None:
    names = [
        "=1+1.png",
        "+a.png",
        "-b.png",
        "@c.png",
        'q"uo"te, comma.png',
        "two\nlines.png",
        " lead.png",
        "\u202egnp.png",
    ]
    rows = pd.DataFrame({"path": names, "label": "happiness", "action": "change", "given": "anger"})
    rows.to_csv(tmp_path / "fixes.csv", index=False, lineterminator="\r\n")
    table = make_table()
    table.loc[: len(names) - 1, "path"] = names
    assert apply_overrides(table, tmp_path / "fixes.csv", NAMES).table["label"].sum() == len(names)


def test_a_review_of_other_labels_is_refused(tmp_path: Path) -> None:
    message = r"other labels.*given, after noise and earlier corrections .*first.csv,second.csv.*\(1\): 3.png \(reviewed as sadness, is anger\)"
    with pytest.raises(DataError, match=message):
        override(tmp_path, "3.png,happiness,accept,sadness", "4.png,happiness,accept,anger", header=REVIEW)
    with pytest.raises(DataError, match=r"none of the classes .* \(1\): 'joyful'"):
        override(tmp_path, "3.png,happiness,accept,joyful", header=REVIEW)


def test_what_an_action_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of accept, change, keep, drop \(1\): 'remove'"):
        override(tmp_path, "3.png,anger,remove,", "4.png,anger,remove,", header=REVIEW)
    with pytest.raises(DataError, match=r"says to keep, but gives another \(1\): 3.png"):
        override(tmp_path, "3.png,sadness,keep,", header=REVIEW)
    with pytest.raises(DataError, match=r"more than one label \(1\): 3.png"):
        override(tmp_path, "3.png,,drop,", "3.png,anger,keep,", header=REVIEW)


def test_unknown_pictures_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not in the data set.* \(2\): x.png, y.png"):
        override(tmp_path, "x.png,anger,", "1.png,anger,", "y.png,anger,")


def test_long_lists_are_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(30\): 0.jpg, .*19.jpg, … and 10 more"):
        override(tmp_path, *(f"{i}.jpg,anger," for i in range(30)))


def test_unknown_classes_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the classes anger, happiness, sadness \(1\): 'joyful'"):
        override(tmp_path, "1.png,joyful,", "2.png,joyful,")


def test_conflicts_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"more than one label \(1\): 1.png"):
        override(tmp_path, "1.png,anger,", "1.png,sadness,", "2.png,anger,", "2.png,anger,")


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read the label table"):
        apply_overrides(make_table(), tmp_path / "none.csv", NAMES)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="Cannot read the label table"):
        apply_overrides(make_table(), tmp_path / "empty.csv", NAMES)


@pytest.mark.parametrize(("lines", "number"), [(["1.png,anger,"], 2), (["1.png,anger", "2.png,sad,happy"], 3)])
def test_a_line_with_a_field_too_many_is_named(tmp_path: Path, lines: list[str], number: int) -> None:
    with pytest.raises(
        DataError, match=f"Cannot read .*: .*expected 2 fields in line {number}, as in the first, but found 3\\."
    ):
        override(tmp_path, *lines, header="path,label")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Columns that .*fixes.csv has more than once \(1\): label\."):
        override(tmp_path, "1.png,anger,sad", header="path,label,label")


def test_columns_without_a_name_do_not_count(tmp_path: Path) -> None:
    assert override(tmp_path, "1.png,sad,,", "2.png,anger,,seen", header="path,label,,").changed == 1
