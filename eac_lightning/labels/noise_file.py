"""Noisy labels in a file: a draw that can be shared, looked at and replayed."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning._files import replacing
from eac_lightning.data.layouts.rafdb import CLASSES as RAFDB_CLASSES
from eac_lightning.data.text_tables import read_text
from eac_lightning.errors import DataError
from eac_lightning.labels.label_table import class_indices, read_label_table, refuse, repeated
from eac_lightning.types import UNKNOWN_LABEL


def write_noise_file(path: str | Path, table: pd.DataFrame, class_names: Sequence[str]) -> None:
    """Write the labels of the training split as CSV: path, label, clean_label, changed (0 or 1).

    Args:
        path: The file; its folder is made.
        table: An annotation table after noise was drawn (columns path, label, clean_label, split).
        class_names: The K classes, which stand in the file by name; an unknown clean label stays empty.
    """
    train = table[table["split"] == "train"]
    names = np.asarray([*class_names, ""])  # the unknown label, -1, looks up the last
    label, clean = train["label"].to_numpy(), train["clean_label"].to_numpy()
    rows = pd.DataFrame(
        {
            "path": train["path"].to_numpy(),
            "label": names[label],
            "clean_label": names[clean],
            "changed": ((clean != UNKNOWN_LABEL) & (label != clean)).astype(int),
        }
    )
    with replacing(Path(path)) as partial:
        rows.to_csv(partial, index=False)


def read_noise_file(path: Path, paths: Sequence[str], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the label that the file gives to each of ``paths``.

    Args:
        path: What ``write_noise_file`` wrote, or a list such as ``train_00001.jpg 5``. Its labels count
            from 1 in RAF-DB's order where all classes are RAF-DB's, else in the order of ``class_names``.
            Names in a list may leave out the folder and the ``_aligned`` of the pictures.
        paths: The training pictures.
        class_names: The K classes.

    Raises:
        DataError: If the file cannot be read, names a picture twice, lacks one, or has an unknown label.
    """
    lines = read_text(path, "noise file").splitlines()
    wanted = list(paths)
    if lines and lines[0].startswith("path,"):
        table = read_label_table(path)
        names, labels = list(table["path"]), list(table["label"])
    else:
        names, labels = _parse_list(path, lines, class_names)
        if not set(wanted) <= set(names):
            names, wanted = [_short(name) for name in names], [_short(name) for name in wanted]
            refuse(repeated(wanted), f"Pictures that {path} cannot tell apart, since it names no folders")
    refuse(repeated(names), f"Pictures that {path} names more than once")
    given = dict(zip(names, labels, strict=True))
    refuse([name for name in wanted if name not in given], f"Training pictures that {path} has no label for")
    return class_indices([given[name] for name in wanted], class_names, path)


def _parse_list(path: Path, lines: list[str], class_names: Sequence[str]) -> tuple[list[str], list[str]]:
    known = RAFDB_CLASSES if set(class_names) <= set(RAFDB_CLASSES) else tuple(class_names)
    names, labels = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, code = line.strip().rpartition(" ")
        if code not in map(str, range(1, len(known) + 1)):
            raise DataError(
                f"Expected a line such as 'train_00001.jpg 5', with a class from 1 to {len(known)}, or the "
                f"header path,label,clean_label,changed, in {path}, but line {number} is "
                f"{line.strip()[:80]!r}."
            )
        names.append(name.strip())
        labels.append(known[int(code) - 1])
    return names, labels


def _short(name: str) -> str:
    pure = PurePosixPath(name)
    return pure.stem.removesuffix("_aligned") + pure.suffix
