"""A risk-coverage curve: how many answers are wrong if only the surest are given."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.calibration import risk_coverage
from eac_lightning.visualization.canvas import HAIRLINE, INK, MUTED, RIGHT, WRONG, figure_to_image, new_figure

_WIDTH, _HEIGHT = 4.4, 3.8
_BOX = (0.62, 0.5, 3.5, 2.3)
"""Left, bottom, width and height of the curve in inches."""


def risk_coverage_plot(
    confidence: Tensor, correct: Tensor, *, threshold: float | None = None, title: str = ""
) -> NDArray[np.uint8]:
    """Draw the share of wrong answers by the share of faces that are answered, the surest first.

    Beside it stands what a confidence that knew the errors would reach.

    Args:
        confidence: (N,), higher is surer.
        correct: (N,) bool.
        threshold: The least confidence that is answered, to be marked.
        title: A line above.

    Returns:
        (H, W, 3) picture.

    Raises:
        DataError: See :func:`~eac_lightning.calibration.risk_coverage`.
    """
    return figure_to_image(_figure(confidence, correct, threshold, title or "Risk and coverage"))


def _figure(confidence: Tensor, correct: Tensor, threshold: float | None, title: str) -> Figure:
    coverage, risk = (values.numpy() for values in risk_coverage(confidence, correct))
    best = risk_coverage(correct.double(), correct)[1].numpy()
    figure = new_figure(_WIDTH, _HEIGHT)
    left, bottom, width, height = _BOX
    axes = figure.add_axes((left / _WIDTH, bottom / _HEIGHT, width / _WIDTH, height / _HEIGHT))
    axes.fill_between(coverage, risk, color=RIGHT, alpha=0.1, lw=0)
    axes.plot(coverage, risk, color=RIGHT, lw=1.6, label="surest first")
    axes.plot(coverage, best, color=MUTED, lw=1, ls=(0, (1, 1.5)), label="if it knew its errors")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(float(risk.max()), 0.01) * 1.15)
    axes.set_xlabel("coverage: faces that are answered", fontsize=7.8, color=INK)
    axes.set_ylabel("risk: wrong answers", fontsize=7.8, color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, None))
    axes.grid(color=HAIRLINE, lw=0.6)
    axes.tick_params(labelsize=7, colors=MUTED, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(HAIRLINE)
    if threshold is not None:
        _mark(axes, confidence, coverage, risk, threshold)
    x = 0.22 / _WIDTH
    summary = f"AURC {risk.mean():.3f} · all {len(risk):,} faces answered: {risk[-1]:.1%} wrong"
    figure.text(x, 1 - 0.26 / _HEIGHT, title, va="center", size=12.5, weight="bold", color=INK)
    figure.text(x, 1 - 0.5 / _HEIGHT, summary, va="center", size=7.8, color=MUTED)
    figure.legend(
        loc="upper left", bbox_to_anchor=(x - 0.005, 1 - 0.6 / _HEIGHT), ncols=2, frameon=False, fontsize=7.8,
        labelcolor=MUTED, borderaxespad=0, borderpad=0.2, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    return figure


def _mark(
    axes: Axes, confidence: Tensor, coverage: NDArray[np.float64], risk: NDArray[np.float64], threshold: float
) -> None:
    """Mark the point on the curve that a threshold leads to, and say what it gives; none where it answers nobody."""
    answered = int((confidence >= threshold).sum())
    text = f"confidence ≥ {threshold:.3g}: nobody is answered"
    x = y = 0.0
    if answered:
        x, y = float(coverage[answered - 1]), float(risk[answered - 1])
        text = f"confidence ≥ {threshold:.3g}\n{x:.0%} answered, {1 - y:.1%} right"
        axes.plot([x, x, 0], [0, y, y], color=WRONG, lw=0.9, ls=(0, (4, 2)))
        axes.plot([x], [y], "o", ms=5, color=WRONG, mec="white", mew=0.8, clip_on=False, zorder=5)
    axes.text(
        0.03, 0.96, text, transform=axes.transAxes, va="top", fontsize=7.8, color=WRONG, linespacing=1.4,
    )  # fmt: skip
