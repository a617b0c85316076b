"""What every layout's reader takes and gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from eac_lightning.data.pictures import UNWRITABLE, is_writable, printable

VOTES = ("majority", "plurality", "above_half", "soft")


@dataclass(frozen=True)
class Options:
    """The user's wishes that a reader needs to know.

    Attributes:
        classes: The classes that were asked for; None for all.
        columns: For tables: column names by role.
        votes: For FER+: one of ``VOTES``.
        angles: For KDEF: the views to read, of ``kdef.ANGLES``.
        allow_outside: Whether tables and links may lead out of the root.
    """

    classes: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    votes: str = "majority"
    angles: tuple[str, ...] = ("S",)
    allow_outside: bool = False


@dataclass(frozen=True)
class Rows:
    """What a reader found, before classes are chosen and splits are made.

    Attributes:
        root: The folder that paths are relative to.
        table: Made by ``make_table``, N rows in an order that does not depend on the file system.
        class_names: The data set's own classes, in its own spelling and order.
        notes: What the reader assumed, ignored and counted.
        images: (N, H, W) uint8 where the layout holds pixels.
        votes: (N, number of own classes) int32, how many people named each class, where several were asked.
        boxes: (N, 4) int32, left, top, right and bottom of each face, where pictures hold more than it.
    """

    root: Path
    table: pd.DataFrame
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    images: NDArray[np.uint8] | None = None
    votes: NDArray[np.int32] | None = None
    boxes: NDArray[np.int32] | None = None

    def take(self, keep: NDArray[np.bool_]) -> "Rows":
        """Return the rows where ``keep`` (N,) holds, numbered anew."""
        if keep.all():
            return self
        return replace(
            self,
            table=self.table[keep].reset_index(drop=True),
            images=None if self.images is None else self.images[keep],
            votes=None if self.votes is None else self.votes[keep],
            boxes=None if self.boxes is None else self.boxes[keep],
        )


class Layout(NamedTuple):
    """One way in which data sets lie on disk.

    Attributes:
        recognise: Says why a root looks like this layout ("" where it does not).
        read: Reads it.
        needs: What it consists of, for the error that nothing was recognised.
    """

    recognise: Callable[[Path, Options], str]
    read: Callable[[Path, Options], Rows]
    needs: str


def make_table(
    path: Sequence[str],
    label: ArrayLike,
    split: Sequence[str] | str = "",
    clean_label: ArrayLike = -1,
    subject: Sequence[str] | str = "",
    group: Sequence[str] | str = "",
    bad: Sequence[str] | str = "",
) -> pd.DataFrame:
    """Return the table of ``Rows``: ``split`` is canonical or "", ``bad`` says why a picture is unusable.

    So are those whose names cannot be written down, see ``pictures.is_writable``; they stand there with escapes.
    """
    table = pd.DataFrame({"path": list(map(printable, path)), "label": np.asarray(label, dtype=np.int64)})
    table = table.assign(
        clean_label=np.broadcast_to(np.asarray(clean_label, dtype=np.int64), len(table)),
        split=split,
        subject=subject,
        group=group,
        bad=bad,
    )
    table.loc[[not is_writable(name) for name in path], "bad"] = UNWRITABLE
    return table
