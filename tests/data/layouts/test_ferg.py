from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts.base import make_table
from eac_lightning.data.splits import assign_splits
from eac_lightning.errors import DataError
from tests.data.layouts.data_sets import draw, make_ferg


def test_folders_say_it_all(tmp_path: Path) -> None:
    data = read_annotations(make_ferg(tmp_path), val_fraction=0.2, test_fraction=0.2)
    assert data.class_names == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    rows = data.table.set_index("path")
    assert rows.loc["FERG_DB_256/mery/mery_joy/mery_joy_2.png", ["label", "subject"]].tolist() == [3, "MERY"]
    assert len(rows) == 126


def test_folders_of_others_are_left_out(tmp_path: Path) -> None:
    draw(make_ferg(tmp_path) / "FERG_DB_256" / "aia" / "ray_joy" / "ray_joy_1.png")
    data = read_annotations(tmp_path, val_fraction=0.2, test_fraction=0.2)
    assert "Left out 1 pictures of other names: FERG_DB_256/aia/ray_joy/ray_joy_1.png." in data.notes


def test_the_published_numbers_can_be_split_by_character(tmp_path: Path) -> None:
    counts = np.array([
        [1644, 1596, 1116, 1232, 1200, 1469, 1746], [2059, 2088, 1255, 1438, 1243, 1506, 1682],
        [1479, 1321, 1858, 1317, 1344, 1475, 1961], [1100, 1190, 1018, 1089, 1083, 1034, 1065],
        [1428, 911, 1035, 1140, 941, 1045, 1058], [1459, 1465, 1137, 1114, 1128, 1098, 1200],
    ])  # fmt: skip
    assert counts.sum() == 55767
    person, label = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    table: pd.DataFrame = make_table([""] * len(label), label, subject=person.astype(str).tolist())
    for seed in range(5):
        split = assign_splits(table, 0.17, 0.17, seed)[0]
        assert split.groupby("split")["subject"].nunique().to_dict() == {"train": 4, "val": 1, "test": 1}


def test_no_such_picture(tmp_path: Path) -> None:
    draw(tmp_path / "aia" / "anger" / "1.png")
    with pytest.raises(DataError, match="Expected <character>/<character>_<expression>/.* but no picture is called so"):
        read_annotations(tmp_path, "ferg")
