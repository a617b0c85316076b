"""FERG: six drawn characters, with a folder for each of their expressions."""

import re
from pathlib import Path

from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.by_name import read_names, recognise_names

CLASSES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
NAMES = re.compile(rf"(?:FERG[^/]*/)?(?P<subject>[^/]+)/(?P=subject)_(?P<code>{'|'.join(CLASSES)})/[^/]+")
NEEDS = "<character>/<character>_<expression>/…, such as aia/aia_anger/aia_anger_1.png, also below FERG_DB_256/"


def recognise(root: Path, options: Options) -> str:
    """Say how pictures are called."""
    del options
    return recognise_names(root, NAMES)


def read(root: Path, options: Options) -> Rows:
    """Read ``<character>/<character>_<expression>/…``; the character is the subject.

    Raises:
        DataError: There is no such picture.
    """
    return read_names(root, NAMES, CLASSES, CLASSES, NEEDS, options)
