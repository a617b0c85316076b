"""Names of expressions: one canonical name each, however a data set spells it."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError, unknown_name

ALIASES = {
    "neutral": ("ne", "neu", "neutrality"),
    "happiness": ("ha", "hap", "happy", "joy"),
    "surprise": ("su", "sur", "surprised", "suprise"),
    "sadness": ("sa", "sad"),
    "anger": ("an", "ang", "angry"),
    "disgust": ("di", "dis", "disgusted"),
    "fear": ("fe", "fea", "fearful", "afraid", "scared"),
    "contempt": ("co", "con", "contemptuous"),
}
_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}


def canonical_emotion(name: str) -> str | None:
    """Return the canonical name of an expression, or None where ``name`` is none.

    Case does not matter, nor does a number in front that orders folders (``"03_Happy"`` is happiness).
    """
    return _CANONICAL.get(re.sub(r"^\d+[\s._-]+", "", name.strip()).casefold())


def canonical_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names`` in canonical spelling if every one is an expression, else as they are.

    A set that holds anything else (``"unknown"``, ``"1"``) keeps all its names: half a translation would be
    a vocabulary that nobody uses.
    """
    canonical = [canonical_emotion(name) for name in names]
    known = [name for name in canonical if name is not None]
    return tuple(known) if len(known) == len(names) else tuple(names)


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a sorting key under which ``"2"`` stands before ``"10"``; case decides only between equals."""
    parts = re.split(r"(\d{1,18})", name.casefold())  # Python refuses to read numbers of thousands of digits
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def matching_classes(name: str, names: Sequence[str]) -> list[int]:
    """Return the positions in ``names`` that mean ``name``: the same but for case, or the same expression."""
    emotion = canonical_emotion(name)
    return [
        position
        for position, other in enumerate(names)
        if other.casefold() == name.casefold() or (emotion is not None and canonical_emotion(other) == emotion)
    ]


def choose_classes(
    names: Sequence[str], wanted: Sequence[str] | None = None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Choose and order the classes of a data set.

    Args:
        names: The classes as the data set spells them.
        wanted: The classes to keep, in order, in any spelling; None keeps all.

    Returns:
        The K class names, canonical where all of them are expressions, and for each of ``names`` its new
        index in [0, K), or -1 where it is left out. Two spellings of one expression become one class.

    Raises:
        ConfigurationError: ``wanted`` holds an unknown class, one class twice, or fewer than two.
    """
    groups = [[position] for position in range(len(names))]
    if wanted is not None:
        groups = [matching_classes(name, names) for name in wanted]
        for name, group in zip(wanted, groups, strict=True):
            if not group:
                raise unknown_name("class", name, names)
        if len({tuple(group) for group in groups}) != len(groups):
            raise ConfigurationError(f"Expected each class once in classes, but got {list(wanted)}.")
        if len(groups) < 2:
            raise ConfigurationError(f"Expected at least two classes, but got {list(wanted)}.")
    spelled = canonical_classes([names[group[0]] for group in groups])
    chosen = tuple(dict.fromkeys(spelled))
    index = np.full(len(names), -1, dtype=np.int64)
    for name, group in zip(spelled, groups, strict=True):
        index[group] = chosen.index(name)
    return chosen, index
