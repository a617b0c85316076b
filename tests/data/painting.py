"""Pictures of one colour in a folder, and what reads them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eac_lightning.data import annotations, sources
from eac_lightning.data.sources import FilePictures

Pixels = NDArray[np.uint8]


def grey(value: int, size: int = 8) -> Pixels:
    return np.full((size, size), value, np.uint8)


def red(size: int = 8) -> Pixels:
    return np.full((size, size, 3), (255, 0, 0), np.uint8)


def paint(folder: Path, **pictures: Pixels | bytes) -> FilePictures:
    """Write name.png for each, pixels or whatever bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        if isinstance(picture, bytes):
            (folder / f"{name}.png").write_bytes(picture)
        else:
            Image.fromarray(picture).save(folder / f"{name}.png")
    return FilePictures(folder, [f"{name}.png" for name in pictures])


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each picture that is decoded."""
    seen: list[str] = []
    decode: Callable[..., Pixels] = sources.decode_image

    def counting(path: Path) -> Pixels:
        seen.append(path.name)
        return decode(path)

    for module in (sources, annotations):
        monkeypatch.setattr(module, "decode_image", counting)
    return seen
