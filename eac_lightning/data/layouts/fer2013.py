"""FER2013: one table that holds the pixels of 48 by 48 grey faces as text."""

import csv
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import check_inside
from eac_lightning.data.splits import canonical_split
from eac_lightning.errors import DataError
from eac_lightning.labels.label_table import refuse, repeated

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FILES = ("fer2013.csv", "icml_face_data.csv")
NEEDS = "fer2013.csv or icml_face_data.csv, with the columns emotion, pixels and Usage"
SIDE = 48


def pixel_table(root: Path) -> Path | None:
    """Return the file of pixels: ``root`` itself, or the one in it; None if there is none."""
    if root.is_file():
        return root if root.suffix.lower() == ".csv" and "pixels" in _header(root) else None
    return next((root / name for name in FILES if (root / name).is_file()), None)


def recognise(root: Path, options: Options) -> str:
    """Say which table of pixels is there."""
    del options
    path = pixel_table(root)
    return f"{path.name} holds pixels" if path else ""


def read(root: Path, options: Options) -> Rows:
    """Read the table of pixels with its own labels.

    Raises:
        DataError: There is no such table, or it lacks a column.
    """
    path = pixel_table(root)
    if path is None:
        raise DataError(f"Expected {NEEDS} in {root}, but it is not there.")
    check_inside(root, path, options.allow_outside)
    return read_pixels(path)


def read_pixels(path: Path, classes: tuple[str, ...] = CLASSES) -> Rows:
    """Read every row, in the file's order; malformed ones are kept, with the reason in the column ``bad``.

    Args:
        path: The table.
        classes: What the codes 0, 1, … of its column emotion mean.

    Raises:
        DataError: The table lacks a column or has no rows.
    """
    paths, labels, splits, bad = [], [], [], []
    images = []
    header = _header(path)
    refuse(repeated(header), f"Columns that {path} has more than once")
    missing = {"emotion", "pixels"} - set(header)
    if missing:
        raise DataError(f"Expected the columns emotion and pixels in {path}, but found {', '.join(header)}.")
    with path.open(newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
        # Older numpy only warns at text that is no number.
        warnings.simplefilter("error", DeprecationWarning)
        lines = csv.reader(file, strict=True)
        next(lines)
        for fields in filter(None, lines):
            row = dict(zip(header, fields, strict=False))
            image, label, split, reason = _parse(row, len(classes), "Usage" in header)
            if len(fields) != len(header):
                reason = f"expected {len(header)} fields, but found {len(fields)}"
            paths.append(f"{path.name}:{lines.line_num}")
            images.append(image)
            labels.append(label)
            splits.append(split)
            bad.append(reason)
    if not paths:
        raise DataError(f"Expected rows of pixels in {path}, but there is only a header.")
    return Rows(path.parent, make_table(paths, labels, splits, bad=bad), classes, images=np.stack(images))


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return [name.strip() for name in next(csv.reader(file), [])]


def _parse(row: dict[str, str], count: int, has_usage: bool) -> tuple[NDArray[np.uint8], int, str, str]:
    """Return image (48, 48), label, split and what is wrong ("" if nothing)."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    emotion = row.get("emotion", "").strip()
    split = canonical_split(row.get("Usage", "")) or ""
    if emotion not in map(str, range(count)):
        return image, 0, split, f"expected an emotion from 0 to {count - 1}, but it is {emotion!r}"
    if has_usage and not split:
        return (
            image,
            int(emotion),
            "",
            f"expected a Usage such as Training, but it is {row.get('Usage', '')!r}",
        )
    try:
        # A wider type than the pixels', so that 300 is seen and not wrapped to 44.
        values = np.fromstring(row.get("pixels", ""), dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        return image, int(emotion), split, "expected pixels as numbers, but there is other text among them"
    if len(values) != SIDE * SIDE:
        return image, int(emotion), split, f"expected {SIDE * SIDE} pixels, but found {len(values)}"
    if values.min() < 0 or values.max() > 255:
        return (
            image,
            int(emotion),
            split,
            f"expected pixels from 0 to 255, but found {values.min()} to {values.max()}",
        )
    return values.reshape(SIDE, SIDE).astype(np.uint8), int(emotion), split, ""
