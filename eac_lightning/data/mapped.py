"""Pixels of a file that a worker which is spawned maps again, instead of getting a copy."""

from mmap import mmap
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class MapsAgain:
    """A data set whose ``images``, if of a file, are left out when it is pickled, unless the file has changed."""

    _file: tuple[Path, tuple[int, ...], object] | None = None

    def _pixels(self, images: NDArray[np.uint8]) -> Tensor:
        """Return pixels in RAM, or all of a file as ``np.memmap``, as a tensor, and remember the file."""
        if isinstance(images, np.memmap) and isinstance(cast(object, images.base), mmap):
            path = Path(str(images.filename))
            self._file = (path, images.shape, _about(path))
        return torch.from_numpy(images)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._file is not None and self._file[2] is not None and _about(self._file[0]) == self._file[2]:
            del state["images"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "images" not in state and self._file is not None:
            path, shape, _ = self._file
            self.__dict__["images"] = torch.from_numpy(np.memmap(path, np.uint8, "c", shape=shape))


def _about(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
