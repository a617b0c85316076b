"""Corrections: a table that replaces given labels, or says that a picture is of no use."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eac_lightning.labels.label_table import class_indices, read_label_table, refuse
from eac_lightning.types import LEFT_OUT

ACTIONS = ("accept", "change", "keep", "drop")
"""What a reviewer can say of a label: the suggestion is right, another class is, it is, or none is."""


class Corrected(NamedTuple):
    """What ``apply_overrides`` returns.

    Attributes:
        table: The annotation table with the corrected labels; the split of dropped pictures is ``LEFT_OUT``.
        changed: How many labels differ from before.
        kept: How many were reviewed and found right.
        dropped: How many pictures were left out.
    """

    table: pd.DataFrame
    changed: int
    kept: int
    dropped: int


def apply_overrides(table: pd.DataFrame, path: str | Path, class_names: tuple[str, ...]) -> Corrected:
    """Replace given labels by those of a corrections table.

    Args:
        table: An annotation table.
        path: CSV with the columns ``path``, as in the annotation table, and ``label``, a class name. Two more are
            read where they are there: ``action`` (one of ``ACTIONS`` or empty; ``drop`` leaves the picture out
            and needs no label) and ``given``, the label that was reviewed, which must be that of the data.
        class_names: The K classes.

    Raises:
        DataError: If the file cannot be read, lacks a column, names a picture, a class or an action that there
            is none of, was made for other labels, or says two things of one picture. All cases are listed.
    """
    path = Path(path)
    rows = read_label_table(path).reindex(columns=["path", "label", "action", "given"], fill_value="")
    known = set(table["path"])
    unknown = [name for name in dict.fromkeys(rows["path"]) if name not in known]
    where = "that are not in the data set, whose paths are relative to its root, or in a class that was left out"
    refuse(unknown, f"Pictures in {path} {where}")
    strange = [repr(action) for action in dict.fromkeys(rows["action"]) if action not in ("", *ACTIONS)]
    refuse(strange, f"Actions in {path} that are none of {', '.join(ACTIONS)}")
    own = table.drop_duplicates("path").set_index("path")["label"]
    _check_given(rows[rows["given"] != ""], own, path, class_names)
    drop = rows["action"] == "drop"
    new = pd.Series(-1, index=rows.index)
    new[~drop] = class_indices(rows.loc[~drop, "label"], class_names, path)
    by_path = new.groupby(rows["path"])
    conflicts = by_path.nunique().loc[lambda count: count > 1].index
    refuse(list(conflicts), f"Pictures to which {path} gives more than one label")
    keep = rows["action"] == "keep"
    moved = rows.loc[keep & (new != rows["path"].map(own)), "path"]
    refuse(list(dict.fromkeys(moved)), f"Pictures whose label {path} says to keep, but gives another")
    label = table["path"].map(by_path.first()).fillna(table["label"]).astype("int64")
    dropped = label == -1
    label = label.where(~dropped, table["label"])
    return Corrected(
        table.assign(label=label, split=table["split"].mask(dropped, LEFT_OUT)),
        changed=int((label != table["label"]).sum()),
        kept=rows.loc[keep, "path"].nunique(),
        dropped=int(dropped.sum()),
    )


def _check_given(rows: pd.DataFrame, own: "pd.Series[int]", path: Path, class_names: tuple[str, ...]) -> None:
    """Refuse corrections that were made while looking at other labels than the data have."""
    given = class_indices(rows["given"], class_names, path)
    label = rows["path"].map(own).to_numpy()
    differing = [
        f"{name} (reviewed as {class_names[seen]}, is {class_names[now]})"
        for name, seen, now in zip(rows["path"], given, label, strict=True)
        if seen != now
    ]
    refuse(
        differing,
        f"{path} was made for other labels. It must be of those that training was given, after noise and earlier "
        "corrections (give those first: --data.label_overrides '[first.csv,second.csv]'). Pictures whose given label "
        "differs",
    )
