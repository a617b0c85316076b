"""CK+ in 48 by 48 grey pixels: ckextended.csv, or class folders of pictures that are named after their sequence."""

import re
from dataclasses import replace
from pathlib import Path

from eac_lightning.data.layouts import table
from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.by_name import read_names, recognise_names
from eac_lightning.data.layouts.fer2013 import pixel_table, read_pixels
from eac_lightning.data.pictures import check_inside

CLASSES = ("anger", "disgust", "fear", "happy", "sadness", "surprise", "neutral", "contempt")
FILE = "ckextended.csv"
NAMES = re.compile(rf"(?:CK\+?48/)?(?P<code>{'|'.join(CLASSES)})/(?P<subject>S\d{{3}})_\d{{3}}_\d{{8}}\.\w+")
NEEDS = f"{FILE}, or pictures called as anger/S010_004_00000017.png, also below CK+48/"


def _table(root: Path) -> Path | None:
    path = root if root.is_file() else root / FILE
    return path if path.name == FILE and path.is_file() else None


def recognise(root: Path, options: Options) -> str:
    """Say that the table is there, or how pictures are called."""
    if _table(root):
        return f"{FILE} is there"
    # Whoever puts another table beside the pictures means that.
    return "" if pixel_table(root) or table.recognise(root, options) else recognise_names(root, NAMES)


def read(root: Path, options: Options) -> Rows:
    """Read the table, whose splits are its own; or the pictures, whose names say the person.

    Raises:
        DataError: There is neither, or the table lacks a column.
    """
    path = _table(root)
    if path is None:
        return read_names(root, NAMES, CLASSES, CLASSES, NEEDS, options)
    check_inside(root, path, options.allow_outside)
    rows = read_pixels(path, CLASSES)
    note = f"{FILE} does not say who is shown: one person may stand in several of its splits."
    return replace(rows, notes=(*rows.notes, note))
