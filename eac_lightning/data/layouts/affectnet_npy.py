"""AffectNet as it is given out since 2021: face crops, and a NumPy file for each of their annotations."""

from io import BytesIO
from pathlib import Path

import numpy as np

from eac_lightning.data.layouts.affectnet import CLASSES, OTHERS, describe_others
from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import check_inside, list_pictures
from eac_lightning.errors import DataError

FOLDERS = {"train_set": "train", "val_set": "val", "test_set": "test"}
NEEDS = "train_set/images/0.jpg and train_set/annotations/0_exp.npy, the same in val_set/"
_LARGEST = 4096


def recognise(root: Path, options: Options) -> str:
    """Say that pictures and annotations are there."""
    del options
    parts = ("train_set/images", "train_set/annotations")
    return "train_set/ holds images/ and annotations/" if all((root / part).is_dir() for part in parts) else ""


def read(root: Path, options: Options) -> Rows:
    """Read the expression of each picture; valence, arousal and landmarks are not read.

    Pictures without an expression, or with one that is no emotion, are left out and counted.

    Raises:
        DataError: There are no such folders, or no picture in one of them.
    """
    found = [name for name in FOLDERS if (root / name / "images").is_dir()]
    if not found:
        raise DataError(f"Expected {NEEDS} in {root}, but there is no such folder.")
    paths, codes, splits, bad, unlabelled = [], [], [], [], 0
    for name in found:
        annotations = root / name / "annotations"
        check_inside(root, annotations, options.allow_outside)
        for picture in list_pictures(root / name / "images", allow_outside=options.allow_outside):
            file = annotations / f"{Path(picture).stem}_exp.npy"
            if not file.is_file():
                unlabelled += 1
                continue
            if file.is_symlink():
                check_inside(root, file, options.allow_outside)
            code = _read_code(file)
            paths.append(f"{name}/images/{picture}")
            codes.append(code or 0)
            splits.append(FOLDERS[name])
            bad.append("" if code is not None else f"expected one number from 0 to 10 in {file.name}")
    label = np.array(codes, np.int64)
    without = [f"Left out {unlabelled} pictures without an expression."] if unlabelled else []
    table = make_table(paths, label % len(CLASSES), splits, bad=bad)
    return Rows(root, table, CLASSES, (*without, *describe_others(label))).take(label < len(CLASSES))


def _read_code(file: Path) -> int | None:
    """Return the one number in a file, whether saved as a number or as text; None if it holds anything else."""
    try:
        with file.open("rb") as stream:
            # Never unpickled, and never more of it than one number takes: the file may be anybody's.
            value = np.load(BytesIO(stream.read(_LARGEST)), allow_pickle=False)
            code = float(value.reshape(-1).astype(str).item())
    except Exception:  # a broken file makes the parser raise what it likes
        return None
    return int(code) if code in range(len(CLASSES) + len(OTHERS)) else None
