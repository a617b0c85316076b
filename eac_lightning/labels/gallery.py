"""The gallery: one HTML file in which a person looks at suspect labels and says what is right."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b, sha256
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from eac_lightning._files import replacing
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.label_table import class_indices, refuse, repeated
from eac_lightning.visualization.overlay import strength

FIGURES = ("score", "p_given", "loss", "margin", "aum", "disagreements", "consistency", "agreement", "combined")
"""Columns of an audit whose numbers are shown beside a face, where it has them."""

_SOURCES = Path(__file__).with_name("_gallery")
_SCRIPTS = ("csv.js", "decisions.js", "face.js", "grid.js", "page.js")
_VOTES = "votes_"


def suspects(audit: pd.DataFrame, limit: int | None = None) -> pd.DataFrame:
    """Return the rows that an audit suspects (all, if it has no column ``suspect``), the highest score first."""
    rows = audit[audit["suspect"].astype(bool)] if "suspect" in audit else audit
    return rows.sort_values("score", ascending=False, kind="stable").head(len(rows) if limit is None else limit)


def write_gallery(
    path: str | Path,
    audit: pd.DataFrame,
    class_names: Sequence[str],
    faces: Callable[[int], NDArray[np.uint8] | None],
    maps: Callable[[int], ArrayLike | None] | None = None,
    *,
    limit: int = 5000,
    side: int = 96,
    title: str = "Suspect labels",
) -> int:
    """Write the suspects of an audit into one HTML file that needs no network and no server.

    Faces and maps are asked for one at a time, by sample index: never is more than one face in memory at full
    size, and a dict's ``get`` or an array's ``__getitem__`` will do. ``suspects`` says beforehand which.

    Args:
        path: The file to write.
        audit: Rows of ``audit.parquet``: at least ``index``, ``path``, ``given``, ``suggested`` and ``score``;
            ``suspect``, ``confidence``, ``p_<class>``, ``votes_<anything>`` and ``FIGURES`` are shown where
            they are there. Only suspects are shown, see ``suspects``.
        class_names: The K classes; their order is that of the keys 1 to 9.
        faces: (H, W) or (H, W, 3) uint8 of a sample. None or a ``DataError`` leaves a placeholder.
        maps: (h, w) attention map of a sample's given label; of little size, the browser enlarges it.
        limit: The most suspects that are shown.
        side: Pixels of a face's longer side in the file; a smaller face stays as it is.
        title: What the page is called.

    Returns:
        How many suspects it shows.

    Raises:
        ConfigurationError: If ``limit`` or ``side`` is not positive.
        DataError: If the audit lacks a column or paths, has a path twice, or labels that are none of the classes.
    """
    if limit < 1 or side < 1:
        raise ConfigurationError(f"limit and side must be at least 1, but are {limit} and {side}.")
    missing = [name for name in ("index", "path", "given", "suggested", "score") if name not in audit]
    if missing:
        raise DataError(
            f"Expected an audit with the column {' and '.join(missing)}, but it has {', '.join(map(str, audit))}."
        )
    table = suspects(audit, limit)
    if (table["path"].isna() | (table["path"] == "")).any():
        raise DataError("The audit does not know the paths of its pictures, and corrections name pictures by path.")
    refuse(repeated(table["path"]), "Corrections name pictures by path, and the audit has several of one path")
    rows = _rows(table, tuple(class_names))
    shown = {
        "title": title,
        "classes": list(class_names),
        "figures": [name for name in FIGURES if name in table],
        "otherVotes": _other_votes(table, class_names),
        "rows": rows,
    }
    # Progress in the browser belongs to what is shown, in this order; pictures only take time to hash.
    shown["id"] = blake2b(json.dumps(shown).encode(), digest_size=12).hexdigest()
    for row, index in zip(rows, table["index"], strict=True):
        row["face"] = _thumbnail(faces, int(index), side)
        row["map"] = None if maps is None else _small_map(maps(int(index)))
    with replacing(Path(path)) as partial:
        partial.write_text(_page(shown), encoding="utf-8")
    return len(rows)


def _rows(table: pd.DataFrame, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what is said of each suspect beside its pictures, in plain numbers and text."""
    given = class_indices(table["given"], class_names, "the audit")
    known = table["suggested"].ne("") & table["suggested"].notna()
    suggested = np.full(len(table), -1)
    suggested[known] = class_indices(table.loc[known, "suggested"], class_names, "the audit")
    columns = {
        "path": table["path"].astype(str).tolist(),
        "given": given.tolist(),
        "suggested": suggested.tolist(),
        "confidence": _numbers(table, ["confidence"]),
        "figures": _numbers(table, [name for name in FIGURES if name in table]),
        "p": _numbers(table, [f"p_{name}" for name in class_names]),
        "votes": _numbers(table, [_VOTES + name for name in class_names]),
        "otherVotes": _numbers(table, [_VOTES + name for name in _other_votes(table, class_names)]),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _other_votes(table: pd.DataFrame, class_names: Sequence[str]) -> list[str]:
    """Return what people could vote for beside the classes, such as "unknown"."""
    names = [str(name).removeprefix(_VOTES) for name in table if str(name).startswith(_VOTES)]
    return [name for name in names if name not in class_names]


def _numbers(table: pd.DataFrame, names: Sequence[str]) -> list[list[float | None]]:
    """Return a list a row, with None for what is missing or not finite: JSON knows no NaN."""
    values = table.reindex(columns=list(names)).to_numpy(np.float64, na_value=np.nan).round(4)
    return [[value if isfinite(value) else None for value in row] for row in values.tolist()]


def _thumbnail(faces: Callable[[int], NDArray[np.uint8] | None], index: int, side: int) -> str | None:
    """Return a face as WebP in base64."""
    try:
        pixels = faces(index)
    except DataError:
        return None
    if pixels is None:
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = BytesIO()
    image.save(file, "webp", quality=85, method=2)
    return b64encode(file.getvalue()).decode()


def _small_map(attention_map: ArrayLike | None) -> Mapping[str, Any] | None:
    """Return a map's evidence as bytes in base64, and how many stand in a line."""
    if attention_map is None:
        return None
    evidence = np.rint(strength(attention_map) * 255).astype(np.uint8)
    return {"width": evidence.shape[1], "bytes": b64encode(evidence.tobytes()).decode()}


def _page(shown: Mapping[str, Any]) -> str:
    """Put style, scripts and data into the template; its policy lets nothing but these run."""
    style = (_SOURCES / "gallery.css").read_text(encoding="utf-8")
    script = "\n".join((_SOURCES / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    # Without "<" no text can end the block of data that it stands in.
    data = json.dumps(shown, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = (_SOURCES / "gallery.html").read_text(encoding="utf-8")
    # The data come last, so that nothing in them is taken for a place of the template.
    for place, text in {"policy": policy, "style": style, "script": script, "data": data}.items():
        page = page.replace(f"{{{{{place}}}}}", text)
    return page


def _hash(source: str) -> str:
    return f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"
