import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.data.splits import assign_folds, assign_splits, canonical_split, check_fractions, hold_out
from eac_lightning.errors import ConfigurationError, DataError


def table(label: list[int], split: list[str] | str = "", subject: object = "", group: object = "") -> pd.DataFrame:
    return pd.DataFrame({"label": label}).assign(split=split, subject=subject, group=group)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Training", "train"),
        ("TRAIN", "train"),
        ("valid", "val"),
        ("PublicTest", "val"),
        ("dev", "val"),
        (" test ", "test"),
        ("PrivateTest", "test"),
        ("anger", None),
    ],
)
def test_canonical_split(name: str, expected: str | None) -> None:
    assert canonical_split(name) == expected


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
def test_fractions_outside_the_range(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match=r"val_fraction in \[0, 1\)"):
        check_fractions(fraction, 0.1)
    with pytest.raises(ConfigurationError, match=r"test_fraction in \[0, 1\)"):
        check_fractions(0.1, fraction)


def test_fractions_that_leave_nothing() -> None:
    with pytest.raises(ConfigurationError, match="something is left to train on"):
        check_fractions(0.5, 0.5)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=120),
    st.floats(0.01, 0.9),
    st.integers(0, 5),
)
def test_single_samples_are_stratified(labels: list[int], fraction: float, seed: int) -> None:
    label = np.array(labels)
    held = hold_out(label, np.arange(len(label)), fraction, np.random.default_rng(seed))
    for name, count in zip(*np.unique(label, return_counts=True), strict=True):
        expected = min(max(round(fraction * count), 1), count - 1)
        assert held[label == name].sum() == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=80), st.integers(0, 5))
def test_units_stay_whole_and_no_class_is_emptied(rows: list[tuple[int, int]], seed: int) -> None:
    label, unit = np.array(rows).T
    held = hold_out(label, unit, 0.3, np.random.default_rng(seed))
    assert not set(unit[held]) & set(unit[~held])
    assert set(label[~held]) == set(label)


def test_units_come_near_the_share() -> None:
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 60, 1200)
    label = rng.integers(0, 6, 1200)
    held = hold_out(label, unit, 0.2, rng)
    shares = np.bincount(label[held]) / np.bincount(label)
    np.testing.assert_allclose(shares, 0.2, atol=0.05)


def test_given_splits_are_kept() -> None:
    split = ["train", "train", "val", "test"]
    result, notes = assign_splits(table([0, 1, 0, 1], split), 0.5, 0.4, 0)
    assert result["split"].tolist() == split
    assert notes == ()


def test_no_split_is_drawn_by_seed() -> None:
    plain = table([0] * 100 + [1] * 50)
    result, notes = assign_splits(plain, 0.1, 0.2, 3)
    counts = pd.crosstab(result["label"], result["split"])
    assert counts[["train", "val", "test"]].to_numpy().tolist() == [[70, 10, 20], [35, 5, 10]]
    assert plain["split"].eq("").all()
    assert [note.split(" training")[0] for note in notes] == ["30 of 150", "15 of 120"]
    again, _ = assign_splits(plain, 0.1, 0.2, 3)
    other, _ = assign_splits(plain, 0.1, 0.2, 4)
    pd.testing.assert_frame_equal(result, again)
    assert not result.equals(other)


def test_validation_is_drawn_from_train_and_test_stays() -> None:
    split = ["train"] * 40 + ["test"] * 10
    result, _ = assign_splits(table([0, 1] * 25, split), 0.25, 0.5, 0)
    assert result["split"].value_counts().to_dict() == {"train": 30, "val": 10, "test": 10}
    assert result["split"][40:].eq("test").all()


def test_missing_test_split_stays_missing() -> None:
    split = ["train", "train", "val", "val"]
    result, notes = assign_splits(table([0, 1, 0, 1], split), 0.1, 0.1, 0)
    assert result["split"].tolist() == split
    assert notes == ()


def test_no_fraction_validates_on_test() -> None:
    result, notes = assign_splits(table([0, 1, 0], ["train", "train", "test"]), 0.0, 0.1, 0)
    assert result["split"].tolist() == ["train", "train", "test"]
    assert notes == ("Validation uses the test split.",)


def test_no_fractions_at_all_leave_only_train() -> None:
    result, notes = assign_splits(table([0, 1]), 0.0, 0.0, 0)
    assert result["split"].eq("train").all()
    assert notes == ("There is no validation split.",)


def test_nobody_stands_on_both_sides_even_through_groups() -> None:
    # Subjects 0 and 1 share group g0, 2 and 3 share g1, and so on: pairs must stay together.
    subject = [f"s{i % 20}" for i in range(200)]
    group = [f"g{i % 20 // 2}" if i < 20 else "" for i in range(200)]
    result, notes = assign_splits(table([i % 2 for i in range(200)], "", subject, group), 0.2, 0.2, 1)
    pair = pd.Series(subject).str[1:].astype(int) // 2
    assert result.groupby(pair)["split"].nunique().eq(1).all()
    assert set(result["split"]) == {"train", "val", "test"}
    assert "no subject or group on both sides" in notes[0]


