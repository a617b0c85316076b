"""Which rows train, which choose the epoch, which judge: given by the data, or drawn by seed."""

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
        raise DataError(
            f"Cannot hold out {share:.0%} of {len(train)} training pictures for {split} without breaking up "
            f"a {kind} or emptying a class. Give a split, or set {split}_fraction=0."
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
