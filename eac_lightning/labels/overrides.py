"""Corrections: a table that replaces given labels."""

from pathlib import Path

import pandas as pd

from eac_lightning.labels.label_table import class_indices, read_label_table, refuse


def apply_overrides(table: pd.DataFrame, path: str | Path, class_names: tuple[str, ...]) -> tuple[pd.DataFrame, int]:
    """Replace given labels by those of a corrections table.

    Args:
        table: An annotation table.
        path: CSV with the columns ``path``, as in the annotation table, and ``label``, a class name.
        class_names: The K classes.

    Returns:
        The table with the corrected labels, and how many differ from before.

    Raises:
        DataError: If the file cannot be read, lacks a column, names a picture or a class that the data set
            does not have, or gives a picture two labels. All cases are listed.
    """
    path = Path(path)
    corrections = read_label_table(path)
    new = pd.Series(class_indices(corrections["label"], class_names, path), index=corrections["path"])
    known = set(table["path"])
    unknown = [name for name in dict.fromkeys(new.index) if name not in known]
    refuse(unknown, f"Pictures in {path} that are not in the data set, or in a class that was left out")
    labels_each = new.groupby(level=0).nunique()
    refuse(list(labels_each.index[labels_each > 1]), f"Pictures to which {path} gives more than one label")
    new = new[~new.index.duplicated()]
    corrected = table["path"].map(new).fillna(table["label"]).astype("int64")
    return table.assign(label=corrected), int((corrected != table["label"]).sum())
