"""Tables that give pictures a label by path: what noise files and corrections have in common."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.emotions import matching_classes
from eac_lightning.errors import DataError

_SHOWN = 20


def read_label_table(path: Path) -> pd.DataFrame:
    """Read a CSV file with at least the columns ``path`` and ``label``, as text.

    Raises:
        DataError: If it cannot be read, lacks one of them, has a column twice or a line with more fields than columns.
    """
    try:
        # As a header, the first line would hide a field too many in the next, and rename columns of one name.
        lines = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the label table {path}: {str(error).strip()}.") from error
    columns = lines.iloc[0]
    refuse(repeated(columns[columns != ""]), f"Columns that {path} has more than once")
    table = lines[1:].set_axis(columns.tolist(), axis=1).loc[:, (columns != "").tolist()].reset_index(drop=True)
    missing = [column for column in ("path", "label") if column not in table]
    if missing:
        raise DataError(
            f"Expected the columns path and label in {path}, but found {', '.join(table.columns)}: "
            f"{' and '.join(missing)} missing."
        )
    return table


def class_indices(names: Iterable[str], class_names: Sequence[str], path: Path | str) -> NDArray[np.int64]:
    """Return the index in ``class_names`` of each name, in any spelling of an expression.

    Raises:
        DataError: If a name is no class; lists all of them.
    """
    names = list(names)
    found = {name: matching_classes(name, class_names) for name in dict.fromkeys(names)}
    unknown = [repr(name) for name, matches in found.items() if not matches]
    refuse(unknown, f"Labels in {path} that are none of the classes {', '.join(class_names)}")
    return np.asarray([found[name][0] for name in names], np.int64)


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise one error that lists all ``problems``, if there are any.

    Raises:
        DataError: The first 20 and the count.
    """
    if problems:
        more = f", … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{what} ({len(problems)}): {', '.join(problems[:_SHOWN])}{more}.")
