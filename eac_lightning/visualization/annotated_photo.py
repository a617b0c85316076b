"""A photograph with what was found in it: each face's box and expression, and its attention map laid over it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn.functional import grid_sample

from eac_lightning.faces.prediction import UNLIKE, UNSURE, FacePrediction
from eac_lightning.visualization.canvas import MUTED, RIGHT, shorten
from eac_lightning.visualization.overlay import overlay, strength

Box = tuple[float, float, float, float]

SIDES = (480, 2000)
"""The least and the greatest longer side of what is drawn: a crop needs room for text, and nobody needs a poster."""

_FACE = 80
"""The width in pixels to which faces are enlarged, as far as the picture may grow, so that neighbours' texts fit."""

_RIM = 0.15
"""Of half a crop: so far the light takes from the edge to its full strength."""

_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"


def annotated_photo(photo: Image.Image, faces: Sequence[FacePrediction]) -> NDArray[np.uint8]:
    """Draw the box of each face, its expression and confidence, and the map of its most probable class.

    Inside its crop a face is dimmed grey and lit by the map, as :func:`~eac_lightning.visualization.overlay` does it.
    A face that is unsure is marked in grey, and its most probable class with a question mark; one that is not like the
    training data is marked in grey and says so; it has neither class nor map.

    Args:
        photo: The photograph.
        faces: Those found in it.

    Returns:
        (H, W, 3) uint8: the photograph, enlarged where it or its faces are small, and its longer side within
        :data:`SIDES`.
    """
    longer = max(photo.size)
    wanted = _FACE / float(np.median([max(1.0, face.box[2] - face.box[0]) for face in faces])) if faces else 1.0
    scale = min(max(1.0, wanted, SIDES[0] / longer), SIDES[1] / longer)
    width, height = (max(1, round(scale * side)) for side in photo.size)
    pixels = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    lit = pixels.copy()
    for face in faces:
        if face.expression != UNLIKE:  # there is no answer to explain
            _light(lit, pixels, face, scale)
    drawn = Image.fromarray(lit)
    _write(ImageDraw.Draw(drawn), (width, height), faces, scale)
    return np.asarray(drawn)


def _light(lit: NDArray[np.uint8], pixels: NDArray[np.uint8], face: FacePrediction, scale: float) -> None:
    """Lay the map over that part of the picture which the crop shows, and write it into ``lit``."""
    linear, shift = face.matrix[:, :2], face.matrix[:, 2]
    width, height = face.crop.size
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)])
    reached = np.linalg.solve(linear, (corners - shift).T) * scale
    limits = np.array([pixels.shape[1::-1]]).T
    (x0, x1), (y0, y1) = np.clip(np.stack([reached.min(1), reached.max(1) + 1], axis=1), 0, limits).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5  # pixel i reaches from i to i + 1
    # In the crop both directions go from -1 to 1.
    places = (np.stack([x, y], axis=-1) / scale @ linear.T + shift) / face.crop.size * 2 - 1
    values = torch.from_numpy(strength(face.map))[None, None]
    warped = grid_sample(values, torch.from_numpy(places)[None], padding_mode="border", align_corners=False)[0, 0]
    # Crops of neighbours overlap, and a turned one has corners: hard edges would be seen before any face is.
    share = np.clip((1 - (places**4).sum(axis=-1, keepdims=True) ** 0.25) / _RIM, 0, 1)
    part = lit[y0:y1, x0:x1]
    part[:] = np.rint(share * overlay(pixels[y0:y1, x0:x1], warped, peak=1.0) + (1 - share) * part)


def _write(draw: ImageDraw.ImageDraw, size: tuple[int, int], faces: Sequence[FacePrediction], scale: float) -> None:
    """Draw the boxes, then each text where it hides the least."""
    line = max(2, round(max(size) / 350))
    boxes = [_within(np.array(face.box) * scale, size) for face in faces]
    for box, face in zip(boxes, faces, strict=True):
        rim = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
        draw.rectangle(rim, outline="white", width=line + 2)
        draw.rectangle(box, outline=_color(face), width=line)
    taken: list[Box] = []
    for box, face in zip(boxes, faces, strict=True):
        text = _text(face)
        font, label = _fitting(draw, text, size)
        # A text under another is lost; a face under a text is only not seen.
        place = min(_places(box, label, size), key=lambda tag: 9 * _hidden(tag, taken) + _hidden(tag, boxes))
        taken.append(place)
        draw.rectangle(place, fill=_color(face))
        draw.text(((place[0] + place[2]) / 2, (place[1] + place[3]) / 2), text, fill="white", font=font, anchor="mm")


def _text(face: FacePrediction) -> str:
    if face.expression == UNLIKE:
        return UNLIKE
    return f"{shorten(face.top, 22)}{'?' * (face.expression == UNSURE)} {face.confidence:.0%}"


def _color(face: FacePrediction) -> str:
    return MUTED if face.expression in (UNSURE, UNLIKE) else RIGHT


def _within(box: NDArray[np.float64], size: tuple[int, int]) -> Box:
    """Return the part of a box that lies in the picture, with a pixel left for its rim."""
    x0, x1 = np.clip(box[[0, 2]], 1, size[0] - 2).tolist()
    y0, y1 = np.clip(box[[1, 3]], 1, size[1] - 2).tolist()
    return x0, y0, x1, y1


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, size: tuple[int, int]
) -> tuple[ImageFont.FreeTypeFont, tuple[float, float]]:
    """Return a font in which the text fits into the picture, and the width and height of its label."""
    for points in range(max(14, round(max(size) / 70)), 5, -1):
        font = ImageFont.truetype(_FONT, points)
        width = draw.textlength(text, font) + points
        if width < size[0]:
            break
    return font, (width, 1.6 * points)


def _places(box: Box, label: tuple[float, float], size: tuple[int, int]) -> Iterator[Box]:
    """Yield where in the picture a label may stand, the best first: above the box, below it, beside it."""
    (x0, y0, x1, y1), (width, height) = box, label
    for x, y in [(x, y) for y in (y0 - height, y1) for x in (x0, x1 - width)] + [(x1, y0), (x0 - width, y0)]:
        x = min(max(0.0, x), max(0.0, size[0] - 1 - width))
        y = min(max(0.0, y), max(0.0, size[1] - 1 - height))
        yield x, y, x + width, y + height


def _hidden(tag: Box, boxes: Iterable[Box]) -> float:
    """Return how much of ``boxes`` a label covers, in pixels."""
    return sum(
        max(0.0, min(tag[2], box[2]) - max(tag[0], box[0])) * max(0.0, min(tag[3], box[3]) - max(tag[1], box[1]))
        for box in boxes
    )
