"""The table of labels that goes with photographs, for their crops."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eac_lightning._files import replacing
from eac_lightning.data.layouts.table import find_tables, load_table
from eac_lightning.errors import DataError, unknown_name


def read_photo_table(root: Path, path_column: str, photographs: Sequence[str]) -> tuple[Path, pd.DataFrame] | None:
    """Return the table in a folder, if there is one that ``FERDataModule`` would read, and its path.

    Args:
        root: The folder.
        path_column: The column of the photographs' paths, relative to the folder or absolute; they become relative.
        photographs: All in the folder, relative to it with forward slashes.

    Raises:
        DataError: There are several, or it cannot be read, has no such column or names none of the photographs.
    """
    files = find_tables(root)
    if not files:
        return None
    if len(files) > 1:
        raise DataError(f"Expected at most one table in {root}, but found {', '.join(file.name for file in files)}.")
    frame = load_table(files[0])
    frame.columns = [str(name).strip() for name in frame.columns]
    if path_column not in frame.columns:
        hint = unknown_name("column", path_column, frame.columns)
        raise DataError(
            f"Expected a column {path_column!r} with the paths of the photographs in {files[0]}. {hint} "
            "Say which one it is (eac faces --path-column NAME)."
        )
    named = frame[path_column].map(lambda text: _relative(str(text).strip(), root))
    if not named.isin(photographs).any():
        first = f"; the first says {frame[path_column].iloc[0]!r}" if len(frame) else ""
        raise DataError(
            f"Expected the column {path_column!r} of {files[0]} to name photographs in {root}, by absolute paths or "
            f"relative to it, but not one of its {len(frame)} rows does{first}."
        )
    return files[0], frame.assign(**{path_column: named})


def _relative(text: str, root: Path) -> str:
    path = Path(os.path.normpath(text))
    if path.is_absolute():
        path = path.parent.resolve() / path.name
        if path.is_relative_to(root.resolve()):
            path = path.relative_to(root.resolve())
    return path.as_posix()


def write_crop_table(path: Path, frame: pd.DataFrame, path_column: str, crops: Mapping[str, Sequence[str]]) -> str:
    """Write the table again with a row for each crop and all its other columns as they were.

    Args:
        path: The file to write; its ending says the kind.
        frame: The photographs' table, as :func:`read_photo_table` returns it.
        path_column: The column of their paths.
        crops: The crops of each photograph.

    Returns:
        What was written and left out, in a sentence.
    """
    made = frame[path_column].map(lambda name: list(crops.get(name, ())))
    rows = frame.assign(**{path_column: made}).explode(path_column).dropna(subset=[path_column])
    with replacing(path) as partial:
        if path.suffix.lower() == ".parquet":
            rows.to_parquet(partial, index=False)
        else:
            rows.to_csv(partial, sep="\t" if path.suffix.lower() == ".tsv" else ",", index=False)
    without = sum(not names for names in made)
    return f"{path.name}: {len(rows)} rows; {without} of {len(frame)} photographs have no crop and are left out."
