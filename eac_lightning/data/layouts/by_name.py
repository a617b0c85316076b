"""What data sets have in common whose file names say who shows which expression."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import is_picture, list_pictures
from eac_lightning.errors import DataError

_LOOKED_AT = 200


def recognise_names(root: Path, pattern: re.Pattern[str], top: Path | None = None) -> str:
    """Say that most of the first pictures below ``top`` (or ``root``) are called so, by their paths from ``root``."""
    pictures = [name for name in islice(_walk(root, top or root), _LOOKED_AT) if is_picture(name)]
    named = [name for name in pictures if pattern.fullmatch(name)]
    return f"pictures are called as {named[0]}" if named and 2 * len(named) > len(pictures) else ""


def read_names(
    root: Path, pattern: re.Pattern[str], codes: Sequence[str], classes: tuple[str, ...], needs: str, options: Options
) -> Rows:
    """Read every picture that is called as ``pattern`` says; others are left out and counted.

    So are classes that no picture shows.

    Args:
        root: The data set's folder.
        pattern: Of paths from there, with the groups "subject" and "code".
        codes: What the group "code" says of each of ``classes``, in any case.
        classes: The data set's own.
        needs: What an error asks for.
        options: Whether links may lead out of the root.

    Raises:
        DataError: If no picture is called so.
    """
    paths = list_pictures(root, allow_outside=options.allow_outside)
    found = [match for match in map(pattern.fullmatch, paths) if match]
    if not found:
        raise DataError(f"Expected {needs} in {root}, but no picture is called so.")
    code = {text.casefold(): position for position, text in enumerate(codes)}
    table = make_table(
        path=[match.string for match in found],
        label=[code[match["code"].casefold()] for match in found],
        subject=[match["subject"].upper() for match in found],
    )
    others = [path for path in paths if not pattern.fullmatch(path)]
    shown = ", ".join(others[:3]) + (", …" if others[3:] else "")
    notes = (f"Left out {len(others)} pictures of other names: {shown}.",) if others else ()
    return without_absent_classes(Rows(root, table, classes, notes))


def without_absent_classes(rows: Rows) -> Rows:
    """Return the rows, which have labels alone, with the classes that these name; a note names the others."""
    codes, label = np.unique(rows.table["label"], return_inverse=True)
    absent = [name for code, name in enumerate(rows.class_names) if code not in codes]
    notes = (f"Left out classes that no picture shows: {', '.join(absent)}.",) if absent else ()
    return replace(
        rows,
        table=rows.table.assign(label=label),
        class_names=tuple(rows.class_names[code] for code in codes),
        notes=rows.notes + notes,
    )


def _walk(root: Path, top: Path) -> Iterator[str]:
    for folder, below, files in os.walk(top):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder, name).relative_to(root).as_posix() for name in sorted(files) if name[0] != ".")
