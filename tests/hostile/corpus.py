"""What an entry of the corpus is, and what must hold of each."""

import stat
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.conftest import make_faces

READ, LEFT_OUT, REFUSED, EITHER = "read", "left out", "refused", "either"
SECRET = 201
"""The grey of the picture outside the root, which no picture inside has throughout."""


class Entry(NamedTuple):
    """One hostile input.

    Attributes:
        name: Its id.
        make: Puts it into a folder that is a sound data set before.
        expected: READ: all is read. LEFT_OUT: an error, or left out where that is asked for. REFUSED: an error.
            EITHER: one of the first two.
        says: A pattern in the error, or in the reason why it was left out.
        centre: The colour in the middle of the picture, where that is what the entry is about.
    """

    name: str
    make: Callable[[Path], Any]
    expected: str
    says: str = ""
    centre: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "_")


def class_folders(root: Path) -> Path:
    """Make a sound data set, in the folder layout, and a picture beside it that nobody may read."""
    outside(root.parent)
    return make_faces(root, (2, 1, 1), 8)


def outside(folder: Path) -> Path:
    (folder / "outside").mkdir()
    Image.new("L", (8, 8), SECRET).save(folder / "outside" / "secret.png")
    return folder / "outside"


def noise(size: tuple[int, ...] = (24, 24, 3), seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, np.uint8))


def encode(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all there is below a folder: kinds, times of change and contents."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found
