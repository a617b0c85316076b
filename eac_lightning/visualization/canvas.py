"""What all pictures share: their ink, their type, and how a figure becomes an array."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK = "#1c2127"
MUTED = "#6b747e"
HAIRLINE = "#d5dade"
RIGHT = "#00766c"
WRONG = "#c4420f"
"""Teal and vermilion differ for the colour-blind too; pictures add a mark and a word all the same."""

DPI = 144


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of ``width`` × ``height`` inches that belongs to no window."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def figure_to_image(figure: Figure) -> NDArray[np.uint8]:
    """Return the figure as an (H, W, 3) RGB picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]


def shorten(text: str, length: int) -> str:
    """Return ``text`` with at most ``length`` characters: the middle gives way to an ellipsis."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"
