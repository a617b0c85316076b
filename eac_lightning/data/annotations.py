"""What is known of a data set before any picture is decoded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.boxes import cut_box, picture_file
from eac_lightning.data.decoding import decode_image
from eac_lightning.data.emotions import choose_classes
from eac_lightning.data.layouts import LAYOUTS, VOTES, Options, Rows, choose_layout
from eac_lightning.data.pictures import is_writable, printable, why_unusable
from eac_lightning.data.splits import assign_splits, check_fractions
from eac_lightning.errors import ConfigurationError, DataError, EACError, unknown_name
from eac_lightning.labels.label_table import refuse
from eac_lightning.labels.votes import describe_agreement, soft_labels

ON_BAD_IMAGE = ("error", "skip")
SHOWN = 20
"""How many lines of a list are shown before the rest is only counted."""


@dataclass(frozen=True)
class Annotations:
    """What is known of a data set before any picture is decoded.

    Attributes:
        table: N rows, whose index 0..N-1 is the stable sample id. Columns: ``path`` (relative to ``root``, or
            ``"fer2013.csv:123"``, file and line, where pixels stand in a table, or ``"photo.jpg#2"``, file and
            face, where one holds several; unique), ``label`` (int64, the given
            label in [0, K)), ``clean_label`` (int64, -1 where unknown), ``split`` ("train", "val", "test", or
            ``LEFT_OUT`` where corrections drop the picture), ``subject`` and ``group`` ("" where unknown).
        class_names: The K classes.
        layout: The layout that was read.
        root: The folder that paths are relative to.
        images: (N, H, W) or (N, H, W, 3) uint8 where the layout holds pixels instead of files.
        votes: (N, K) int32, how many people named each class, where several were asked; never changed.
        boxes: (N, 4) int32, left, top, right and bottom of each face, where pictures hold more than it.
        notes: What was chosen, assumed, left out and counted, in sentences for the user.
        left_out: (path, reason) of every picture that ``on_bad_image="skip"`` left out.
    """

    table: pd.DataFrame
    class_names: tuple[str, ...]
    layout: str
    root: Path
    images: NDArray[np.uint8] | None = None
    votes: NDArray[np.int32] | None = None
    boxes: NDArray[np.int32] | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def soft_labels(self) -> NDArray[np.float32] | None:
        """(N, K) distributions of the votes, see ``labels.votes.soft_labels``; None where nobody voted."""
        return None if self.votes is None else soft_labels(self.votes, self.table["label"].to_numpy())

    def picture(self, row: int) -> NDArray[np.uint8]:
        """Return the pixels of a row, wherever they are: in memory, in a file, or in a box of one.

        May be called from many threads.

        Returns:
            (H, W) for a grey picture, else (H, W, 3) RGB.

        Raises:
            DataError: With the reason, if the file cannot be read or the box holds nothing of it.
        """
        if self.images is not None:
            pixels: NDArray[np.uint8] = self.images[row]
            return pixels
        path: str = self.table["path"].iloc[row]
        if self.boxes is None:
            return decode_image(self.root / path)
        return cut_box(decode_image(self.root / picture_file(path)), self.boxes[row])


def read_annotations(
    root: str | Path,
    layout: str = "auto",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    votes: str = "majority",
    angles: Sequence[str] = ("S",),
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    on_bad_image: str = "error",
    allow_outside: bool = False,
) -> Annotations:
    """Read the labels and splits of a data set on disk.

    Args:
        root: The data set's folder, or the table itself.
        layout: One of ``LAYOUTS``, or "auto", which recognises it and says in the notes why.
        classes: Subset and order of the classes, in any spelling; rows of others are left out and counted.
        columns: For the table layout: column names by role (path, label, split, clean_label, subject, group).
        votes: For FER+: "majority", "plurality", "above_half" or "soft"; see ``ferplus.label_votes``.
        angles: For KDEF: the views to read, of "FL", "HL", "S", "HR" and "FR", full left to full right.
        val_fraction: Share in [0, 1) that is split off for validation where the data bring none.
        test_fraction: Share in [0, 1) that is split off for testing where the data bring no split at all.
        seed: Seed of those splits.
        on_bad_image: "error" raises at missing files and malformed rows of pixels; "skip" leaves them out.
        allow_outside: Whether tables and links may lead out of the root, see ``pictures.why_unusable``.

    Raises:
        ConfigurationError: An argument asks for something that cannot be.
        DataError: The data set is not what its layout should be.
    """
    check_fractions(val_fraction, test_fraction)
    if votes not in VOTES:
        raise unknown_name("votes", votes, VOTES)
    if on_bad_image not in ON_BAD_IMAGE:
        raise unknown_name("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root).expanduser()
    wanted = None if classes is None else tuple(map(str, classes))
    options = Options(wanted, dict(columns or {}), votes, tuple(angles), allow_outside)
    _check_names([str(root)], "Paths of data sets")
    with _named_after(root):
        name, reason = choose_layout(root, layout, options)
        found = LAYOUTS[name].read(root, options)
    _check_names(found.class_names, f"Classes in {root}")
    if columns and name != "table":
        raise ConfigurationError(f"columns name the columns of a table, but the layout of {root} is {name!r}.")
    rows, class_names = _select_classes(found, options.classes)
    rows, left_out = _leave_out_bad(rows, on_bad_image, allow_outside)
    if rows.table.empty:
        raise DataError(f"No labelled picture is left in {root}. " + " ".join(rows.notes))
    try:
        table, split_notes = assign_splits(rows.table, val_fraction, test_fraction, seed)
    except DataError as error:
        raise DataError(f"In {root}: {error}") from None
    _check_classes(table, class_names, root)
    notes = (f"Layout {name}: {reason}.", *rows.notes, *split_notes, *_label_notes(table, class_names, rows.votes))
    notes = tuple(map(printable, notes))
    return Annotations(table, class_names, name, rows.root, rows.images, rows.votes, rows.boxes, notes, left_out)


@contextmanager
def _named_after(root: Path) -> Iterator[None]:
    """Turn what a file system or a parser raises into an error that names the data set."""
    try:
        yield
    except EACError:
        raise
    except Exception as error:  # Arrow and NumPy raise whatever a broken file makes them stumble over
        raise DataError(f"Cannot read the data set in {root} ({type(error).__name__}: {error}).") from error


def _check_names(names: Sequence[str], what: str) -> None:
    """Refuse names that no table, checkpoint or terminal could show."""
    strange = [printable(name) for name in names if not is_writable(name)]
    refuse(strange, f"{what} whose names hold control characters, or bytes that are not UTF-8; rename them")


def _select_classes(rows: Rows, wanted: Sequence[str] | None) -> tuple[Rows, tuple[str, ...]]:
    """Translate a reader's own classes into the chosen ones and leave out the rows of others."""
    names, index = choose_classes(rows.class_names, wanted)
    notes = list(rows.notes)
    merged = [old for old, new in zip(rows.class_names, index, strict=True) if (index == new).sum() > 1 and new >= 0]
    if merged:
        notes.append(f"Spellings of one class were joined: {', '.join(merged)}.")
    label = rows.table["label"].to_numpy()
    clean = rows.table["clean_label"].to_numpy()
    # The appended -1 is what an unknown clean label, itself -1, looks up.
    new_clean = np.append(index, -1)[clean]
    table = rows.table.assign(label=index[label], clean_label=new_clean)
    keep = table["label"].to_numpy() >= 0
    if not keep.all():
        counts = np.bincount(label[~keep], minlength=len(index))
        listed = ", ".join(f"{rows.class_names[code]} {counts[code]}" for code in np.flatnonzero(counts))
        notes.append(f"Left out {int((~keep).sum())} rows of classes that were not asked for: {listed}.")
    outside = int((keep & (clean >= 0) & (new_clean < 0)).sum())
    if outside:
        notes.append(f"{outside} clean labels are of classes that were left out, and count as unknown.")
    rows = replace(rows, table=table, notes=tuple(notes))
    if rows.votes is not None:
        rows = replace(rows, votes=rows.votes @ (index[:, None] == np.arange(len(names))).astype(np.int32))
    return rows.take(keep), names


