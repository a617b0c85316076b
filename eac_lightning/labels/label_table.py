"""Tables that give pictures a label by path: what noise files and corrections have in common."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.emotions import matching_classes
from eac_lightning.data.text_tables import read_text_table
from eac_lightning.errors import DataError

_SHOWN = 20


def read_label_table(path: Path) -> pd.DataFrame:
    """Read a table with at least the columns ``path`` and ``label``, as text.

    Raises:
        DataError: If it cannot be read, lacks one of them, has a column twice or a line with more fields than columns.
    """
    table = read_text_table(path, "label table")
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
