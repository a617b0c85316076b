"""Scores of pictures that are like the training data beside those of others, a small panel a score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization.canvas import HAIRLINE, INK, MUTED, RIGHT, WRONG, new_figure

_BINS = 40
_COLUMNS = 3
_CELL = (2.7, 1.35)
_GAP = (0.3, 0.66)
_MARGIN = 0.25
_HEADER = 0.62
"""All in inches."""

_LINE, _REFUSED = (0, (4, 2)), (0, (1, 1))
"""Dashes of the two lines."""


class ScorePanel(NamedTuple):
    """What one panel shows: (N,) and (M,) scores, higher is further out, and what is said of them.

    ``refused`` is where ``eac infer`` draws the line, for the score that decides.
    """

    name: str
    inside: ArrayLike
    outside: ArrayLike
    threshold: float
    auroc: float
    refused: float | None = None


def _edges(inside: NDArray[np.float64], outside: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return the edges of the bars, around the inside: what lies far out would press all else into one bar."""
    both = np.concatenate([inside, outside, [threshold]])
    low, high = np.quantile(inside, [0.005, 0.995])
    reach = 1.5 * (max(high, threshold) - low)
    low, high = max(both.min(), low - reach), min(both.max(), max(high, threshold) + reach)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all are alike
        low, high = low - 0.01 * (abs(low) or 1), high + 0.01 * (abs(high) or 1)
    return np.linspace(low, high, _BINS + 1)


def _draw(axes: Axes, panel: ScorePanel) -> None:
    inside, outside = (np.asarray(scores, np.float64) for scores in (panel.inside, panel.outside))
    edges = _edges(inside, outside, panel.threshold)
    for scores, color in ((inside, RIGHT), (outside, WRONG)):
        # What lies beyond is in the last bar; the picture says how much it is.
        counts, _ = np.histogram(scores.clip(edges[0], edges[-1]), edges)
        share = counts / len(scores)
        axes.stairs(share, edges, fill=True, color=color, alpha=0.3, lw=0)
        axes.stairs(share, edges, color=color, lw=1.1)
    axes.axvline(panel.threshold, color=INK, lw=1, ls=_LINE)
    if panel.refused is not None:
        axes.axvline(float(np.clip(panel.refused, edges[0], edges[-1])), color=INK, lw=1.6, ls=_REFUSED)
    axes.set_title(f"{panel.name} · AUROC {panel.auroc:.3f}", loc="left", fontsize=9, color=INK, pad=5)
    beyond = float((outside > edges[-1]).mean())
    if beyond:
        text = f"{beyond:.0%} of the outside\nlie further right →"
        axes.text(0.95, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.4, color=MUTED)
    axes.margins(x=0.02)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(labelsize=7, colors=MUTED, length=3)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)


def ood_scores_figure(panels: Sequence[ScorePanel], *, title: str = "", line: str = "threshold") -> Figure:
    """Draw how the scores of two sets of pictures are spread: shares of each set, and the threshold.

    Args:
        panels: One a score, each with at least one picture of either set.
        title: A line above them.
        line: What the dashed line is.

    Returns:
        A figure that belongs to no window; :func:`figure_to_image` makes it an array.

    Raises:
        ConfigurationError: If there is no panel, or a set has no picture.
    """
    if not panels or any(not np.size(scores) for panel in panels for scores in (panel.inside, panel.outside)):
        raise ConfigurationError("A picture of scores needs a panel, with scores of pictures inside and outside.")
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    step_x, step_y = _CELL[0] + _GAP[0], _CELL[1] + _GAP[1]
    width = 2 * _MARGIN + max(columns, 2) * step_x - _GAP[0]
    height = _HEADER + rows * step_y
    figure = new_figure(width, height)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        x, y = _MARGIN + column * step_x, height - _HEADER - row * step_y - _CELL[1] - 0.25
        _draw(figure.add_axes((x / width, y / height, _CELL[0] / width, _CELL[1] / height)), panel)
    figure.text(
        _MARGIN / width,
        1 - 0.26 / height,
        title or "Out of distribution",
        va="center",
        size=12.5,
        weight="bold",
        color=INK,
    )
    handles: list[Artist] = [
        Patch(facecolor=RIGHT, alpha=0.6, label=f"inside: {np.size(panels[0].inside):,}"),
        Patch(facecolor=WRONG, alpha=0.6, label=f"outside: {np.size(panels[0].outside):,}"),
        Line2D([], [], color=INK, lw=1, ls=_LINE, label=line),
    ]
    if any(panel.refused is not None for panel in panels):
        handles.append(Line2D([], [], color=INK, lw=1.6, ls=_REFUSED, label="eac infer refuses beyond"))
    place = (_MARGIN / width - 0.005, 1 - 0.4 / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=4, frameon=False, fontsize=7.8, labelcolor=MUTED,
        borderaxespad=0, borderpad=0.2, handlelength=1.6,
    )  # fmt: skip
    return figure
