"""AffectNet, the lists of manual annotations: photographs, face boxes and eleven codes, eight of them emotions."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import check_inside
from eac_lightning.errors import DataError

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
OTHERS = ("none", "uncertain", "no face")
"""What the codes after those of the classes mean."""

LISTS = {"training.csv": "train", "validation.csv": "val"}
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height",
    "facial_landmarks", "expression", "valence", "arousal",
)  # fmt: skip
FOLDER = "Manually_Annotated_file_lists"
IMAGES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated")
NEEDS = f"training.csv and validation.csv, also below {FOLDER}/, and Manually_Annotated_Images/"


def _lists(root: Path) -> list[Path]:
    folders = (root, root / FOLDER)
    found = ([folder / name for name in LISTS if (folder / name).is_file()] for folder in folders)
    return next(filter(None, found), [])


def _images(root: Path) -> Path | None:
    return next((root / name for name in IMAGES if (root / name).is_dir()), None)


def recognise(root: Path, options: Options) -> str:
    """Say which lists are there."""
    del options
    lists, images = _lists(root), _images(root)
    return f"{' and '.join(path.name for path in lists)} and {images.name}/ are there" if lists and images else ""


def read(root: Path, options: Options) -> Rows:
    """Read both lists, with or without a header; faces are cut out by their boxes.

    Faces that are no emotion, or that nobody could judge, are left out and counted.

    Raises:
        DataError: A list or the folder of pictures is missing, or a list is not of its form.
    """
    lists, images = _lists(root), _images(root)
    if not lists or images is None:
        raise DataError(f"Expected {NEEDS} in {root}, but {'the pictures are' if lists else 'the lists are'} missing.")
    for path in lists:
        check_inside(root, path, options.allow_outside)
    frame = pd.concat([_read_list(path) for path in lists], ignore_index=True)
    code = frame.pop("expression").to_numpy().astype(np.int64)
    keep = code < len(CLASSES)
    frame, code, notes = frame[keep].reset_index(drop=True), code[keep], describe_others(code)
    box, bad = _boxes(frame)
    bad = bad.mask(frame[COLUMNS[0]].duplicated(), "listed before")
    prefix = images.relative_to(root).as_posix()
    table = make_table((f"{prefix}/" + frame[COLUMNS[0]]).tolist(), code, frame["split"].tolist(), bad=bad.tolist())
    return Rows(root, table, CLASSES, notes, boxes=box)


def describe_others(code: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a note on codes (N,) that are none of the classes, if there are any."""
    counts = np.bincount(code, minlength=len(CLASSES) + len(OTHERS))[len(CLASSES) :]
    listed = ", ".join(f"{name} {count}" for name, count in zip(OTHERS, counts, strict=True) if count)
    return (f"Left out {counts.sum()} of {len(code)} faces that are no emotion: {listed}.",) if listed else ()


def _read_list(path: Path) -> pd.DataFrame:
    """Return path, box, expression and split; the landmarks, most of the file, are never kept."""
    used = [*range(5), COLUMNS.index("expression")]
    try:
        frame = pd.read_csv(path, header=None, usecols=used, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataError(f"Expected the columns {', '.join(COLUMNS)} in {path}, but: {str(error).strip()}.") from error
    frame.columns = [COLUMNS[position] for position in used]
    start = 1 if frame.iloc[0, 0] == COLUMNS[0] else 0
    for name in frame:
        frame[name] = frame[name].fillna("").str.strip()  # a line may be short
    frame = frame[start:]
    stray = np.flatnonzero(~frame["expression"].str.fullmatch("[0-9]|10"))
    if len(stray):
        raise DataError(
            f"Expected an expression from 0 to {len(CLASSES) + len(OTHERS) - 1} in the seventh column of {path}, but "
            f"in {len(stray)} rows, first row {stray[0] + start + 1}, it is {frame['expression'].iloc[stray[0]]!r}."
        )
    return frame.assign(split=LISTS[path.name])


def _boxes(frame: pd.DataFrame) -> tuple[NDArray[np.int32], "pd.Series[str]"]:
    """Return (N, 4) left, top, right and bottom, and for each row why there is no box."""
    sides = frame[list(COLUMNS[1:5])].apply(pd.to_numeric, errors="coerce").astype(float)  # no rows are text still
    usable = (sides.abs() < 2**30).all(axis=1)  # not NaN, and a sum of two fits into 32 bits
    left, top, width, height = sides.where(usable, 0).to_numpy().T
    bad = pd.Series("", index=frame.index, dtype=object).mask(~usable, "expected four numbers as its face box")
    return np.stack([left, top, left + width, top + height], axis=1).astype(np.int32), bad
