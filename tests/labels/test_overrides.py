from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eac_lightning.errors import DataError
from eac_lightning.labels.overrides import apply_overrides

NAMES = ("anger", "happiness", "sadness")


def make_table() -> pd.DataFrame:
    paths = [f"{i}.png" for i in range(30)]
    return pd.DataFrame({"path": paths, "label": np.zeros(30, np.int64), "clean_label": -1, "split": "train"})


def override(tmp_path: Path, *lines: str) -> tuple[pd.DataFrame, int]:
    (tmp_path / "fixes.csv").write_text("\n".join(["path,label,comment", *lines]))
    return apply_overrides(make_table(), tmp_path / "fixes.csv", NAMES)


def test_labels_are_replaced_by_path(tmp_path: Path) -> None:
    table, changed = override(tmp_path, "3.png,happy,", "5.png,sadness,seen", "5.png,sad,again", "7.png,anger,")
    assert changed == 2
    assert table["label"].dtype == np.int64
    assert table["label"].to_numpy().nonzero()[0].tolist() == [3, 5]
    assert table["label"].tolist()[3:6] == [1, 0, 2]
    assert (table["clean_label"] == -1).all()


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
