"""A supersampled picture that is drawn on with points of the head's own three-dimensional frame."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from eac_lightning.faces.synthetic.action_units import Floats

DOWN: Floats = np.array([0.0, 1.0, 0.0])

Color = tuple[float, float, float] | Floats


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the matrix (3, 3) that turns the head; angles in degrees.

    Positive yaw turns the face to the picture's right, positive pitch up, positive roll clockwise.
    """
    (sy, sp, sr), (cy, cp, cr) = (f(np.radians([yaw, pitch, roll])) for f in (np.sin, np.cos))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


@lru_cache(maxsize=64)
def _spline(count: int, steps: int) -> Floats:
    """Return the matrix ((count - 1) * steps + 1, count) of an open Catmull-Rom spline."""
    t = np.arange(steps)[:, None] / steps
    basis = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    matrix = np.zeros(((count - 1) * steps + 1, count))
    for segment in range(count - 1):
        for offset in range(4):
            # The ends are doubled, so that the curve reaches them.
            column = min(max(segment + offset - 1, 0), count - 1)
            matrix[segment * steps : (segment + 1) * steps, column] += basis[:, offset]
    matrix[-1, -1] = 1.0
    return matrix


def smooth(points: Floats, steps: int = 4) -> Floats:
    """Return an open curve (N, D) through the given points."""
    return np.asarray(_spline(len(points), steps) @ points)


@lru_cache(maxsize=16)
def _taper(count: int, power: float) -> Floats:
    return np.asarray(np.sin(np.linspace(0.06, np.pi - 0.06, count)) ** power)


class Canvas:
    """Draws filled shapes and brush strokes, antialiased by supersampling.

    Args:
        size: Side of the finished picture in pixels.
        turn: Rotation of the head (3, 3).
        center: Where the head's origin lands, in pixels.
        scale: Pixels to a unit of the head's frame.
        background: RGB in [0, 255].
    """

    def __init__(self, size: int, turn: Floats, center: Floats, scale: float, background: Color) -> None:
        self.size, self.turn, self.center, self.scale = size, turn, center, scale
        self.factor = max(2, -(-224 // size))
        side = size * self.factor
        self._picture = Image.new("RGB", (side, side), _rgb(background))
        self._body = Image.new("L", (side, side))
        self._draw = ImageDraw.Draw(self._picture, "RGBA")
        self._draw_body = ImageDraw.Draw(self._body)

    def project(self, points: Floats) -> Floats:
        """Return where points (N, 3) of the head are in the finished picture, (N, 2), in pixels."""
        return np.asarray(points @ self.turn[:2].T * self.scale + self.center)

    def silhouette(self, center: tuple[float, float, float], radii: tuple[float, float, float]) -> Floats:
        """Return the outline (64, 2), in pixels, of an ellipsoid of the head's frame."""
        spread = (self.turn * np.square(radii)) @ self.turn.T
        angles = np.linspace(0.0, 2 * np.pi, 64, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        middle = self.project(np.array([center]))
        return np.asarray(middle + circle @ np.linalg.cholesky(spread[:2, :2]).T * self.scale)

    def fill(self, points: Floats, color: Color, alpha: float = 1.0, *, body: bool = False) -> None:
        """Fill the polygon of points (N, 3) of the head or (N, 2) in pixels.

        Args:
            points: The corners.
            color: RGB in [0, 255].
            alpha: Opacity in [0, 1].
            body: Whether the shape is part of the person and is lit, rather than drawn on such a part.
        """
        flat = points if points.shape[1] == 2 else self.project(points)
        corners = (flat * self.factor).ravel().tolist()
        self._draw.polygon(corners, fill=(*_rgb(color), round(255 * alpha)))
        if body:
            self._draw_body.polygon(corners, fill=255)

    def stroke(self, points: Floats, width: float, color: Color, alpha: float = 1.0, taper: float = 0.6) -> None:
        """Paint a brush stroke along points (N, 3) or (N, 2); ``width`` in head units.

        ``taper`` is the power of the half sine that shapes the stroke: 0 is a ribbon, 1 a lens.
        """
        # A point is a complex number here, so that a quarter turn is a product.
        path = np.ascontiguousarray(points if points.shape[1] == 2 else self.project(points)).view(complex)[:, 0]
        along = np.empty_like(path)
        along[1:-1] = path[2:] - path[:-2]
        along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
        half = along * (0.5j * width * self.scale) / (np.abs(along) + 1e-9) * _taper(len(path), taper)
        outline = np.concatenate([path + half, (path - half)[::-1]])
        self.fill(outline.view(float).reshape(-1, 2), color, alpha)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the picture (H, W, 3) in [0, 255] and how much of each pixel is person (H, W) in [0, 1]."""
        picture = np.asarray(self._picture.reduce(self.factor), dtype=np.float32)
        return picture, np.asarray(self._body.reduce(self.factor), dtype=np.float32) / 255.0


def _rgb(color: Color) -> tuple[int, int, int]:
    red, green, blue = (min(max(round(float(value)), 0), 255) for value in color)
    return red, green, blue


def bilateral(half: Sequence[tuple[float, ...]]) -> Floats:
    """Return a curve (2 N - 1, D) across the face, from points of its right half, the last on the midline."""
    right = np.array(half)
    left = right[-2::-1].copy()
    left[:, 0] *= -1.0
    return np.concatenate([right, left])


def mix(one: Color, other: Color, share: float) -> Floats:
    """Return the colour that is ``share`` of the way from one to the other."""
    return np.asarray(one, dtype=float) * (1 - share) + np.asarray(other, dtype=float) * share