def test_rows_without_a_subject_are_units_of_their_own() -> None:
    subject = ["a"] * 20 + [""] * 20
    result, notes = assign_splits(table([0, 1] * 20, "", subject), 0.2, 0.0, 0)
    assert result["split"].eq("val").sum() == 8
    assert result["split"][:20].eq("train").all()
    assert "no subject on both sides" in notes[0]


def test_one_subject_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"Cannot hold out 10% .* for test .* a subject .*test_fraction=0"):
        assign_splits(table([0, 1] * 10, "", ["only"] * 20), 0.1, 0.1, 0)


def test_half_given_splits() -> None:
    with pytest.raises(DataError, match="1 of 2 have none"):
        assign_splits(table([0, 1], ["train", ""]), 0.1, 0.1, 0)


def test_no_training_split() -> None:
    with pytest.raises(DataError, match="training split, but found only test, val"):
        assign_splits(table([0, 1], ["val", "test"]), 0.1, 0.1, 0)


@given(st.lists(st.integers(0, 4), min_size=3, max_size=30), st.integers(2, 6), st.integers(0, 5))
def test_folds_are_stratified_and_nearly_of_one_size(label: list[int], folds: int, seed: int) -> None:
    label = label * 2
    fold = assign_folds(table(label), folds, seed)
    assert set(fold) == set(range(folds))
    for part in (fold, *(fold[np.array(label) == k] for k in set(label))):
        counts = np.bincount(part, minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_folds_follow_from_the_seed() -> None:
    rows = table([0, 1, 2] * 20)
    assert (assign_folds(rows, 5, 3) == assign_folds(rows, 5, 3)).all()
    assert (assign_folds(rows, 5, 3) != assign_folds(rows, 5, 4)).any()


@pytest.mark.parametrize("column", ["subject", "group"])
def test_nobody_stands_in_two_folds(column: str) -> None:
    rng = np.random.default_rng(0)
    person, label = rng.integers(0, 30, 600), rng.integers(0, 4, 600)
    rows = table(label.tolist()).assign(**{column: [f"s{number}" for number in person]})
    fold = assign_folds(rows, 5, 1)
    assert pd.Series(fold).groupby(person).nunique().eq(1).all()
    counts = np.stack([np.bincount(fold[label == k], minlength=5) for k in range(4)])
    assert counts.min() > 0
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), 0.2, atol=0.1)


def test_fewer_than_two_folds() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 folds, but got 1"):
        assign_folds(table([0, 1]), 1, 0)


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("", "pictures as folds, but there are 4 for 5"),
        (["a", "a", "b", "b"], "subjects as folds, but there are 2 for 5"),
    ],
)
def test_fewer_rows_or_people_than_folds(subject: object, message: str) -> None:
    with pytest.raises(DataError, match=f"at least as many {message} folds. Ask for fewer"):
        assign_folds(table([0, 1, 0, 1], "", subject), 5, 0)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=40),
    st.integers(2, 5),
    st.integers(0, 5),
)
def test_no_fold_is_empty_where_people_suffice(rows: list[tuple[int, int]], folds: int, seed: int) -> None:
    # One person has more faces than all others together; with three more they suffice. Two have each class alone.
    rows = [*rows, *[(0, 10)] * 100, (0, 11), (1, 12), (1, 13)]
    label, person = np.array(rows).T
    fold = assign_folds(table(label.tolist(), "", [f"s{number}" for number in person]), folds, seed)
    assert set(fold) == set(range(folds))
    assert all(len(set(fold[person == number])) == 1 for number in set(person))


@pytest.mark.parametrize(
    ("subject", "class_names", "message"),
    [
        ("", None, r"of class 4 \(fold \d\) are in one: a class needs two pictures"),
        ("", ("anger", "fear", "joy", "awe", "pride"), r"of pride \(fold \d\) are in one"),
        (list("aabbcc"), None, r"of class 0 \(fold \d\), class 1 \(fold \d\), class 4 .* two subjects, or more"),
    ],
)
def test_a_class_in_one_fold_alone(subject: object, class_names: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(DataError, match=f"each class in at least two of 3 folds, .*{message}"):
        assign_folds(table([0, 0, 1, 1, 4, 4] if subject else [0, 0, 1, 1, 1, 4], "", subject), 3, 0, class_names)


def test_no_rows_at_all_cannot_be_dealt() -> None:
    with pytest.raises(DataError, match="there are 0 for 2"):
        assign_folds(table([]), 2, 0)
