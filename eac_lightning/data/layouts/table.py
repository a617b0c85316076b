"""A table of paths and labels: CSV, TSV or Parquet."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.emotions import matching_classes, natural_key
from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import ALLOW_OUTSIDE, check_inside, out_of
from eac_lightning.data.splits import canonical_split
from eac_lightning.data.text_tables import read_text_table
from eac_lightning.errors import DataError, unknown_name
from eac_lightning.labels.label_table import refuse, repeated

ROLES = ("path", "label", "split", "clean_label", "subject", "group")
VOTES = "votes_"
"""How the columns begin that count, for each face, the people who named a class."""

ENDINGS = (".csv", ".tsv", ".parquet")
FILES = tuple(f"{stem}{ending}" for stem in ("labels", "annotations") for ending in ENDINGS)
NEEDS = f"one of {', '.join(FILES)}, or one *.parquet, with the columns path and label"


def recognise(root: Path, options: Options) -> str:
    """Say which table is there."""
    del options
    files = find_tables(root)
    return f"{files[0].name} is there" if len(files) == 1 else ""


def read(root: Path, options: Options) -> Rows:
    """Read a table whose paths are relative to its own folder.

    Labels are names or integers. Integers count the classes that were asked for by name; without such names,
    they are the classes' names themselves. Columns ``votes_<class>`` count the people who named each class; a class
    without one was named by nobody.

    Raises:
        ConfigurationError: ``options.columns`` gives a role that there is not.
        DataError: There is not exactly one table, or it is unreadable, lacks a column, has unusable values or
            gives a picture, by which noise and corrections name it, more than one row with a label.
    """
    files = find_tables(root)
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise DataError(f"Expected {NEEDS} in {root}, but found {found}. Give the file itself as root.")
    file = files[0]
    check_inside(root, file, options.allow_outside)
    frame = load_table(file)
    columns = _columns(frame, file, options)
    if (columns["path"] == "").any():
        raise DataError(f"Expected a path in every row of {file}, but {(columns['path'] == '').sum()} have none.")
    labelled = columns["label"] != ""
    notes = [] if labelled.all() else [f"Left out {(~labelled).sum()} rows of {file.name} without a label."]
    number = np.flatnonzero(labelled) + 2  # as a spreadsheet counts, whose first row is the header
    frame, columns = (table[labelled].reset_index(drop=True) for table in (frame, columns))
    refuse(
        repeated(columns["path"]),
        f"Expected one label a picture in {file} (several raters count in columns {VOTES}<class>). Paths in more rows",
    )
    names, keys, label = _encode(columns["label"], options.classes, file)
    clean, unmatched = _encode_clean(columns["clean_label"], names, keys)
    if unmatched:
        notes.append(f"Clean labels that no given label has count as unknown: {', '.join(unmatched)}.")
    leads_out = out_of(file.parent)
    table = make_table(
        path=columns["path"].tolist(),
        label=label,
        split=_splits(columns["split"], file),
        clean_label=clean,
        subject=columns["subject"].tolist(),
        group=columns["group"].tolist(),
        bad=[
            f"row {row} of {file.name} leads out of {file.parent}; {ALLOW_OUTSIDE}"
            if not options.allow_outside and leads_out(path)
            else ""
            for path, row in zip(columns["path"], number.tolist(), strict=True)
        ],
    )
    votes, not_counted = _votes(frame, names, keys, file)
    if not_counted:
        notes.append(f"Votes for what is no class do not count: {', '.join(not_counted)}.")
    return Rows(file.parent, table, names, tuple(notes), votes=votes)


def find_tables(root: Path) -> list[Path]:
    """Return the table that root is or holds; several where it is not clear which."""
    if root.is_file():
        return [root] if root.suffix.lower() in ENDINGS else []
    named = [root / name for name in FILES if (root / name).is_file()]
    return named[:1] or sorted(root.glob("*.parquet"))


def _columns(frame: pd.DataFrame, file: Path, options: Options) -> pd.DataFrame:
    """Return one column of stripped text for each role, "" where the file has none."""
    for role in options.columns:
        if role not in ROLES:
            raise unknown_name("role of a column", role, ROLES)
    columns = {}
    for role in ROLES:
        name = options.columns.get(role, role)
        if name in frame.columns:
            columns[role] = _text(frame[name])
        elif role in ("path", "label", *options.columns):
            hint = unknown_name("column", name, map(str, frame))
            raise DataError(
                f"Expected a column {name!r} for the {role} in {file}. {hint} "
                f"Say which one it is with columns={{{role!r}: …}} (eac fit --data.columns.{role} NAME, "
                f"eac data --columns {role}=NAME)."
            )
        else:
            columns[role] = pd.Series("", index=frame.index, dtype=object)
    return pd.DataFrame(columns)


def _text(column: "pd.Series[Any]") -> "pd.Series[str]":
    """Return stripped text, "" for NaN; integers that became floats for the sake of empty cells are so again."""
    text = column.astype("string").fillna("").str.strip()
    return text.str.replace(r"^(?:(-?[0-9]+)\.0+|[Nn]a[Nn])$", r"\1", regex=True).astype(object)


def load_table(file: Path) -> pd.DataFrame:
    """Return a table as it stands; the cells of CSV and TSV, whatever their separator, as text.

    Raises:
        DataError: It cannot be read, or has a column twice.
    """
    if file.suffix.lower() != ".parquet":
        return read_text_table(file)
    try:
        frame = pd.read_parquet(file).reset_index(drop=True)
    except Exception as error:  # Arrow raises whatever a broken file makes it stumble over
        raise DataError(f"Cannot read the table {file} ({type(error).__name__}: {error}).") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    refuse(repeated(frame.columns), f"Columns that {file} has more than once")
    return frame


def _encode(
    column: "pd.Series[str]", wanted: tuple[str, ...] | None, file: Path
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.int64]]:
    """Return the class names, what the table calls each, and for each row an index into them."""
    if not column.str.fullmatch("-?[0-9]{1,18}").all():
        names = tuple(sorted(set(column), key=natural_key))
        positions = {name: position for position, name in enumerate(names)}
        return names, names, np.array([positions[name] for name in column], dtype=np.int64)
    label = column.astype(np.int64).to_numpy()
    found = np.unique(label)
    by_name = wanted is not None and not any(name.isdecimal() for name in wanted)
    names = wanted if wanted is not None and by_name else tuple(map(str, found))
    codes = np.arange(len(names)) if by_name else found[found >= 0]
    outside = np.setdiff1d(found, codes)
    if len(outside):
        expected = f"from 0 to {len(names) - 1}, one for each of {', '.join(names)}" if by_name else "of 0 or above"
        raise DataError(
            f"Expected labels {expected}, in {file}, but found {', '.join(map(str, outside[:10]))} in "
            f"{np.isin(label, outside).sum()} rows."
        )
    return names, tuple(map(str, codes)), np.searchsorted(codes, label)


def _encode_clean(
    column: "pd.Series[str]", names: tuple[str, ...], keys: tuple[str, ...]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return for each row an index into the class names, -1 where unknown, and the texts that name none."""
    codes = {"": -1, "-1": -1}
    unmatched: list[str] = []
    for text in column.unique():
        if text not in codes:
            matches = matching_classes(text, keys) or matching_classes(text, names)
            codes[text] = matches[0] if matches else -1
            unmatched += [] if matches else [text]
    return np.array([codes[text] for text in column], dtype=np.int64), unmatched


