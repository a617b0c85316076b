"""What is in a data set: classes, splits, broken files, duplicates and leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eac_lightning.data.annotations import SHOWN, Annotations, read_annotations
from eac_lightning.data.duplicates import Copies, look_at
from eac_lightning.data.splits import SPLITS
from eac_lightning.labels.votes import rater_agreement

RATERS = ("votes of the winner", "unanimous", "kappa")
_Sets = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Repeats:
    """Pictures that a data set holds more than once.

    Attributes:
        sets: Their paths, a tuple for each set of them.
        leaks: Those of ``sets`` that stand in more than one split.
        conflicts: Those of ``sets`` that carry more than one label.
        leaked: By split, how many of its pictures stand in train as well.
    """

    sets: _Sets
    leaks: _Sets
    conflicts: _Sets
    leaked: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_dataset`` found.

    Attributes:
        root: The folder that paths are relative to.
        layout: The layout that was read.
        notes: Why that one, and what was assumed, left out and counted.
        counts: Pictures by class (rows) and split (columns).
        agreement: What ``labels.votes.rater_agreement`` says of the votes; None where nobody voted.
        broken: (path, reason) of every picture that cannot be used.
        identical: Pictures with the same pixels.
        near: Those and pictures that are nearly the same; None if they were not looked for.
        shared_subjects: People who stand in more than one split.
        smallest: (width, height) of the picture with the fewest pixels; None if none could be decoded.
        largest: The same for the most pixels.
    """

    root: Path
    layout: str
    notes: tuple[str, ...]
    counts: pd.DataFrame
    agreement: pd.DataFrame | None
    broken: tuple[tuple[str, str], ...]
    identical: Repeats
    near: Repeats | None
    shared_subjects: tuple[str, ...]
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None


