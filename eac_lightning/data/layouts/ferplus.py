"""FER+: ten people's votes for each face of FER2013."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.layouts.base import Options, Rows
from eac_lightning.data.layouts.fer2013 import pixel_table, read_pixels
from eac_lightning.data.pictures import check_inside
from eac_lightning.data.splits import canonical_split
from eac_lightning.data.text_tables import read_text_table
from eac_lightning.errors import DataError

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*CLASSES, "unknown", "NF")
FILE = "fer2013new.csv"
NEEDS = f"{FILE} beside fer2013.csv or icml_face_data.csv, row for row"


def recognise(root: Path, options: Options) -> str:
    """Say that votes stand beside the pixels."""
    del options
    path = pixel_table(root) if root.is_dir() else None
    return f"{FILE} stands beside {path.name}" if path and (root / FILE).is_file() else ""


def read(root: Path, options: Options) -> Rows:
    """Read the faces of FER2013 with labels from the votes; those without a usable label are left out.

    Raises:
        DataError: A file or column is missing, or the two tables do not go row for row.
    """
    rows, votes = read_faces(root, options)
    label, reason = label_votes(votes, options.votes)
    notes = (f"Labels are FER+ votes, {options.votes}.", *describe_left_out(reason))
    table, votes = rows.table.assign(label=label), votes[:, : len(CLASSES)]
    return replace(rows, table=table, class_names=CLASSES, notes=notes, votes=votes).take(reason == "")


def read_faces(root: Path, options: Options) -> tuple[Rows, NDArray[np.int32]]:
    """Return every face of FER2013 with its own label, and the votes (N, 10) in the order of ``COLUMNS``.

    Raises:
        DataError: A file or column is missing, or the two tables do not go row for row.
    """
    path = pixel_table(root)
    if path is None or not (path.parent / FILE).is_file():
        raise DataError(f"Expected {NEEDS} in {root}, but they are not there.")
    check_inside(root, path, options.allow_outside)
    check_inside(path.parent, path.parent / FILE, options.allow_outside)
    votes, usage = _read_votes(path.parent / FILE)
    rows = read_pixels(path)
    if len(votes) != len(rows.table):
        raise DataError(
            f"Expected {FILE} to go row for row with {path}, but it has {len(votes)} rows and {path.name} "
            f"{len(rows.table)}. Take both from one source, and drop rows from neither."
        )
    stray = np.flatnonzero((rows.table["split"] != usage) & (rows.table["split"] != ""))
    if len(stray):
        raise DataError(
            f"Expected {FILE} to go row for row with {path}, but at {rows.table['path'][stray[0]]} the Usage "
            f"differs, as in {len(stray)} rows. Restore the original order of both."
        )
    return rows, votes


def describe_left_out(reason: NDArray[np.str_]) -> tuple[str, ...]:
    """Return a note on the rows whose ``reason`` (N,) is not "", if there are any."""
    counts = {why: int((reason == why).sum()) for why in dict.fromkeys(reason.tolist()) if why}
    listed = ", ".join(f"{why} {count}" for why, count in counts.items())
    return (f"Left out {sum(counts.values())} of {len(reason)} faces: {listed}.",) if counts else ()


def label_votes(votes: NDArray[np.int32], mode: str) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Turn votes into labels.

    Args:
        votes: (N, 10) counts in the order of ``COLUMNS``.
        mode: "majority" is the rule of the FER+ authors: answers that only one person gave do not count, and
            the winner has more than half of what is left. "above_half" asks for more than half of all votes,
            "plurality" for more than any other answer has. "soft" takes the first of the most-voted emotions,
            unless "unknown" or "not a face" has more votes than each of them.

    Returns:
        (N,) indices into ``CLASSES``, and (N,) why there is no label ("" where there is one).
    """
    if mode == "majority":
        votes = np.where(votes > 1, votes, 0)
    emotions = votes[:, : len(CLASSES)]
    most = votes.max(1)
    tied = (votes == most[:, None]).sum(1) > 1
    winner = votes.argmax(1)
    if mode == "soft":
        tied &= emotions.max(1) < most
    short = 2 * most <= votes.sum(1) if mode in ("majority", "above_half") else most == 0
    # Emotions stand first, so that argmax names one of them wherever one has as many votes as the rest.
    reason = np.select(
        [most == 0, tied, winner == len(CLASSES), winner > len(CLASSES), short],
        ["no votes", "tie", "unknown", "not a face", "no majority"],
        "",
    )
    return emotions.argmax(1), reason


def _read_votes(path: Path) -> tuple[NDArray[np.int32], list[str]]:
    """Return the votes (N, 10) and the canonical split of each row."""
    table = read_text_table(path)
    missing = [name for name in ("Usage", *COLUMNS) if name not in table.columns]
    if missing:
        raise DataError(f"Expected the columns {', '.join(missing)} in {path}, but found {', '.join(table.columns)}.")
    text = table[list(COLUMNS)].apply(lambda column: column.str.strip())
    wrong = np.flatnonzero(~text.apply(lambda column: column.str.fullmatch("[0-9]{1,9}")).all(axis=1))
    if len(wrong):
        raise DataError(
            f"Expected counts of votes in {path}, but found other text in {len(wrong)} lines, "
            f"the first of them line {wrong[0] + 2}."
        )
    return text.to_numpy().astype(np.int32), [canonical_split(usage) or "" for usage in table["Usage"]]
