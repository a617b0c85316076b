import pytest

from eac_lightning.data.emotions import (
    ALIASES,
    canonical_classes,
    canonical_emotion,
    choose_classes,
    natural_key,
)
from eac_lightning.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("angry", "anger"),
        ("AN", "anger"),
        ("Happy", "happiness"),
        ("SAD", "sadness"),
        ("3_surprised", "surprise"),
        ("06 - fear", "fear"),
        (" contempt ", "contempt"),
        ("unknown", None),
        ("0", None),
        ("", None),
    ],
)
def test_canonical_emotion(name: str, expected: str | None) -> None:
    assert canonical_emotion(name) == expected


def test_no_alias_means_two_emotions() -> None:
    aliases = [alias for group in ALIASES.values() for alias in group]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(ALIASES)


def test_classes_are_translated_all_or_none() -> None:
    assert canonical_classes(["HA", "sad", "anger"]) == ("happiness", "sadness", "anger")
    assert canonical_classes(["happy", "sad", "unknown"]) == ("happy", "sad", "unknown")


def test_natural_order_counts_digits() -> None:
    names = ["class10", "Class2", "class1", "class2", "1", "10", "2"]
    assert sorted(names, key=natural_key) == ["1", "2", "10", "class1", "Class2", "class2", "class10"]


def test_all_classes_are_kept_in_their_order() -> None:
    names, index = choose_classes(["sad", "HAPPY"])
    assert names == ("sadness", "happiness")
    assert index.tolist() == [0, 1]


def test_two_spellings_become_one_class() -> None:
    names, index = choose_classes(["happy", "sad", "happiness"])
    assert names == ("happiness", "sadness")
    assert index.tolist() == [0, 1, 0]


def test_subset_and_order_in_any_spelling() -> None:
    names, index = choose_classes(["unknown", "sad", "happy", "joy"], ["happiness", "SA"])
    assert names == ("happiness", "sadness")
    assert index.tolist() == [-1, 1, 0, 0]


def test_names_that_are_no_emotions_match_but_for_case() -> None:
    names, index = choose_classes(["Cat", "Dog", "happy"], ["dog", "cat"])
    assert names == ("Dog", "Cat")
    assert index.tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["hapiness", "sadness"], "Unknown class 'hapiness'. Did you mean 'happiness'"),
        (["sad", "sadness"], "each class once"),
        (["sadness"], "at least two classes"),
        ([], "at least two classes"),
    ],
)
def test_bad_choices(wanted: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose_classes(["happiness", "sadness"], wanted)
