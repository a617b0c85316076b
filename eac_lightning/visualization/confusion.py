"""A confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization.canvas import HAIRLINE, INK, MUTED, new_figure, shorten

_SHADES = LinearSegmentedColormap.from_list("shades", ["#f6f9f9", "#b4dad5", "#2f958c", "#00453f"])
_CELL = 0.62
_MARGIN = 0.22
_LETTER = 0.076
"""All in inches; a letter is that of 9-point type."""


def _write(axes: Axes, x: float, y: float, text: str, move: tuple[float, float], **style: object) -> None:
    """Write ``text`` at a cell, moved by points, so that it looks the same however large cells are."""
    axes.annotate(text, (x, y), move, textcoords="offset points", va="center", **style)  # type: ignore[arg-type]


def _write_cells(axes: Axes, counts: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    """Write into each cell its share of the row, and under it the count."""
    for row, column in np.argwhere(counts):
        part = float(share[row, column])
        ink, faint = ("white", "white") if part > 0.5 else (INK, INK if part > 0.25 else MUTED)
        percent = f"{part:.0%}" if part >= 0.005 else "<1%"
        weight = "bold" if row == column else "normal"
        _write(axes, column, row, percent, (0, 4), ha="center", color=ink, fontsize=9, weight=weight)
        _write(axes, column, row, f"{counts[row, column]:,}", (0, -9), ha="center", color=faint, fontsize=6.4)


def _label_axes(axes: Axes, names: Sequence[str], totals: NDArray[np.int64]) -> None:
    """Name the classes, say how many faces each has, and part the cells by white lines."""
    ticks = np.arange(len(names))
    axes.set_yticks(ticks, names)
    axes.set_xticks(ticks, names, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    for row, total in enumerate(totals):
        _write(axes, -0.5, row, f"n = {total:,}", (-4, -11), ha="right", color=MUTED, fontsize=6.4)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_color(HAIRLINE)


def confusion_matrix_figure(matrix: ArrayLike, class_names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix: in each cell the share of its true class in %, under it the count.

    Args:
        matrix: (K, K) counts, rows are the true labels, columns the predictions.
        class_names: The K classes' names.
        title: A line above it.

    Returns:
        A figure that belongs to no window; :func:`figure_to_image` makes it an array.

    Raises:
        ConfigurationError: If the matrix is not (K, K) for K names.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    size = len(class_names)
    if counts.shape != (size, size) or size == 0:
        raise ConfigurationError(
            f"Expected a confusion matrix ({size}, {size}) for {size} class names, but got shape {counts.shape}."
        )
    totals = counts.sum(axis=1)
    share = counts / np.maximum(totals, 1)[:, None]
    names = [shorten(name, 24) for name in class_names]
    label = _LETTER * max(len(name) for name in names)
    side = max(size, 4) * _CELL
    left, top = _MARGIN + 0.15 + max(label, 0.6), 0.72 + 0.72 * label
    right = max(_MARGIN, 0.75 * _LETTER * len(names[-1]) - side / size / 2)
    width, height = left + side + right, top + side + _MARGIN
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, _MARGIN / height, side / width, side / height))
    axes.imshow(share, cmap=_SHADES, vmin=0.0, vmax=1.0, aspect="auto")
    _write_cells(axes, counts, share)
    _label_axes(axes, names, totals)
    overall = counts.trace() / max(counts.sum(), 1)
    recall = share.diagonal()[totals > 0]
    summary = (
        f"accuracy {overall:.1%} · mean-class {recall.mean() if recall.size else 0:.1%}\n"
        "rows: true class · columns: prediction"
    )
    x = _MARGIN / width
    figure.text(x, 1 - 0.2 / height, title or "Confusion matrix", va="center", size=12.5, weight="bold", color=INK)
    figure.text(x, 1 - 0.36 / height, summary, va="top", size=7.8, color=MUTED, linespacing=1.45)
    return figure
