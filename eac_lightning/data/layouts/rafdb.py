"""RAF-DB, basic expressions: a list of labels and a folder of aligned faces."""

from pathlib import Path

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import check_inside
from eac_lightning.data.text_tables import read_text
from eac_lightning.errors import DataError
from eac_lightning.labels.label_table import refuse, repeated

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
LABELS = "EmoLabel/list_patition_label.txt"
IMAGES = "Image/aligned"
NEEDS = f"{LABELS} and {IMAGES}/, also below basic/"


def _base(root: Path) -> Path | None:
    """Return the folder that holds the label list, if there is one."""
    return next((base for base in (root, root / "basic") if (base / LABELS).is_file()), None)


def recognise(root: Path, options: Options) -> str:
    """Say that the label list is there."""
    del options
    base = _base(root)
    return f"{(base / LABELS).relative_to(root)} is there" if base else ""


def read(root: Path, options: Options) -> Rows:
    """Read lines such as ``train_00001.jpg 5``, the class counted from 1; the name says the split.

    Raises:
        DataError: The list is missing, or a line of it is not of that form.
    """
    base = _base(root)
    if base is None:
        raise DataError(f"Expected {LABELS} in {root} or its folder basic, but it is not there.")
    check_inside(root, base / LABELS, options.allow_outside)
    prefix = (base / IMAGES).relative_to(root).as_posix()
    paths, labels, splits = [], [], []
    for number, line in enumerate(read_text(base / LABELS).splitlines(), start=1):
        if not line.strip():
            continue
        name, _, code = line.strip().rpartition(" ")
        split, _, _ = name.partition("_")
        if split not in ("train", "test") or code not in map(str, range(1, len(CLASSES) + 1)):
            raise DataError(
                f"Expected a line such as 'train_00001.jpg 5', with a class from 1 to {len(CLASSES)}, in "
                f"{base / LABELS}, but line {number} is {line.strip()!r}."
            )
        stem, _, ending = name.strip().rpartition(".")
        paths.append(f"{prefix}/{stem}_aligned.{ending}")
        labels.append(int(code) - 1)
        splits.append(split)
    refuse(repeated(paths), f"Pictures that {base / LABELS} names more than once")
    return Rows(root, make_table(paths, labels, splits), CLASSES)
