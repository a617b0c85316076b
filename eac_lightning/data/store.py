"""Faces decoded once, resized to one size and kept as eight-bit pixels."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from eac_lightning.data.memory import available_memory
from eac_lightning.data.sources import PictureSource, decoded, local_processes, prepare
from eac_lightning.data.store_file import VARIABLE, Header, StoreFile, checksum
from eac_lightning.errors import DataError, StorageError, unknown_name

CACHES = ("auto", "ram", "disk", "none")
KEPT = 2**30
"""Bytes of pictures that ``cache="auto"`` keeps for the next run without being asked to."""

_WORTH_A_BAR = 500

logger = logging.getLogger("eac_lightning")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageStore:
    """Pictures of one size and one number of channels, in RAM or in a memory-mapped file.

    Attributes:
        images: (M, C, S, S) uint8; C is 1 when every picture is grey, else 3.
        kept: (M,) positions, among the pictures asked for, of those that could be read.
        bad: The name of each picture that could not be read, and why.
    """

    images: Pixels
    kept: NDArray[np.int64]
    bad: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def build(cls, source: PictureSource, size: int, cache: str = "auto") -> "ImageStore":
        """Decode pictures, or find them decoded.

        Args:
            source: The pictures.
            size: Side of the stored pictures in pixels.
            cache: ``"ram"``; ``"disk"``, a file that later runs and other processes of the machine read too, made
                anew when a picture changes; or ``"auto"``: the file where it takes less than ``KEPT`` bytes, several
                processes share it or RAM has less than twice the room.

        Raises:
            ConfigurationError: If ``cache`` is none of these.
            DataError: If the file does not fit on the disk, or its folder cannot be written to.
        """
        if cache not in CACHES:
            raise unknown_name("cache", cache, CACHES)
        largest = len(source.names) * 3 * size**2
        if not _goes_to_disk(cache, largest):
            return cls._decode(source, size, lambda shape: np.empty(shape, np.uint8))
        try:
            return cls._on_disk(source, size)
        except (DataError, StorageError, OSError) as error:
            if cache == "disk" or largest > available_memory() // 2:
                raise
            logger.warning("the decoded pictures are kept in RAM: %s", error)
            return cls._decode(source, size, lambda shape: np.empty(shape, np.uint8))

    @classmethod
    def _on_disk(cls, source: PictureSource, size: int) -> "ImageStore":
        file, fingerprint = StoreFile(source.place, source.names, size), source.fingerprint()
        with file.lock():
            if (found := file.read(fingerprint)) is not None:
                images, bad = found
                # What could not be read once may have been the disk's fault.
                if all(isinstance(prepare(source, position, size), str) for position in bad):
                    named = {source.names[position]: why for position, why in bad.items()}
                    return cls(images, np.delete(np.arange(len(source.names)), list(bad)), named)
                del found, images
            made = cls._decode(source, size, file.create)
            if not len(made.images):
                return made
            position = {name: at for at, name in enumerate(source.names)}
            bad = {position[name]: why for name, why in made.bad.items()}
            header = Header(fingerprint, made.images.shape, bad, checksum(made.images))
            kept, unread = made.kept, made.bad
            del made  # Windows neither cuts nor replaces what is still mapped
            images = file.write(header)
        logger.info(
            "%d pictures (%.0f MB) are kept in %s for the next run ($%s names another folder)",
            len(images), images.nbytes / 1e6, file.folder, VARIABLE,
        )  # fmt: skip
        return cls(images, kept, unread)

    @classmethod
    def _decode(
        cls, source: PictureSource, size: int, room: Callable[[tuple[int, int, int, int]], Pixels]
    ) -> "ImageStore":
        count = len(source.names)
        kept: list[int] = []
        bad: dict[str, str] = {}
        images: Pixels | None = None
        shown = count >= _WORTH_A_BAR and sys.stderr.isatty()
        console = Console(stderr=True)
        pictures = track(
            decoded(source, size), "Reading pictures", count, console=console, transient=True, disable=not shown
        )
        for position, picture in enumerate(pictures):
            if isinstance(picture, str):
                bad[source.names[position]] = picture
                continue
            channels = 1 if picture.ndim == 2 else 3
            if images is None or channels > images.shape[1]:
                grown = room((count, channels, size, size))
                if images is not None:
                    grown[: len(kept)] = images[: len(kept)]  # grey repeated
                images = grown
            images[len(kept)] = picture if channels == 1 else picture.transpose(2, 0, 1)
            kept.append(position)
        if images is None:
            images = np.empty((0, 1, size, size), np.uint8)
        return cls(images[: len(kept)], np.asarray(kept, np.int64), bad)


def _goes_to_disk(cache: str, largest: int) -> bool:
    shared = local_processes() > 1
    return cache == "disk" or (cache == "auto" and (largest <= KEPT or shared or largest > available_memory() // 2))
