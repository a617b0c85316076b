"""KDEF: seventy people, twice each, seen from five sides; names say all of it."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.by_name import read_names, recognise_names
from eac_lightning.errors import ConfigurationError, unknown_name

CODES = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")
CLASSES = ("afraid", "angry", "disgusted", "happy", "neutral", "sad", "surprised")
ANGLES = ("FL", "HL", "S", "HR", "FR")
"""Full left profile, half left, straight, half right, full right profile."""

NAMES = re.compile(
    rf"(?:KDEF_and_AKDEF/)?(?:KDEF/)?(?:[AB][FM]\d\d/)?"
    rf"[AB](?P<subject>[FM]\d\d)(?P<code>{'|'.join(CODES)})(?P<angle>{'|'.join(ANGLES)})\.\w+",
    re.IGNORECASE,
)
NEEDS = "pictures called as AF01/AF01ANS.JPG, also below KDEF/ or KDEF_and_AKDEF/KDEF/"


def recognise(root: Path, options: Options) -> str:
    """Say how pictures are called."""
    del options
    return recognise_names(root, NAMES)


def read(root: Path, options: Options) -> Rows:
    """Read pictures called as ``AF01ANS.JPG``: session A, female, number 01, angry, straight.

    Session is no part of the subject: A and B show the same people. Angles that ``options.angles`` does not name are
    left out and counted.

    Raises:
        ConfigurationError: An angle is asked for that there is not, or none.
        DataError: There is no such picture.
    """
    if not options.angles:
        raise ConfigurationError(f"Expected at least one of the angles {', '.join(ANGLES)}, but got none.")
    for angle in options.angles:
        if angle not in ANGLES:
            raise unknown_name("angle", angle, ANGLES)
    rows = read_names(root, NAMES, CODES, CLASSES, NEEDS, options)
    angles = [match["angle"].upper() for match in map(NAMES.fullmatch, rows.table["path"]) if match]
    keep = np.isin(angles, options.angles)
    listed = ", ".join(f"{angle} {count}" for angle, count in Counter(angles).items() if angle not in options.angles)
    notes = (f"Left out {int((~keep).sum())} pictures of other angles: {listed}.",) if listed else ()
    return replace(rows, notes=rows.notes + notes).take(keep)
