"""The layouts in which data sets lie on disk, and how to tell them apart."""

from pathlib import Path

from eac_lightning.data.layouts import (
    affectnet,
    affectnet_npy,
    ckplus,
    ckplus48,
    expw,
    fer2013,
    fer2013_natural,
    ferg,
    ferplus,
    folder,
    jaffe,
    kdef,
    rafdb,
    sfew,
    table,
)
from eac_lightning.data.layouts.base import VOTES, Layout, Options, Rows
from eac_lightning.errors import ConfigurationError, DataError, unknown_name

LAYOUTS = {
    "ferplus": Layout(ferplus.recognise, ferplus.read, ferplus.NEEDS),
    "fer2013_natural": Layout(fer2013_natural.recognise, fer2013_natural.read, fer2013_natural.NEEDS),
    "ckplus48": Layout(ckplus48.recognise, ckplus48.read, ckplus48.NEEDS),
    "fer2013": Layout(fer2013.recognise, fer2013.read, fer2013.NEEDS),
    "rafdb": Layout(rafdb.recognise, rafdb.read, rafdb.NEEDS),
    "affectnet": Layout(affectnet.recognise, affectnet.read, affectnet.NEEDS),
    "affectnet_npy": Layout(affectnet_npy.recognise, affectnet_npy.read, affectnet_npy.NEEDS),
    "expw": Layout(expw.recognise, expw.read, expw.NEEDS),
    "table": Layout(table.recognise, table.read, table.NEEDS),
    "ckplus": Layout(ckplus.recognise, ckplus.read, ckplus.NEEDS),
    "kdef": Layout(kdef.recognise, kdef.read, kdef.NEEDS),
    "ferg": Layout(ferg.recognise, ferg.read, ferg.NEEDS),
    "jaffe": Layout(jaffe.recognise, jaffe.read, jaffe.NEEDS),
    "sfew": Layout(sfew.recognise, sfew.read, sfew.NEEDS),
    "folder": Layout(folder.recognise, folder.read, folder.NEEDS),
}
"""From the most particular to the most general: the first that recognises a root is chosen."""

__all__ = ["LAYOUTS", "VOTES", "Layout", "Options", "Rows", "choose_layout"]


def choose_layout(root: Path, layout: str, options: Options) -> tuple[str, str]:
    """Return the name of the layout to read ``root`` with, and why.

    Args:
        root: A folder or a table.
        layout: A name in ``LAYOUTS``, or "auto".
        options: What the recognisers may want to know.

    Raises:
        ConfigurationError: There is no such layout.
        DataError: There is nothing at ``root``, or "auto" recognises nothing.
    """
    if layout == "shards":
        raise ConfigurationError(_holds_shards(root))
    if layout not in ("auto", *LAYOUTS):
        raise unknown_name("layout", layout, ("auto", *LAYOUTS))
    if not root.exists():
        raise DataError(
            f"Expected a data set at {root}, but there is no such folder (looked in {Path.cwd()}). "
            "Give its path: --data.root DIR."
        )
    if layout != "auto":
        return layout, "asked for"
    reasons = {name: entry.recognise(root, options) for name, entry in LAYOUTS.items()}
    matches = [name for name, reason in reasons.items() if reason]
    if not matches:
        raise DataError(_nothing_recognised(root))
    reason = f"recognised, because {reasons[matches[0]]}"
    if matches[1:]:
        others = "; ".join(f"{name} ({reasons[name]})" for name in matches[1:])
        reason += f", which comes before {others}: to read that instead, name the layout"
    return matches[0], reason


def _holds_shards(root: Path) -> str:
    return (
        f"Shards such as those in {root} are for training and evaluation (--data.layout shards). Everything else reads "
        "the data set that they were packed from."
    )


def _nothing_recognised(root: Path) -> str:
    if root.is_file():
        return f"Expected a folder, or a table (.csv, .tsv, .parquet), but {root} is another kind of file."
    entries = sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir())
    if any(root.glob("train-*.arrow")):
        return _holds_shards(root)
    if not entries:
        return f"Expected a data set in {root}, but the folder is empty."
    more = f", … ({len(entries)} in all)" if len(entries) > 12 else ""
    needs = "".join(f"\n  {name}: {entry.needs}" for name, entry in LAYOUTS.items())
    return (
        f"No layout recognised in {root}. Found: {', '.join(entries[:12])}{more}. Expected one of:{needs}\n"
        "Correct the folder, or name the layout."
    )
