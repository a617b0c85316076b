"""SFEW 2.0: frames of films, as they are or as aligned faces, in class folders of official splits."""

import re
from pathlib import Path

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.layouts.by_name import recognise_names, without_absent_classes
from eac_lightning.data.pictures import list_pictures
from eac_lightning.errors import DataError

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"Train": "train", "Val": "val", "Test": "test"}
ALIGNED = "_Aligned_Faces"
NEEDS = "{Train,Val}/<Class>/<film>_000519240_00000005.png, or {Train,Val}_Aligned_Faces/<Class>/…, also below Train/…"
_NAMES = re.compile(
    rf"(?:[^/]+/)?(?P<split>{'|'.join(SPLITS)})(?:/[^/]*{ALIGNED}[^/]*|{ALIGNED}[^/]*)?"
    rf"/(?P<code>{'|'.join(CLASSES)})/(?P<film>[^/]+?)_\d{{9}}_\d{{8}}\.\w+"
)


def recognise(root: Path, options: Options) -> str:
    """Say how pictures are called, in which an ordinary folder of classes differs."""
    del options
    # The test set, which comes first by name, has no classes.
    tops = sorted([*root.glob("Train*"), *root.glob("*/Train*")])
    return recognise_names(root, _NAMES, tops[0]) if tops else ""


def read(root: Path, options: Options) -> Rows:
    """Read aligned faces where there are any, else whole frames; a film is a group.

    Raises:
        DataError: There is no such picture.
    """
    paths = list_pictures(root, allow_outside=options.allow_outside)
    found = [match for match in map(_NAMES.fullmatch, paths) if match]
    aligned = [match for match in found if ALIGNED in match.string]
    taken = aligned or found
    if not taken:
        raise DataError(f"Expected {NEEDS} in {root}, but there is no such picture.")
    table = make_table(
        path=[match.string for match in taken],
        label=[CLASSES.index(match["code"]) for match in taken],
        split=[SPLITS[match["split"]] for match in taken],
        group=[match["film"] for match in taken],
    )
    return without_absent_classes(Rows(root, table, CLASSES, _notes(len(aligned), len(found), len(paths))))


def _notes(aligned: int, labelled: int, pictures: int) -> tuple[str, ...]:
    notes = ["Faces are the aligned ones." if aligned else "Pictures are whole frames: `eac faces` cuts faces out."]
    if aligned and labelled > aligned:
        notes.append(f"Left out {labelled - aligned} whole frames beside the aligned faces.")
    if pictures > labelled:
        notes.append(f"Left out {pictures - labelled} pictures in no class folder, as those of the test set are.")
    return tuple(notes)