def _leave_out_bad(rows: Rows, on_bad_image: str, allow_outside: bool) -> tuple[Rows, tuple[tuple[str, str], ...]]:
    """Raise at, or leave out, pictures that are missing, malformed or not to be read."""
    paths = rows.table["path"].tolist()
    bad = list(rows.table["bad"])
    if rows.images is None:
        files = paths if rows.boxes is None else map(picture_file, paths)
        unusable = why_unusable(rows.root, files, allow_outside)
        bad = [why or also for why, also in zip(bad, unusable, strict=True)]
    left_out = tuple((printable(path), reason) for path, reason in zip(paths, bad, strict=True) if reason)
    if left_out and on_bad_image == "error":
        listed = "".join(f"\n  {path}: {reason}" for path, reason in left_out[:SHOWN])
        more = f"\n  … and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        raise DataError(
            f"Expected {len(paths)} readable pictures in {rows.root}, but {len(left_out)} are missing or "
            f"malformed:{listed}{more}\nWhat cannot be decoded is not looked for yet: `eac data` lists every broken "
            "picture. Correct them, or leave them out with on_bad_image='skip' (--data.on_bad_image skip)."
        )
    notes = rows.notes
    if left_out:
        notes = (*notes, f"Left out {len(left_out)} pictures that are missing or malformed.")
    kept = rows.take(np.array([not reason for reason in bad], dtype=bool))
    return replace(kept, table=kept.table.drop(columns="bad"), notes=notes), left_out


def _label_notes(table: pd.DataFrame, class_names: tuple[str, ...], votes: NDArray[np.int32] | None) -> list[str]:
    """Say how far raters agree, and how far given and clean labels do, where that is known."""
    notes = [] if votes is None else [describe_agreement(votes, class_names)]
    known = table[(table["split"] == "train") & (table["clean_label"] >= 0)]
    if len(known):
        wrong = (known["label"] != known["clean_label"]).mean()
        notes.append(f"The given label differs from the clean one on {wrong:.1%} of {len(known)} training faces.")
    return [note for note in notes if note]


def _check_classes(table: pd.DataFrame, class_names: tuple[str, ...], root: Path) -> None:
    """Refuse a single class, and classes that cannot be learned because train has none of them."""
    if len(class_names) < 2:
        raise DataError(
            f"Expected at least two classes in {root}, but found only {class_names[0]!r}. Of folders, give "
            "the one right above the classes, or above train and test."
        )
    counts = np.bincount(table.loc[table["split"] == "train", "label"], minlength=len(class_names))
    missing = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if missing:
        present = [name for name in class_names if name not in missing]
        raise DataError(
            f"Expected every class in the training split of {root}, but it has no {', '.join(missing)}. "
            f"Add pictures, or leave the class out with classes={present}."
        )
