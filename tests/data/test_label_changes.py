from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.data.annotations import Annotations
from eac_lightning.data.label_changes import change_labels
from eac_lightning.errors import DataError
from eac_lightning.labels.noise import LabelNoise, NoiseFile, SymmetricNoise
from eac_lightning.labels.noise_file import write_noise_file

NAMES = ("anger", "happiness", "sadness")


def make_annotations(count: int = 30, clean: int = -1, soft: bool = False) -> Annotations:
    label = np.arange(count) % 3
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(count)],
            "label": label,
            "clean_label": np.full(count, clean),
            "split": [("train", "train", "val", "test")[i % 4] for i in range(count)],
        }
    )
    softened = np.eye(3, dtype=np.float32)[label] * 0.7 + 0.1
    return Annotations(table, NAMES, "table", Path(), soft_labels=softened if soft else None, notes=("read",))


class ShiftAll(LabelNoise):
    def __init__(self, by: int = 1) -> None:
        self.by = by

    def corrupt(
        self, labels: np.ndarray, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> np.ndarray:
        labels += self.by  # in place: the caller's labels must survive it
        return labels % len(class_names) if self.by == 1 else labels


def test_without_changes_nothing_pretends_to_know() -> None:
    before = make_annotations()
    after = change_labels(before, None, None, 0)
    pd.testing.assert_frame_equal(after.table, before.table)
    assert after.notes == ("read",)


@given(st.floats(0, 1), st.integers(0, 3))
def test_noise_touches_the_training_split_alone(rate: float, seed: int) -> None:
    before = make_annotations(80)
    after = change_labels(before, None, SymmetricNoise(rate), seed).table
    train = before.table["split"] == "train"
    pd.testing.assert_frame_equal(after[~train], before.table[~train])
    assert (after.loc[train, "clean_label"] == before.table.loc[train, "label"]).all()
    again = change_labels(make_annotations(80), None, SymmetricNoise(rate), seed).table
    pd.testing.assert_frame_equal(after, again)


def test_noise_counts_what_it_moved() -> None:
    after = change_labels(make_annotations(40), None, SymmetricNoise(0.25, exact=True), 0)
    assert after.notes[-1] == "SymmetricNoise moved 5 of 20 training labels (25.00%)."


def test_known_clean_labels_are_kept() -> None:
    after = change_labels(make_annotations(clean=2), None, ShiftAll(), 0).table
    assert (after["clean_label"] == 2).all()


def test_a_noise_file_replays_a_draw(tmp_path: Path) -> None:
    drawn = change_labels(make_annotations(), None, SymmetricNoise(0.5), 7).table
    write_noise_file(tmp_path / "noise.csv", drawn, NAMES)
    replayed = change_labels(make_annotations(), None, NoiseFile(str(tmp_path / "noise.csv")), 8).table
    pd.testing.assert_frame_equal(replayed, drawn)


def test_corrections_come_before_noise(tmp_path: Path) -> None:
    (tmp_path / "fixes.csv").write_text("path,label\n0.png,sadness\n2.png,anger\n")
    after = change_labels(make_annotations(), str(tmp_path / "fixes.csv"), ShiftAll(), 0)
    assert after.table.loc[0, ["label", "clean_label"]].tolist() == [0, 2]
    assert after.table.loc[2, ["label", "clean_label"]].tolist() == [0, -1]
    assert "changed 2 labels" in after.notes[1]


def test_soft_labels_do_not_give_the_truth_away() -> None:
    before = make_annotations(soft=True)
    after = change_labels(before, None, SymmetricNoise(0.5), 0)
    assert after.soft_labels is not None
    assert before.soft_labels is not None
    label = after.table["label"].to_numpy()
    moved = label != before.table["label"].to_numpy()
    assert moved.any()
    np.testing.assert_array_equal(after.soft_labels[moved], np.eye(3)[label[moved]])
    np.testing.assert_array_equal(after.soft_labels[~moved], before.soft_labels[~moved])


def test_noise_that_leaves_the_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"noisy labels from 0 to 2, but corrupt\(\) returned"):
        change_labels(make_annotations(), None, ShiftAll(by=2), 0)