def _votes(
    frame: pd.DataFrame, names: tuple[str, ...], keys: tuple[str, ...], file: Path
) -> tuple[NDArray[np.int32] | None, list[str]]:
    """Return the votes for each class, None if no column holds any, and the columns of votes for anything else."""
    votes = np.zeros((len(frame), len(names)), dtype=np.int32)
    found = {
        column: matching_classes(column.removeprefix(VOTES), keys)
        or matching_classes(column.removeprefix(VOTES), names)
        for column in frame.columns
        if column.startswith(VOTES)
    }
    counted = {column: positions[0] for column, positions in found.items() if positions}
    for column, position in counted.items():
        text = _text(frame[column]).replace("", "0")
        if not text.str.fullmatch("[0-9]{1,9}").all():
            raise DataError(f"Expected counts of votes in the column {column!r} of {file}, but found other text.")
        votes[:, position] += text.astype(np.int32).to_numpy()
    return (votes if counted else None), [column for column in found if column not in counted]


def _splits(column: "pd.Series[str]", file: Path) -> list[str]:
    """Return canonical splits, "" where there is none."""
    splits = {name: canonical_split(name) if name else "" for name in column.unique()}
    unknown = [name for name, split in splits.items() if split is None]
    if unknown:
        raise DataError(f"Expected splits such as train, val and test in {file}, but found {', '.join(unknown)}.")
    return [splits[name] or "" for name in column]
