"""Pictures that are no faces of the data set: noise, textures, backgrounds of photographs, drawn faces.

All are (N, 1, size, size) uint8, grey as FER2013's faces are, so that colour does not give them away.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from eac_lightning.data.decoding import resize_square
from eac_lightning.data.pictures import list_pictures
from eac_lightning.faces.detection import FaceDetector
from eac_lightning.faces.photo import load_photo
from eac_lightning.faces.synthetic import EXPRESSIONS, render_face, sample_face

MARGIN = 0.4
"""Of a face's box that is kept clear around it: hair and neck are no background."""


def uniform_noise(count: int, size: int, rng: np.random.Generator) -> Tensor:
    return _batch(rng.integers(0, 256, (count, size, size)))


def gaussian_noise(count: int, size: int, rng: np.random.Generator) -> Tensor:
    return _batch(rng.normal(128, 64, (count, size, size)))


def textures(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Stripes, checks, ramps and clouds in turn, each with its own direction, scale and contrast."""
    kinds = (_stripes, _checks, _ramp, _clouds)
    drawn = []
    for number in range(count):
        angle = rng.uniform(0, np.pi)
        along, across = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
        x, y = np.cos(angle) * along + np.sin(angle) * across, np.cos(angle) * across - np.sin(angle) * along
        pattern = kinds[number % len(kinds)](x, y, rng)
        drawn.append(rng.uniform(60, 196) + rng.uniform(20, 120) * pattern)
    return _batch(np.stack(drawn))


def _stripes(x: NDArray[np.float64], _: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.sin(x * rng.uniform(3, 40) + rng.uniform(0, 6))


def _checks(x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    scale = rng.uniform(3, 25)
    return np.sign(np.sin(scale * x) * np.sin(scale * y))


def _ramp(x: NDArray[np.float64], _: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return x * rng.uniform(0.3, 1)


def _clouds(x: NDArray[np.float64], _: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    few = Image.fromarray(rng.uniform(-1, 1, 2 * (rng.integers(3, 12),)).astype(np.float32))
    return np.asarray(few.resize(x.shape[::-1], Image.Resampling.BICUBIC), np.float64)


def backgrounds(folder: Path, count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Squares of the photographs in a folder, of ``size`` pixels or more, that touch no face."""
    detector = FaceDetector(min_confidence=0.5)
    photos = [load_photo(folder / name).convert("L") for name in list_pictures(folder)]
    found = [[face.box for face in faces] for faces in detector([photo.convert("RGB") for photo in photos])]
    cut: list[NDArray[np.uint8]] = []
    for _ in range(100 * count):
        if len(cut) == count:
            break
        number = rng.integers(len(photos))
        photo, boxes = photos[number], found[number]
        side = int(rng.integers(size, max(size + 1, min(photo.size) // 3)))
        if side > min(photo.size):
            continue
        x, y = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        if not any(_touches((x, y, x + side, y + side), box) for box in boxes):
            cut.append(resize_square(np.asarray(photo.crop((x, y, x + side, y + side))), size))
    if len(cut) < count:
        raise SystemExit(f"Only {len(cut)} of {count} squares of {size} px beside the faces were found in {folder}.")
    return _batch(np.stack(cut))


def _touches(square: tuple[int, int, int, int], box: tuple[float, float, float, float]) -> bool:
    x0, y0, x1, y1 = box
    more = MARGIN * max(x1 - x0, y1 - y0)
    left, top, right, bottom = square
    return left < x1 + more and right > x0 - more and top < y1 + more and bottom > y0 - more


def synthetic_faces(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Faces as `eac synth` draws them, every expression in turn."""
    names = list(EXPRESSIONS)
    drawn = [render_face(sample_face(names[number % len(names)], rng), max(size, 64)) for number in range(count)]
    grey = [np.asarray(Image.fromarray(face.image).convert("L")) for face in drawn]
    return _batch(np.stack([resize_square(pixels, size) for pixels in grey]))


DRAWN: dict[str, Callable[[int, int, np.random.Generator], Tensor]] = {
    "uniform noise": uniform_noise,
    "Gaussian noise": gaussian_noise,
    "textures": textures,
    "synthetic faces": synthetic_faces,
}
"""What needs no photographs, by name."""


def _batch(pixels: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))[:, None]
