"""Which rows train, which choose the epoch, which judge: given by the data, or drawn by seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError, DataError

SPLITS = ("train", "val", "test")
_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "publictest", "public_test"),
    "test": ("test", "testing", "privatetest", "private_test", "eval"),
}
_CANONICAL = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}


def canonical_split(name: str) -> str | None:
    """Return "train", "val" or "test" for a usual spelling in any case, else None."""
    return _CANONICAL.get(name.strip().casefold())


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse shares of the data that cannot be split off.

    Raises:
        ConfigurationError: A fraction is outside [0, 1), or both leave nothing to train on.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise ConfigurationError(f"Expected {name} in [0, 1), but got {fraction}.")
    if val_fraction + test_fraction >= 1:
        raise ConfigurationError(
            f"Expected val_fraction + test_fraction below 1, so that something is left to train on, "
            f"but got {val_fraction} + {test_fraction}."
        )


def hold_out(
    label: NDArray[np.int64], unit: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a stratified part of N samples in which units stay whole.

    Units are visited in random order, and one is held out where that brings the counts of the classes nearer
    to their share. With single samples as units this is the usual stratified split.

    Args:
        label: (N,) class indices.
        unit: (N,) what must not be torn apart, such as a person, as numbers 0..U-1.
        fraction: Share of each class to hold out, in [0, 1). At least one of each class that has two, and
            never all of a class.
        rng: Where the order of the units comes from.

    Returns:
        (N,) true where held out.
    """
    counts = np.zeros((unit.max() + 1, label.max() + 1), dtype=np.int64)
    np.add.at(counts, (unit, label), 1)
    total = counts.sum(0)
    target = np.where(total > 1, np.maximum(np.round(fraction * total), 1), 0)
    held = np.zeros_like(total)
    chosen = np.zeros(len(counts), dtype=bool)
    for candidate in rng.permutation(len(counts)):
        count = counts[candidate]
        nearer = count @ (2 * (held - target) + count) < 0
        if nearer and ((count == 0) | (held + count < total)).all():
            held += count
            chosen[candidate] = True
    return chosen[unit]