def inspect_dataset(
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
    near: bool = True,
    allow_outside: bool = False,
) -> Inspection:
    """Read a data set, decode every picture and compare them all.

    Args:
        root: As in ``read_annotations``, like all that follows.
        layout: Name of the layout, or "auto".
        classes: Subset and order of the classes.
        columns: Column names of a table, by role.
        votes: What makes a label of FER+ votes.
        angles: Views of KDEF.
        val_fraction: Share for validation where the data bring none.
        test_fraction: Share for testing where the data bring no split.
        seed: Seed of those splits.
        near: Look for pictures that are nearly the same, in time that grows with N² (36,000 faces take 6 s
            of one core).
        allow_outside: Whether tables and links may lead out of the root.

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
        angles=angles,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        on_bad_image="skip",
        allow_outside=allow_outside,
    )
    paths: list[str] = data.table["path"].tolist()
    looks = look_at(data, range(len(paths)), near)
    copies = Copies.among(looks)
    sizes = sorted((look.size for look in looks if look.size), key=lambda size: (size[0] * size[1], size))
    broken = [(path, look.reason) for path, look in zip(paths, looks, strict=True) if look.reason]
    known = data.table[data.table["subject"] != ""]
    splits_by_subject = known.groupby("subject")["split"].nunique()
    return Inspection(
        root=data.root,
        layout=data.layout,
        notes=data.notes,
        counts=_counts(data),
        agreement=None if data.votes is None else rater_agreement(data.votes, data.class_names),
        broken=(*data.left_out, *broken),
        identical=_repeats(data.table, copies, near=False),
        near=_repeats(data.table, copies, near=True) if near else None,
        shared_subjects=tuple(splits_by_subject.index[splits_by_subject > 1]),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
    )


def _counts(data: Annotations) -> pd.DataFrame:
    counts = pd.crosstab(data.table["label"], data.table["split"])
    splits = [split for split in SPLITS if split in counts]
    counts = counts.reindex(index=range(len(data.class_names)), columns=splits, fill_value=0)
    return counts.set_axis(list(data.class_names), axis=0)


def _repeats(table: pd.DataFrame, copies: Copies, near: bool) -> Repeats:
    path, split, label = (table[name].tolist() for name in ("path", "split", "label"))
    sets = copies.sets(near)
    leaks = [rows for rows in sets if len({split[row] for row in rows}) > 1]
    conflicts = [rows for rows in sets if len({label[row] for row in rows}) > 1]
    beside_train = copies.beside((table["split"] == "train").to_numpy(), near)
    leaked = table["split"][beside_train].value_counts()
    beside = {name: int(leaked.get(name, 0)) for name in SPLITS[1:] if name in split}
    named = [tuple(tuple(path[row] for row in rows) for rows in some) for some in (sets, leaks, conflicts)]
    return Repeats(named[0], named[1], named[2], beside)


def render_inspection(inspection: Inspection) -> Group:
    """Return what ``eac data`` shows: notes, a table of counts, and what is wrong."""
    counts = Table("class", title=f"{inspection.root} ({inspection.layout})", title_justify="left")
    raters = _agreement_cells(inspection.agreement, len(inspection.counts) + 1)
    for name in (*inspection.counts.columns, "all", *(RATERS if inspection.agreement is not None else ())):
        counts.add_column(name, justify="right")
    for (name, row), cells in zip(inspection.counts.iterrows(), raters, strict=False):
        counts.add_row(Text(str(name)), *map(str, row), str(row.sum()), *cells)
    total = inspection.counts.sum()
    counts.add_row("all", *map(str, total), str(total.sum()), *raters[-1], style="bold")
    facts = Table("", "", show_header=False, box=None)
    if inspection.smallest and inspection.largest:
        facts.add_row("smallest picture", "{} × {}".format(*inspection.smallest))
        facts.add_row("largest picture", "{} × {}".format(*inspection.largest))
    facts.add_row("broken pictures", str(len(inspection.broken)))
    facts.add_row("subjects in several splits", str(len(inspection.shared_subjects)))
    same = inspection.identical
    lists = [
        _listing("Broken pictures", [f"{path}: {reason}" for path, reason in inspection.broken]),
        _listing("Leaks: identical pictures across splits", [" = ".join(paths) for paths in same.leaks]),
        _listing("Identical pictures with different labels", [" = ".join(paths) for paths in same.conflicts]),
    ]
    if inspection.near:
        more = [" ≈ ".join(paths) for paths in inspection.near.leaks if paths not in same.leaks]
        lists.append(_listing("Leaks: nearly identical pictures across splits", more))
    notes = [Text(f"• {note}") for note in inspection.notes]
    return Group(*notes, counts, facts, _repeats_table(inspection), *(entry for entry in lists if entry.plain))


def _repeats_table(inspection: Inspection) -> Table:
    """Return the numbers of repeated pictures: those of the same pixels and, beside them, all that are alike."""
    columns = [repeats for repeats in (inspection.identical, inspection.near) if repeats]
    table = Table("repeated pictures")
    for name in ("identical", "identical or nearly")[: len(columns)]:
        table.add_column(name, justify="right")
    table.add_row("sets", *(str(len(repeats.sets)) for repeats in columns))
    table.add_row("  across splits (leaks)", *(str(len(repeats.leaks)) for repeats in columns))
    table.add_row("  with different labels", *(str(len(repeats.conflicts)) for repeats in columns))
    for split in inspection.identical.leaked:
        table.add_row(f"{split} pictures that train has too", *(str(repeats.leaked[split]) for repeats in columns))
    return table


def _agreement_cells(agreement: pd.DataFrame | None, rows: int) -> list[list[str]]:
    """Return for each class and for all, the cells of the columns ``RATERS``; none where nobody voted."""
    if agreement is None:
        return [[]] * rows
    shown = {"share": "{:.1%}", "unanimous": "{:.1%}", "kappa": "{:.2f}"}
    cells = [
        ["" if np.isnan(value) else form.format(value) for value in agreement[name]] for name, form in shown.items()
    ]
    return list(map(list, zip(*cells, strict=True)))


def _listing(title: str, lines: Sequence[str]) -> Text:
    """Return the first of ``lines`` under a title, or nothing."""
    if not lines:
        return Text()
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return Text("\n  ".join([f"{title} ({len(lines)})", *lines[:SHOWN], *more]))
