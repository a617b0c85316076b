"""Pictures by number, before they are stored."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from eac_lightning.data.annotations import Annotations
from eac_lightning.data.boxes import picture_file
from eac_lightning.data.decoding import decode_image, resize_square
from eac_lightning.errors import DataError

Picture = NDArray[np.uint8]
_CHUNK = 64
_WORTH_WORKERS = 1000


class PictureSource(Protocol):
    """M pictures."""

    @property
    def place(self) -> str:
        """The folder or table that they are from."""

    @property
    def names(self) -> Sequence[str]:
        """(M,) what each is called."""

    def picture(self, position: int) -> Picture:
        """Return (H, W) or (H, W, 3), or raise a ``DataError`` with the reason why there is none."""

    def fingerprint(self) -> str:
        """Return what changes when a picture does."""


class FilePictures:
    """Files below a folder."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names
        self.place = str(root.resolve())

    def picture(self, position: int) -> Picture:
        """Decode a file."""
        return decode_image(self.root / self.names[position])

    def fingerprint(self) -> str:
        """Return a digest of place, size and times of every file."""
        return _digest(_told_by_files(self.root, self.names))


class AnnotatedPictures:
    """The pictures of some rows of a data set.

    Args:
        annotations: The data set.
        rows: (M,) rows of its table.
    """

    def __init__(self, annotations: Annotations, rows: NDArray[np.int64]) -> None:
        self.annotations = annotations
        self.rows = rows
        self.place = str(annotations.root.resolve())

    @cached_property
    def names(self) -> Sequence[str]:
        """The paths of the rows."""
        names: list[str] = self.annotations.table["path"].iloc[self.rows].tolist()
        return names

    def picture(self, position: int) -> Picture:
        """Return the pixels of a row."""
        return self.annotations.picture(int(self.rows[position]))

    def fingerprint(self) -> str:
        """Return a digest of the pixels, or of place, size and times of every file and its boxes."""
        data = self.annotations
        if data.images is not None:
            return _digest(image.tobytes() for image in data.images[self.rows])
        boxes = b"" if data.boxes is None else data.boxes[self.rows].tobytes()
        files = self.names if data.boxes is None else map(picture_file, self.names)
        return _digest([boxes, *_told_by_files(data.root, files)])


def _told_by_files(root: Path, names: "Sequence[str] | map[str]") -> Iterator[bytes]:
    folder = os.fspath(root)
    for name in names:
        try:
            about = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  # a Path each is most of the time
            # Whatever copies a file may set the first time, but not the second.
            told = f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ctime_ns}\n"
            yield told.encode(errors="surrogateescape")
        except OSError:
            yield f"{name}\0missing\n".encode(errors="surrogateescape")


def _digest(parts: "Iterator[bytes] | list[bytes]") -> str:
    # Another decoder may give other pixels.
    digest = hashlib.blake2b(PIL.__version__.encode(), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def decoded(source: PictureSource, size: int) -> Iterator[Picture | str]:
    """Yield each picture in order, at its final size, or the reason why there is none.

    Where there are many, one process a core decodes them: threads would wait for each other.

    Args:
        source: M pictures.
        size: Side in pixels.
    """
    count = len(source.names)
    workers = _cores() if count >= _WORTH_WORKERS else 0
    chunks = DataLoader(
        _Chunks(source, count, size),
        batch_size=None,
        num_workers=workers if workers > 1 else 0,
        collate_fn=_same,
        generator=torch.Generator(),  # else it draws from the global one
    )
    for chunk in chunks:
        yield from chunk


def prepare(source: PictureSource, position: int, size: int) -> Picture | str:
    """Return a picture at its final size, or the reason why there is none."""
    try:
        return resize_square(source.picture(position), size)
    except DataError as error:
        return str(error)


class _Chunks(Dataset[list[Picture | str]]):
    """Some pictures at a time: a task for each would cost as much as decoding it."""

    def __init__(self, source: PictureSource, count: int, size: int) -> None:
        self.source = source
        self.count = count
        self.size = size

    def __len__(self) -> int:
        return -(-self.count // _CHUNK)

    def __getitem__(self, number: int) -> list[Picture | str]:
        positions = range(number * _CHUNK, min(self.count, (number + 1) * _CHUNK))
        return [prepare(self.source, position, self.size) for position in positions]


def _same(chunk: list[Picture | str]) -> list[Picture | str]:
    return chunk


def _cores() -> int:
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count() or 1
    return max(1, found // local_processes())


def local_processes() -> int:
    """Return how many processes of one training run on this machine, as launchers say it."""
    names = ["LOCAL_WORLD_SIZE", "WORLD_SIZE"]
    if "SLURM_PROCID" in os.environ:
        names += ["SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"]  # the former such as "4(x2),3"
    said = (re.match(r"[1-9]\d*", os.environ.get(name, "")) for name in names)
    return next((int(found[0]) for found in said if found), 1)
