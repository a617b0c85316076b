"""Drawn photographs in which the detector finds faces, and where these are; real ones where they are at hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eac_lightning.faces.detection import Face
from eac_lightning.faces.synthetic import render_face, sample_face

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
"""Not part of the repository: one face, several, and a landscape."""

Place = tuple[int, int, int]


def photograph(
    places: Sequence[Place] = ((40, 30, 100),), size: tuple[int, int] = (200, 160)
) -> tuple[Image.Image, list[NDArray[np.float64]]]:
    """Return a picture with a face at each (x, y, side), and the centres of each one's eyes, (2, 2), left first."""
    picture = Image.new("RGB", size, (90, 110, 130))
    eyes = []
    for number, (x, y, side) in enumerate(places):
        params = sample_face("neutral", np.random.default_rng(number), variation=0.2, occlusion="none")
        face = render_face(params, side)
        picture.paste(Image.fromarray(face.image), (x, y))
        # The person's right eye is the left one as seen.
        eyes.append(np.stack([face.landmarks[start : start + 6].mean(0) for start in (36, 42)]) + np.array((x, y)))
    return picture, eyes


def made_up_face(x: float, y: float, side: float, confidence: float = 0.99) -> Face:
    """Return an upright face of that box, whose landmarks are at the usual shares of it."""
    shares = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
    return Face((x, y, x + side, y + side), confidence, (shares * side + (x, y)).astype(np.float32))
