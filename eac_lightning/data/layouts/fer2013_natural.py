"""FER2013 with its own labels to train on, and FER+ votes to judge them by: natural noise with ground truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from eac_lightning.data.layouts import ferplus
from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.fer2013 import CLASSES

NEEDS = f"{ferplus.NEEDS}; read only where it is named"


def recognise(root: Path, options: Options) -> str:
    """Recognise nothing: who gives no name for FER2013 beside its votes wants the better labels."""
    del root, options
    return ""


def read(root: Path, options: Options) -> Rows:
    """Read the faces of FER2013: given label FER2013's, clean label what the FER+ votes say.

    Left out are faces whose votes give no label by ``options.votes``, as in ``ferplus.label_votes``, or give
    contempt, which FER2013 has no label for.

    Raises:
        DataError: A file or column is missing, or the two tables do not go row for row.
    """
    rows, votes = ferplus.read_faces(root, options)
    voted, reason = ferplus.label_votes(votes, options.votes)
    names = np.asarray(ferplus.CLASSES)[voted]
    reason = np.where((reason == "") & ~np.isin(names, CLASSES), names, reason)
    clean = (names[:, None] == np.asarray(CLASSES)).argmax(1)
    notes = (
        f"Given labels are FER2013's own; clean labels, which judge them, are FER+ votes, {options.votes}.",
        *ferplus.describe_left_out(reason),
    )
    order = [ferplus.CLASSES.index(name) for name in CLASSES]
    table = rows.table.assign(clean_label=clean)
    return replace(rows, table=table, notes=notes, votes=votes[:, order]).take(reason == "")
