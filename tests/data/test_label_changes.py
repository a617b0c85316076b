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
from eac_lightning.labels.instance_noise import InstanceNoise
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
    votes = np.eye(3, dtype=np.int32)[label] * 7 + 1
    return Annotations(table, NAMES, "table", Path(), votes=votes if soft else None, notes=("read",))


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


def test_corrections_are_of_what_noise_has_made_of_the_labels(tmp_path: Path) -> None:
    (tmp_path / "fixes.csv").write_text("path,label,given\n0.png,sadness,happiness\n2.png,anger,\n")
    after = change_labels(make_annotations(), str(tmp_path / "fixes.csv"), ShiftAll(), 0)
    assert after.table.loc[0, ["label", "clean_label"]].tolist() == [2, 0]
    assert after.table.loc[2, ["label", "clean_label"]].tolist() == [0, -1]
    assert "changed 2 labels" in after.notes[2]


def test_a_second_review_goes_on_from_the_first(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text("path,label,given\n0.png,sadness,anger\n1.png,anger,happiness\n")
    (tmp_path / "second.csv").write_text("path,label,given\n0.png,happiness,sadness\n")
    both = [str(tmp_path / "first.csv"), str(tmp_path / "second.csv")]
    assert change_labels(make_annotations(), both, None, 0).table["label"].tolist()[:3] == [1, 0, 2]
    with pytest.raises(DataError, match="reviewed as sadness, is anger"):
        change_labels(make_annotations(), both[::-1], None, 0)


def test_corrections_that_evaluation_does_not_go_by_are_counted(tmp_path: Path) -> None:
    lines = ("0.png,sadness", "2.png,anger", "3.png,happiness", "6.png,anger")  # train, val, test, val as it was
    (tmp_path / "fixes.csv").write_text("\n".join(["path,label", *lines]))
    known = change_labels(make_annotations(clean=1), str(tmp_path / "fixes.csv"), None, 0).notes[-1]
    assert "changed 3 labels. 2 are in val or test, which go by the clean label where it is known." in known
    unknown = change_labels(make_annotations(), str(tmp_path / "fixes.csv"), None, 0).notes[-1]
    assert unknown.endswith("changed 3 labels.")


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
    np.testing.assert_array_equal(after.votes, before.votes)


def test_noise_is_told_the_votes_of_the_training_faces() -> None:
    before = make_annotations(soft=True)
    after = change_labels(before, None, InstanceNoise(0.5), 0)
    moved = after.table["label"] != before.table["label"]
    assert moved.any()
    assert (before.table.loc[moved, "split"] == "train").all()


def test_what_is_dropped_moves_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "fixes.csv").write_text("path,label,action\n0.png,,drop\n1.png,happiness,keep\n2.png,,drop\n")
    before = change_labels(make_annotations(), None, SymmetricNoise(0.5), 0).table
    after = change_labels(make_annotations(), str(tmp_path / "fixes.csv"), SymmetricNoise(0.5), 0)
    assert "changed 0 labels, kept 1 and left out 2 pictures." in after.notes[2]
    assert after.table.loc[[0, 2], "split"].tolist() == ["left out"] * 2
    pd.testing.assert_frame_equal(after.table.drop([0, 2]), before.drop([0, 2]))


def test_noise_that_leaves_the_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"noisy labels from 0 to 2, but corrupt\(\) returned"):
        change_labels(make_annotations(), None, ShiftAll(by=2), 0)
