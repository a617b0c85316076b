"""What is in a data set: classes, splits, broken files, duplicates and leaks."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eac_lightning.data.annotations import SHOWN, Annotations, read_annotations
from eac_lightning.data.decoding import decode_image
from eac_lightning.data.splits import SPLITS
from eac_lightning.errors import DataError

_Sets = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_dataset`` found.

    Attributes:
        root: The folder that paths are relative to.
        layout: The layout that was read.
        notes: Why that one, and what was assumed, left out and counted.
        counts: Pictures by class (rows) and split (columns).
        broken: (path, reason) of every picture that cannot be used.
        duplicates: Paths of identical pictures, a tuple for each set of them.
        leaks: Those of ``duplicates`` that stand in more than one split.
        conflicts: Those of ``duplicates`` that carry more than one label.
        leaked: By split, how many of its pictures stand in train as well.
        shared_subjects: People who stand in more than one split.
        smallest: (width, height) of the picture with the fewest pixels; None if none could be decoded.
        largest: The same for the most pixels.
    """

    root: Path
    layout: str
    notes: tuple[str, ...]
    counts: pd.DataFrame
    broken: tuple[tuple[str, str], ...]
    duplicates: _Sets
    leaks: _Sets
    conflicts: _Sets
    leaked: dict[str, int]
    shared_subjects: tuple[str, ...]
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None


class _Look(NamedTuple):
    """What became of one picture: a hash of its pixels and (width, height), or why there are none."""

    digest: str = ""
    size: tuple[int, int] | None = None
    reason: str = ""


def inspect_dataset(
    root: str | Path,
    layout: str = "auto",
    *,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    votes: str = "majority",
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Inspection:
    """Read a data set, decode every picture and compare them all.

    Args:
        root: As in ``read_annotations``, like all that follows.
        layout: Name of the layout, or "auto".
        classes: Subset and order of the classes.
        columns: Column names of a table, by role.
        votes: What makes a label of FER+ votes.
        val_fraction: Share for validation where the data bring none.
        test_fraction: Share for testing where the data bring no split.
        seed: Seed of those splits.

    Raises:
        ConfigurationError: An argument asks for something that cannot be.
        DataError: The data set is not what its layout should be; single broken pictures are reported instead.
    """
    data = read_annotations(
        root,
        layout,
        classes=classes,
        columns=columns,
        votes=votes,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        on_bad_image="skip",
    )
    paths: list[str] = data.table["path"].tolist()
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda row: _look(data, row, paths[row]), range(len(paths))))
    sizes = sorted((look.size for look in looks if look.size), key=lambda size: (size[0] * size[1], size))
    duplicates, leaks, conflicts, leaked = _duplicates(data.table, [look.digest for look in looks])
    broken = [(path, look.reason) for path, look in zip(paths, looks, strict=True) if look.reason]
    known = data.table[data.table["subject"] != ""]
    splits_by_subject = known.groupby("subject")["split"].nunique()
    return Inspection(
        root=data.root,
        layout=data.layout,
        notes=data.notes,
        counts=_counts(data),
        broken=(*data.left_out, *broken),
        duplicates=duplicates,
        leaks=leaks,
        conflicts=conflicts,
        leaked=leaked,
        shared_subjects=tuple(splits_by_subject.index[splits_by_subject > 1]),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
    )


def _look(data: Annotations, row: int, path: str) -> _Look:
    """Decode one picture; its pixels are compared, so that a copy in another file format is found too."""
    try:
        pixels = decode_image(data.root / path) if data.images is None else data.images[row]
    except DataError as error:
        return _Look(reason=str(error))
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return _Look(digest, (pixels.shape[1], pixels.shape[0]))


def _counts(data: Annotations) -> pd.DataFrame:
    counts = pd.crosstab(data.table["label"], data.table["split"])
    splits = [split for split in SPLITS if split in counts]
    counts = counts.reindex(index=range(len(data.class_names)), columns=splits, fill_value=0)
    return counts.set_axis(list(data.class_names), axis=0)


def _duplicates(table: pd.DataFrame, digests: list[str]) -> tuple[_Sets, _Sets, _Sets, dict[str, int]]:
    """Return sets of identical pictures, those across splits, those with several labels, and ``leaked``."""
    sets: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest:
            sets.setdefault(digest, []).append(row)
    path, split, label = (table[name].tolist() for name in ("path", "split", "label"))
    groups = [rows for rows in sets.values() if len(rows) > 1]
    leaks = [rows for rows in groups if len({split[row] for row in rows}) > 1]
    conflicts = [rows for rows in groups if len({label[row] for row in rows}) > 1]
    beside_train = [split[row] for rows in leaks if any(split[row] == "train" for row in rows) for row in rows]
    leaked = {name: beside_train.count(name) for name in SPLITS[1:] if name in split}
    named = [tuple(tuple(path[row] for row in rows) for rows in some) for some in (groups, leaks, conflicts)]
    return named[0], named[1], named[2], leaked


def render_inspection(inspection: Inspection) -> Group:
    """Return what ``eac data`` shows: notes, a table of counts, and what is wrong."""
    counts = Table("class", title=f"{inspection.root} ({inspection.layout})", title_justify="left")
    for name in (*inspection.counts.columns, "all"):
        counts.add_column(name, justify="right")
    for name, row in inspection.counts.iterrows():
        counts.add_row(Text(str(name)), *map(str, row), str(row.sum()))
    total = inspection.counts.sum()
    counts.add_row("all", *map(str, total), str(total.sum()), style="bold")
    facts = Table("", "", show_header=False, box=None)
    if inspection.smallest and inspection.largest:
        facts.add_row("smallest picture", "{} × {}".format(*inspection.smallest))
        facts.add_row("largest picture", "{} × {}".format(*inspection.largest))
    facts.add_row("broken pictures", str(len(inspection.broken)))
    facts.add_row("sets of identical pictures", str(len(inspection.duplicates)))
    facts.add_row("  across splits (leaks)", str(len(inspection.leaks)))
    for split, count in inspection.leaked.items():
        facts.add_row(f"  {split} pictures that train has too", str(count))
    facts.add_row("  with different labels", str(len(inspection.conflicts)))
    facts.add_row("subjects in several splits", str(len(inspection.shared_subjects)))
    lists = [
        _listing("Broken pictures", [f"{path}: {reason}" for path, reason in inspection.broken]),
        _listing("Leaks: identical pictures across splits", [" = ".join(paths) for paths in inspection.leaks]),
        _listing("Identical pictures with different labels", [" = ".join(paths) for paths in inspection.conflicts]),
    ]
    notes = [Text(f"• {note}") for note in inspection.notes]
    return Group(*notes, counts, facts, *(entry for entry in lists if entry.plain))


def _listing(title: str, lines: Sequence[str]) -> Text:
    """Return the first of ``lines`` under a title, or nothing."""
    if not lines:
        return Text()
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return Text("\n  ".join([f"{title} ({len(lines)})", *lines[:SHOWN], *more]))