def assign_splits(
    table: pd.DataFrame, val_fraction: float, test_fraction: float, seed: int
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Complete the ``split`` column ("" where the data say nothing) and say how.

    Validation is drawn from train where the data bring none; a test split only where they bring no split at
    all. Rows of one subject or group never stand on both sides of a draw.

    Raises:
        DataError: Some rows have a split and some have none, train is missing, or one person is all there is.
    """
    known = set(table["split"])
    if "" in known and len(known) > 1:
        rows = int((table["split"] == "").sum())
        raise DataError(f"Expected a split for every row or for none, but {rows} of {len(table)} have none.")
    if "" not in known and "train" not in known:
        raise DataError(f"Expected a training split, but found only {', '.join(sorted(known))}.")
    table = table.assign(split=table["split"].where(table["split"] != "", "train"))
    shares = {}
    if known == {""}:
        # The validation share is of everything, but is drawn from what testing leaves.
        shares = {"test": test_fraction, "val": val_fraction / (1 - test_fraction)}
    elif "val" not in known:
        shares = {"val": val_fraction}
    drawn = [_move(table, split, share, seed) for split, share in shares.items() if share > 0]
    if "val" in shares and val_fraction == 0:
        has_test = (table["split"] == "test").any()
        drawn.append("Validation uses the test split." if has_test else "There is no validation split.")
    return table, tuple(drawn)


def _move(table: pd.DataFrame, split: str, share: float, seed: int) -> str:
    """Move a share of the training rows to ``split``, in place, and say so."""
    train = np.flatnonzero(table["split"] == "train")
    unit, kind = _units(table.iloc[train])
    rng = np.random.default_rng((seed, SPLITS.index(split)))
    held = train[hold_out(table["label"].to_numpy()[train], unit, share, rng)]
    if not len(held):
        units = int(unit.max()) + 1
        raise DataError(
            f"Cannot hold out {share:.0%} of {len(train)} training pictures for {split} without breaking up "
            f"a {kind} or emptying a class: there are {units} of them, so that one is about {1 / units:.0%}. Raise "
            f"{split}_fraction (--data.{split}_fraction; `eac data --{split}-fraction`), give a split, or set "
            f"{split}_fraction=0."
        )
    table.loc[table.index[held], "split"] = split
    whole = "" if kind == "picture" else f", no {kind} on both sides"
    return f"{len(held)} of {len(train)} training pictures became {split}, stratified by seed {seed}{whole}."


def _units(table: pd.DataFrame) -> tuple[NDArray[np.int64], str]:
    """Return for each row the number of the unit that must stay whole, and what to call it.

    Where both are known, rows that share a subject or a group, also through others, are one unit.
    """
    unit = pd.Series(np.arange(len(table)), index=table.index)
    columns = [name for name in ("subject", "group") if (table[name] != "").any()]
    before = None
    while before is None or not unit.equals(before):
        before = unit
        for name in columns:
            joined = unit.groupby(table[name]).transform("min")
            unit = unit.where(table[name] == "", joined)
    return np.unique(unit.to_numpy(), return_inverse=True)[1].reshape(-1), " or ".join(columns) or "picture"


def assign_folds(
    table: pd.DataFrame, folds: int, seed: int, class_names: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Deal the rows of a training split to folds: stratified by given label, no subject or group in two of them.

    Args:
        table: (N,) rows with ``label``, ``subject`` and ``group``.
        folds: At least 2.
        seed: Seed of the deal.
        class_names: What an error calls the classes; None for their numbers.

    Returns:
        (N,) fold of each row, in [0, folds).

    Raises:
        ConfigurationError: If there are fewer than two folds.
        DataError: If there are fewer rows, or subjects, than folds, or all faces of a class are in one fold.
    """
    if folds < 2:
        raise ConfigurationError(f"Expected at least 2 folds, but got {folds}.")
    unit, kind = _units(table)
    if unit.max(initial=-1) + 1 < folds:
        raise DataError(
            f"Expected at least as many {kind}s as folds, but there are {unit.max(initial=-1) + 1} for {folds} folds. "
            "Ask for fewer folds."
        )
    label = table["label"].to_numpy()
    rng = np.random.default_rng(seed)
    fold = _deal_singly(label, folds, rng) if kind == "picture" else _deal_whole(label, unit, folds, rng)
    held = pd.crosstab(label, fold).to_numpy() > 0
    lone = [
        f"{class_names[k] if class_names else f'class {k}'} (fold {held[row].argmax()})"
        for row, k in enumerate(np.unique(label))
        if held[row].sum() == 1
    ]
    if lone:
        raise DataError(
            f"Expected each class in at least two of {folds} folds, so that it can be learned while one is held out, "
            f"but all faces of {', '.join(lone)} are in one: a class needs two {kind}s, or more where they are shared. "
            "Add some, ask for other folds, or name the other classes in classes."
        )
    return fold


def _deal_singly(label: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal samples in turn, class after class: no fold has two more of a class, or of all, than another."""
    fold = np.zeros(len(label), dtype=np.int64)
    shuffled = rng.permutation(len(label))
    by_class = shuffled[np.argsort(label[shuffled], kind="stable")]
    fold[by_class] = np.arange(len(label)) % folds
    return fold


def _deal_whole(
    label: NDArray[np.int64], unit: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal units, large ones first, each to the fold that has least of its classes; an empty one has least."""
    counts = np.zeros((unit.max() + 1, label.max() + 1), dtype=np.int64)
    np.add.at(counts, (unit, label), 1)
    held = np.zeros((folds, counts.shape[1]), dtype=np.int64)
    dealt = np.zeros(len(counts), dtype=np.int64)
    shuffled = rng.permutation(len(counts))
    for number in shuffled[np.argsort(-counts[shuffled].sum(1), kind="stable")]:
        dealt[number] = np.lexsort((held.sum(1), held @ counts[number]))[0]
        held[dealt[number]] += counts[number]
    fold: NDArray[np.int64] = dealt[unit]
    return fold
