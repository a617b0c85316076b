"""ExpW: photographs with several faces, each with its box and an expression, in one list."""

from pathlib import Path

import numpy as np
import pandas as pd

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import check_inside
from eac_lightning.data.text_tables import read_text
from eac_lightning.errors import DataError

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
LABELS = ("label/label.lst", "label.lst")
IMAGES = ("image/origin", "image", "origin")
NEEDS = "label/label.lst and image/"
_LINE = (
    r"(?P<name>.*\S)\s+(?P<face>[0-9]+)\s+(?P<top>-?[0-9]{1,9})\s+(?P<left>-?[0-9]{1,9})"
    r"\s+(?P<right>-?[0-9]{1,9})\s+(?P<bottom>-?[0-9]{1,9})"
    rf"\s+(?P<confidence>\S+)\s+(?P<label>[0-{len(CLASSES) - 1}])"
)


def _find(root: Path) -> tuple[Path | None, Path | None]:
    """Return the list and the folder of pictures."""
    labels = next((root / name for name in LABELS if (root / name).is_file()), None)
    return labels, next((root / name for name in IMAGES if (root / name).is_dir()), None)


def recognise(root: Path, options: Options) -> str:
    """Say that list and pictures are there."""
    del options
    labels, images = _find(root)
    return f"{labels.name} and {images.name}/ are there" if labels and images else ""


def read(root: Path, options: Options) -> Rows:
    """Read lines of name, face, box (top, left, right, bottom), confidence and class; faces of one picture are a group.

    A face is called by its picture and its own number: ``image/origin/photo.jpg#0``.

    Raises:
        DataError: The list or the folder is missing, or a line is not of its form.
    """
    labels, images = _find(root)
    if labels is None or images is None:
        raise DataError(f"Expected {NEEDS} in {root}, but {'the pictures are' if labels else 'the list is'} missing.")
    check_inside(root, labels, options.allow_outside)
    lines = pd.Series(read_text(labels, "list").splitlines(), dtype=object).str.strip()
    fields = lines.str.extract(f"^{_LINE}$")
    stray = lines.index[fields["label"].isna() & (lines != "")]
    if len(stray):
        raise DataError(
            "Expected lines of image_name face_id_in_image face_box_top face_box_left face_box_right face_box_bottom "
            f"face_box_cascade_confidence expression_label in {labels}, the last from 0 to {len(CLASSES) - 1}, but "
            f"line {stray[0] + 1} is {lines[stray[0]][:80]!r}, and so are {len(stray)} in all."
        )
    fields = fields[lines != ""].reset_index(drop=True)
    file = f"{images.relative_to(root).as_posix()}/" + fields["name"]
    path = file + "#" + fields["face"]
    bad = pd.Series("", index=path.index, dtype=object).mask(path.duplicated(), "listed before")
    box = fields[["left", "top", "right", "bottom"]].astype(np.int32).to_numpy()
    table = make_table(path.tolist(), fields["label"].astype(np.int64), group=file.tolist(), bad=bad.tolist())
    return Rows(root, table, CLASSES, boxes=box)
