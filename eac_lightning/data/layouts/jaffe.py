"""JAFFE: ten women, whose pictures' names say who, which expression and which take."""

import re
from pathlib import Path

from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.by_name import read_names, recognise_names

CODES = ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
NAMES = re.compile(
    rf"(?:jaffe\w*/)?(?P<subject>[A-Z]{{2}})\.(?P<code>{'|'.join(CODES)})\d\.\d+\.\w+", re.IGNORECASE
)  # fmt: skip
NEEDS = "pictures called as KA.AN1.39.tiff, also below jaffe/"


def recognise(root: Path, options: Options) -> str:
    """Say how pictures are called."""
    del options
    return recognise_names(root, NAMES)


def read(root: Path, options: Options) -> Rows:
    """Read pictures called as ``KA.AN1.39.tiff``: person KA, anger, its first take, picture 39.

    Raises:
        DataError: There is no such picture.
    """
    return read_names(root, NAMES, CODES, CLASSES, NEEDS, options)
