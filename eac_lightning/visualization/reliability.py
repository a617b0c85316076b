"""A reliability diagram: how often answers of each confidence are right, and how many there are."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.calibration import confidence_counts
from eac_lightning.errors import ConfigurationError
from eac_lightning.metrics.calibration import BINS, calibration_error, rates_by_confidence
from eac_lightning.visualization.canvas import HAIRLINE, INK, MUTED, RIGHT, figure_to_image, new_figure

_SIDE = 2.6
_HISTOGRAM = 0.7
_LEFT = 0.62
_GAP = 0.35
_MARGIN = 0.22
_HEADER = 1.32
_FOOTER = 0.5
"""All in inches."""
_FEW = 10
"""Bars of fewer faces are pale: they say little."""
_TOO_SURE = "#eab8a6"
_HATCH = "//////"


def reliability_diagram(
    probabilities: Mapping[str, Tensor], labels: Tensor, *, bins: int = BINS, title: str = ""
) -> NDArray[np.uint8]:
    """Draw accuracy by confidence, and under it how many faces have each, a panel for each set of probabilities.

    Bars are as high as the accuracy; what reaches beyond them to the mean confidence is where the network is too sure,
    hatched is where it is not sure enough. A calibrated network's bars end on the diagonal; those of few faces are
    pale, and say little.

    Args:
        probabilities: (N, K) by what they are, such as ``{"as trained": …, "temperature 1.6": …}``.
        labels: (N,).
        bins: Equal parts of [0, 1].
        title: A line above.

    Returns:
        (H, W, 3) picture.

    Raises:
        ConfigurationError: If there is nothing to draw.
        DataError: See :func:`~eac_lightning.calibration.expected_calibration_error`.
    """
    return figure_to_image(_figure(probabilities, labels, bins, title or "Reliability"))


def _figure(probabilities: Mapping[str, Tensor], labels: Tensor, bins: int, title: str) -> Figure:
    if not probabilities:
        raise ConfigurationError("A reliability diagram needs at least one set of probabilities, but there is none.")
    panels = {name: confidence_counts(values, labels, bins) for name, values in probabilities.items()}
    highest = max(float(counts[0].max()) for counts in panels.values()) / len(labels)
    width = _LEFT + len(panels) * (_SIDE + _GAP) - _GAP + _MARGIN
    height = _HEADER + _SIDE + _GAP / 2 + _HISTOGRAM + _FOOTER
    figure = new_figure(max(width, 4.2), height)
    width = figure.get_figwidth()
    for number, (name, counts) in enumerate(panels.items()):
        left = (_LEFT + number * (_SIDE + _GAP)) / width
        upper = figure.add_axes((left, 1 - (_HEADER + _SIDE) / height, _SIDE / width, _SIDE / height))
        lower = figure.add_axes((left, _FOOTER / height, _SIDE / width, _HISTOGRAM / height))
        _draw_rates(upper, counts)
        _draw_shares(lower, counts, highest)
        upper.set_title(_heading(name, counts), loc="left", fontsize=7.8, color=MUTED, linespacing=1.45, pad=5)
        if number:
            upper.tick_params(labelleft=False)
            lower.tick_params(labelleft=False)
        else:
            upper.set_ylabel("accuracy", fontsize=7.8, color=INK)
            lower.set_ylabel("faces", fontsize=7.8, color=INK)
            figure.align_ylabels([upper, lower])
    figure.text(_MARGIN / width, 1 - 0.26 / height, title, va="center", size=12.5, weight="bold", color=INK)
    _legend(figure, _MARGIN / width, 1 - 0.42 / height)
    note = f"pale: fewer than {_FEW} faces"
    figure.text(_MARGIN / width, 1 - 0.72 / height, note, va="center", size=7.8, color=MUTED)
    return figure


def _heading(name: str, counts: Tensor) -> str:
    _, accuracy, sure = (float(value) for value in rates_by_confidence(counts.sum(1, keepdim=True)))
    return f"{name} · ECE {float(calibration_error(counts)):.1%}\naccuracy {accuracy:.1%} · mean confidence {sure:.1%}"


def _draw_rates(axes: Axes, counts: Tensor) -> None:
    faces, accuracy, confidence = (values.numpy() for values in rates_by_confidence(counts))
    edges = np.linspace(0, 1, len(faces) + 1)
    middle, wide = (edges[:-1] + edges[1:]) / 2, edges[1]
    for x, count, right, sure in zip(middle, faces, accuracy, confidence, strict=True):
        if not count:
            continue
        faint = 0.25 if count < _FEW else 1.0
        low, gap = min(sure, right), abs(sure - right)
        color, hatch = (_TOO_SURE, None) if sure > right else ("none", _HATCH)
        axes.bar(x, right, wide, color=RIGHT, edgecolor="white", lw=0.6, alpha=faint)
        axes.bar(x, gap, wide, low, facecolor=color, hatch=hatch, edgecolor="white", lw=0.6, alpha=faint)
    axes.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 2)))
    axes.set_ylim(0, 1)
    axes.tick_params(labelbottom=False)
    _plain(axes)


def _draw_shares(axes: Axes, counts: Tensor, highest: float) -> None:
    share = counts[0].numpy() / counts[0].sum().item()
    axes.stairs(share, np.linspace(0, 1, len(share) + 1), fill=True, color=MUTED, alpha=0.55, lw=0)
    axes.set_ylim(0, highest * 1.08)
    axes.set_xlabel("confidence", fontsize=7.8, color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_axisbelow(True)
    axes.grid(color=HAIRLINE, lw=0.6)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.tick_params(labelsize=7, colors=MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(HAIRLINE)


def _legend(figure: Figure, x: float, y: float) -> None:
    handles = [
        Patch(facecolor=RIGHT, label="accuracy"),
        Patch(facecolor=_TOO_SURE, label="too sure"),
        Patch(facecolor=RIGHT, edgecolor="white", hatch=_HATCH, label="not sure enough"),
        Line2D([], [], color=INK, lw=0.9, ls=(0, (4, 2)), label="calibrated"),
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(x - 0.005, y), ncols=4, frameon=False, fontsize=7.8,
        labelcolor=MUTED, borderaxespad=0, borderpad=0.2, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
