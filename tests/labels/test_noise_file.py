from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.errors import DataError
from eac_lightning.labels.noise import NoiseFile
from eac_lightning.labels.noise_file import write_noise_file

NAMES = ("happiness", "anger", "neutral")


def make_table(label: list[int], clean: list[int] | None = None, split: str = "train") -> pd.DataFrame:
    clean = label if clean is None else clean
    return pd.DataFrame(
        {
            "path": [f"{split}/{i:05d}.jpg" for i in range(len(label))],
            "label": np.array(label, np.int64),
            "clean_label": np.array(clean, np.int64),
            "split": split,
        }
    )


def replay(path: Path, paths: list[str], names: tuple[str, ...] = NAMES) -> list[int]:
    labels = np.zeros(len(paths), np.int64)
    noisy: list[int] = NoiseFile(str(path)).corrupt(labels, names, np.random.default_rng(0), paths).tolist()
    return noisy


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=30))
def test_what_was_written_is_replayed(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.csv"
    table = make_table([label for label, _ in rows], [clean for _, clean in rows])
    write_noise_file(path, table, NAMES)
    assert replay(path, list(table["path"])) == list(table["label"])


def test_the_file_says_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "noise.csv"
    table = pd.concat([make_table([0, 1, 2], [0, 2, -1]), make_table([1], split="test")])
    write_noise_file(path, table, NAMES)
    assert path.read_text().splitlines() == [
        "path,label,clean_label,changed",
        "train/00000.jpg,happiness,happiness,0",
        "train/00001.jpg,anger,neutral,1",
        "train/00002.jpg,neutral,,0",
    ]
    assert [file.name for file in path.parent.iterdir()] == ["noise.csv"]


def test_spellings_of_classes_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    path.write_text("path,label\na.jpg,Angry\nb.jpg,happy\n")
    assert replay(path, ["b.jpg", "a.jpg"]) == [0, 1]


def test_a_list_counts_from_one_in_the_order_of_rafdb(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("train_00001.jpg 4\ntrain_00002.jpg 6\n\ntest_0001.jpg 1\n")
    paths = ["Image/aligned/train_00002_aligned.jpg", "Image/aligned/train_00001_aligned.jpg"]
    assert replay(path, paths) == [1, 0]


def test_a_list_of_other_classes_counts_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("x/1.png 2\ny/1.png 1\n")
    assert replay(path, ["x/1.png", "y/1.png"], ("cat", "dog")) == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.jpg,anger\n", r"no label for \(2\): b.jpg, c.jpg"),
        ("path,label\na.jpg,anger\na.jpg,anger\n", r"more than once \(1\): a.jpg"),
        ("path,label\na.jpg,x\nb.jpg,y\nc.jpg,anger\n", r"none of the classes .* \(2\): 'x', 'y'"),
        ("path,class\na.jpg,x\n", "columns path and label .* found path, class: label missing"),
        ("a.jpg 1\nb.jpg 8\n", "class from 1 to 7.* line 2 is 'b.jpg 8'"),
        ("a.jpg 1\na.jpg 2\n", r"more than once \(1\): a.jpg"),
        ("", r"no label for \(3\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "noise.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        replay(tmp_path / "noise.txt", ["a.jpg", "b.jpg", "c.jpg"])


def test_names_without_folders_must_tell_pictures_apart(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1.png 1\n")
    with pytest.raises(DataError, match="cannot tell apart"):
        replay(tmp_path / "list.txt", ["x/1.png", "y/1.png"])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read the noise file"):
        replay(tmp_path / "none.csv", ["a.jpg"])
