"""Faces that are a part of their picture, and how they are named."""

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eac_lightning.errors import DataError

_FACE = re.compile(r"#\d+$")


def picture_file(path: str) -> str:
    """Return the file of a face: ``"photo.jpg#2"`` is in ``photo.jpg``."""
    return _FACE.sub("", path)


def cut_box(pixels: NDArray[np.uint8], box: ArrayLike) -> NDArray[np.uint8]:
    """Cut a face out of its picture.

    Args:
        pixels: (H, W) or (H, W, 3).
        box: Left, top, right and bottom in pixels, the last two exclusive; what lies outside the picture is dropped.

    Returns:
        A copy, (h, w) or (h, w, 3), so that the whole picture can be forgotten.

    Raises:
        DataError: If nothing of the picture lies in the box.
    """
    left, top, right, bottom = np.maximum(box, 0)
    face = pixels[top:bottom, left:right]
    if not face.size:
        sides = ", ".join(map(str, np.asarray(box)))
        size = f"{pixels.shape[1]} × {pixels.shape[0]}"
        raise DataError(f"its face box (left, top, right, bottom: {sides}) holds nothing of its {size} pixels")
    return face.copy()
