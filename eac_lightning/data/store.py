"""Faces decoded once, resized to one size and kept as eight-bit pixels."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from eac_lightning.data.annotations import ON_BAD_IMAGE
from eac_lightning.data.decoding import decode_image, resize_square
from eac_lightning.errors import DataError, unknown_name

CACHES = ("auto", "ram", "disk")
_SHOWN = 20
_WORTH_A_BAR = 500

logger = logging.getLogger("eac_lightning")

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageStore:
    """Pictures of one size and one number of channels, in RAM or in a memory-mapped temporary file.

    Attributes:
        images: (M, C, S, S) uint8; C is 1 when every picture is grey, else 3.
        kept: (M,) positions, among the pictures asked for, of those that could be read.
        bad: The name of each picture that could not be read, and why.
    """

    images: Picture
    kept: NDArray[np.int64]
    bad: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_files(cls, root: Path, names: Sequence[str], size: int, cache: str = "auto") -> "ImageStore":
        """Decode files in as many threads as there are cores.

        Args:
            root: The folder that ``names`` are relative to.
            names: One file each.
            size: Side of the stored pictures in pixels.
            cache: ``"ram"``, ``"disk"``, or ``"auto"``: RAM where they fit into half of what is available.

        Raises:
            ConfigurationError: If ``cache`` is none of these.
            DataError: If the temporary file does not fit on the disk.
        """
        return cls._build(names, lambda i: decode_image(root / names[i]), size, cache)

    @classmethod
    def from_pixels(cls, pixels: Picture, rows: NDArray[np.int64], size: int, cache: str = "auto") -> "ImageStore":
        """Resize ``pixels[rows]``, (N, H, W) or (N, H, W, 3), as ``from_files`` does with files."""
        return cls._build([str(row) for row in rows], lambda i: pixels[rows[i]], size, cache)

    @classmethod
    def _build(cls, names: Sequence[str], read: Callable[[int], Picture], size: int, cache: str) -> "ImageStore":
        if cache not in CACHES:
            raise unknown_name("cache", cache, CACHES)
        kept: list[int] = []
        bad: dict[str, str] = {}
        images: Picture | None = None
        for position, picture in enumerate(_prepared(read, len(names), size)):
            if isinstance(picture, str):
                bad[names[position]] = picture
                continue
            channels = 1 if picture.ndim == 2 else 3
            if images is None or channels > images.shape[1]:
                images = _grown(images, len(kept), (len(names), channels, size, size), cache)
            images[len(kept)] = picture if channels == 1 else picture.transpose(2, 0, 1)
            kept.append(position)
        if images is None:
            images = np.empty((0, 1, size, size), np.uint8)
        return cls(images[: len(kept)], np.asarray(kept, np.int64), bad)


def _prepared(read: Callable[[int], Picture], count: int, size: int) -> Iterator[Picture | str]:
    """Yield each picture in order, at its final size, or the reason why there is none."""

    def prepare(position: int) -> Picture | str:
        try:
            return resize_square(read(position), size)
        except DataError as error:
            return str(error)

    shown = count >= _WORTH_A_BAR and sys.stderr.isatty()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        pictures = pool.map(prepare, range(count))
        console = Console(stderr=True)
        yield from track(pictures, "Reading pictures", count, transient=True, disable=not shown, console=console)


def _grown(old: Picture | None, used: int, shape: tuple[int, ...], cache: str) -> Picture:
    """Return memory of ``shape`` that holds the first ``used`` pictures of ``old``, grey repeated."""
    size = int(np.prod(shape))
    in_ram = cache == "ram" or (cache == "auto" and size <= available_memory() // 2)
    place = "RAM" if in_ram else f"a memory-mapped file under {tempfile.gettempdir()}"
    logger.info("%d pictures take %.2f GB and are kept in %s (cache=%r).", shape[0], size / 1e9, place, cache)
    new: Picture = np.empty(shape, np.uint8) if in_ram else _temporary_memmap(shape, size)
    if old is not None:
        new[:used] = old[:used]
    return new


def _temporary_memmap(shape: tuple[int, ...], size: int) -> Picture:
    # The file has no name (or goes with its handle), so that even a killed process leaves nothing behind.
    with tempfile.TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):  # without it a full disk is a SIGBUS while writing
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "w+", shape=shape)
        except OSError as error:
            raise DataError(
                f"The decoded pictures need {size / 1e9:.1f} GB in {tempfile.gettempdir()}, which failed: "
                f"{error}. Choose another place with the variable TMPDIR, or a smaller image_size."
            ) from error


def available_memory() -> int:
    """Return how many bytes each process of this machine's training may still take."""
    free = []
    try:
        meminfo = Path("/proc/meminfo").read_text()
        free.append(int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError, IndexError):
        pass  # another system than Linux, or no limit ("max")
    if not free and hasattr(os, "sysconf"):
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    processes = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)
    return min(free, default=0) // processes


def report_bad_images(bad: Mapping[str, str], policy: str, asked: int) -> None:
    """Refuse the pictures that cannot be read, or say that they are left out.

    Args:
        bad: Name → reason.
        policy: ``"error"`` or ``"skip"``.
        asked: How many pictures were to be read.

    Raises:
        DataError: If there are any and the policy is ``"error"``, or if nothing is left.
        ConfigurationError: If the policy is neither.
    """
    if policy not in ON_BAD_IMAGE:
        raise unknown_name("on_bad_image", policy, ON_BAD_IMAGE)
    if not bad:
        return
    lines = [f"  {name}: {reason}" for name, reason in list(bad.items())[:_SHOWN]]
    if len(bad) > _SHOWN:
        lines.append(f"  … and {len(bad) - _SHOWN} more")
    listed = "\n".join(lines)
    if policy == "error" or len(bad) == asked:
        raise DataError(
            f"{len(bad)} of {asked} pictures cannot be read:\n{listed}\n"
            "Repair or remove them, or leave them out with on_bad_image='skip' (--data.on_bad_image skip)."
        )
    logger.warning("Left out %d of %d pictures, which cannot be read:\n%s", len(bad), asked, listed)
