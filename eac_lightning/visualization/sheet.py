"""A figure on which things are placed in inches, so that it reads the same however many pixels a face has."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from eac_lightning.visualization.canvas import INK, MUTED, new_figure
from eac_lightning.visualization.overlay import PALETTES


class Sheet:
    """Places things on a figure in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure: Figure = new_figure(width, height)

    def text(self, x: float, y: float, text: str, *, size: float = 7.5, **style: str) -> None:
        """Write ``text`` at a place, in the ink of all pictures unless ``style`` has another."""
        style = {"color": INK, "va": "center"} | style
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, **style)  # type: ignore[arg-type]

    def picture(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        image: NDArray[np.generic],
        *,
        stretch: bool = False,
    ) -> None:
        """Show a picture inside a box; it keeps its proportions unless it is to ``stretch``."""
        box = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.imshow(image, interpolation="bicubic", aspect="auto" if stretch else "equal")
        axes.set_axis_off()

    def bar(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Fill a box with a colour."""
        box = (x / self.width, 1 - (y + height) / self.height)
        size = (width / self.width, height / self.height)
        self.figure.add_artist(Rectangle(box, *size, transform=self.figure.transFigure, facecolor=color, lw=0))

    def scale(self, x: float, y: float, palette: str, low: str, high: str) -> None:
        """Say what the colours of a palette mean: a ramp between the words for its two ends."""
        self.text(x, y, low, size=7, color=MUTED)
        ramp = PALETTES[palette](np.linspace(0.0, 1.0, 128)[None])[..., :3]
        self.picture(x + 0.7, y - 0.045, 0.8, 0.09, ramp, stretch=True)
        self.text(x + 1.58, y, high, size=7, color=MUTED)
