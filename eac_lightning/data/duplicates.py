"""Pictures that a data set holds more than once, the same or nearly so, and training without them."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.annotations import Annotations
from eac_lightning.data.perceptual_hash import near_pairs, thumbnail
from eac_lightning.data.splits import SPLITS
from eac_lightning.errors import DataError
from eac_lightning.types import LEFT_OUT

DUPLICATES = ("keep", "drop")


class Look(NamedTuple):
    """What became of one picture: a hash of its pixels, a thumbnail and (width, height), or why there are none."""

    digest: str = ""
    thumbnail: NDArray[np.uint8] | None = None
    size: tuple[int, int] | None = None
    reason: str = ""


def look_at(annotations: Annotations, rows: Iterable[int], near: bool = True) -> list[Look]:
    """Decode pictures, a thread a core, and keep what is needed to compare them.

    Args:
        annotations: As read.
        rows: Which rows of its table.
        near: Keep thumbnails, for what is nearly the same.
    """

    def look(row: int) -> Look:
        try:
            pixels = annotations.picture(row)
        except DataError as error:
            return Look(reason=str(error))
        # Pixels are compared, not files, so that a copy in another format is found too.
        digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
        return Look(digest, thumbnail(pixels) if near else None, (pixels.shape[1], pixels.shape[0]))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(look, rows))


@dataclass(frozen=True)
class Copies:
    """Which of N rows hold the same picture, and which pictures are nearly the same.

    Attributes:
        picture: (N,) int64: rows of one number hold the same pixels; numbered in the order of the rows.
        near: (P, 2) int64: numbers of pictures that are nearly the same, the lower one first, sorted; chains
            of them are not closed.
    """

    picture: NDArray[np.int64]
    near: NDArray[np.int64]

    @classmethod
    def among(cls, looks: Sequence[Look]) -> "Copies":
        """Compare all pictures; one that could not be read is like no other."""
        numbers: dict[str | int, int] = {}
        picture = [numbers.setdefault(look.digest or row, len(numbers)) for row, look in enumerate(looks)]
        _, rows = np.unique(np.array(picture, np.int64), return_index=True)
        # Only different pictures are compared, so that thousands of copies of one do not make millions of pairs.
        seen = [(number, looks[row].thumbnail) for number, row in enumerate(rows)]
        compared = [(number, small) for number, small in seen if small is not None]
        pairs = near_pairs(np.array([small for _, small in compared], np.uint8))
        return cls(np.array(picture, np.int64), np.array([number for number, _ in compared], np.int64)[pairs])

    def sets(self, near: bool = False) -> list[list[int]]:
        """Return the rows of each picture that occurs more than once.

        Args:
            near: Join sets that are nearly the same, and those that are so by way of a third.
        """
        joined = self.picture if not near else self._joined()[self.picture]
        sets: dict[int, list[int]] = {}
        for row, number in enumerate(joined.tolist()):
            sets.setdefault(number, []).append(row)
        return [rows for rows in sets.values() if len(rows) > 1]

    def beside(self, rows: NDArray[np.bool_], near: bool = False) -> NDArray[np.bool_]:
        """Return which of the N rows hold a picture that the chosen ``rows``, (N,), hold too.

        Args:
            rows: The chosen ones.
            near: Or one that is nearly the same as one of theirs, chains not followed.
        """
        chosen = np.zeros(self.picture.max(initial=-1) + 1, bool)
        chosen[self.picture[rows]] = True
        if near:
            first, second = self.near[chosen[self.near].any(1)].T
            chosen[first] = chosen[second] = True
        return chosen[self.picture]

    def first_of_each(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return ``rows``, (N,), without those that repeat, the same or nearly, an earlier one that stays."""
        numbers, first = np.unique(self.picture[rows], return_index=True)
        stays = np.zeros(self.picture.max(initial=-1) + 1, bool)
        stays[numbers] = True
        # In the order of the second, each first has been decided upon when it decides.
        for earlier, later in self.near[np.argsort(self.near[:, 1], kind="stable")].tolist():
            stays[later] &= not stays[earlier]
        kept = np.zeros(len(self.picture), bool)
        kept[np.flatnonzero(rows)[first]] = True
        return kept & stays[self.picture]

    def _joined(self) -> NDArray[np.int64]:
        """Return for each picture the lowest number that pairs, however many, lead to."""
        lowest = np.arange(self.picture.max(initial=-1) + 1)
        while True:
            lower = lowest.copy()
            for side in self.near.T:
                np.minimum.at(lower, side, lowest[self.near].min(1))
            lower = lower[lower]
            if np.array_equal(lower, lowest):
                return lowest
            lowest = lower


def leave_out_duplicates(annotations: Annotations) -> Annotations:
    """Take pictures out of the training split that are judged by, or that it has already.

    Out go training pictures that are the same, or nearly, as one of the validation or test split; of those that
    are alike within the training split, the first stays, with its label, whatever the labels of the others:
    which of them is right is not known here. Validation and test stay whole, so that figures compare with
    those of others, even where the two share pictures; the notes say how many.

    Args:
        annotations: Whose pictures to compare; those that cannot be read stay.

    Returns:
        The same rows; the split of those left out is ``LEFT_OUT``.
    """
    split = annotations.table["split"].to_numpy()
    rows = np.flatnonzero(np.isin(split, SPLITS))
    copies = Copies.among(look_at(annotations, rows))
    train, val, test = (split[rows] == name for name in SPLITS)
    leaks = train & copies.beside(val | test, near=True)
    kept = copies.first_of_each(train & ~leaks)
    dropped = np.zeros(len(split), bool)
    dropped[rows[train & ~kept]] = True
    notes = [
        f"Left out of training {leaks.sum()} pictures that val or test has too, the same or nearly, and "
        f"{(train & ~leaks & ~kept).sum()} that repeat another training picture."
    ]
    shared = (val & copies.beside(test, near=True)).sum()
    if shared:
        notes.append(f"{shared} val pictures are in test too, the same or nearly; both splits stay whole.")
    table = annotations.table.assign(split=annotations.table["split"].mask(dropped, LEFT_OUT))
    return replace(annotations, table=table, notes=(*annotations.notes, *notes))
