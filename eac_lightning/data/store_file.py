"""Decoded pictures in a file that later runs, and other processes of this one, read too."""

import hashlib
import json
import logging
import os
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from eac_lightning._files import replacing
from eac_lightning.errors import DataError

VARIABLE = "EAC_LIGHTNING_CACHE"
_FORMAT = 1
_BLOCK = 2**20
_BLOCKS = 1024  # a checksum of more would take longer than decoding some of them anew
_DAY = 24 * 3600  # seconds
_FORGOTTEN = 30 * _DAY
_ROOM = 20 * 10**9  # bytes

logger = logging.getLogger("eac_lightning")


@dataclass(frozen=True)
class Header:
    """What stands beside the pixels.

    Attributes:
        fingerprint: Of the sources, see ``PictureSource.fingerprint``.
        shape: (M, C, S, S) of the pixels.
        bad: Position and reason of each picture that could not be read.
        checksum: Of the pixels; of a gigabyte of them, evenly spread, where there are more.
        version: Of this format.
    """

    fingerprint: str
    shape: tuple[int, ...]
    bad: dict[int, str]
    checksum: int
    version: int = _FORMAT


def cache_folder() -> Path:
    """Return where stores are kept: ``$EAC_LIGHTNING_CACHE``, else ``eac_lightning`` in the user's cache.

    Raises:
        DataError: If the user has no cache.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    with _explained("the user's cache"):
        return (Path(base) if base else Path.home() / ".cache") / "eac_lightning"


class StoreFile:
    """The file of some pictures at some size: pixels, a header beside them, and a lock.

    All of them together take at most 20 GB: for a new one, those go that nothing has read for longest, but none of
    the last day, which may be the other splits of the same run. What nothing has read for a month goes in any case.

    Args:
        place: Where the pictures lie.
        names: (M,) what they are called.
        size: Their side in pixels.
    """

    def __init__(self, place: str, names: Iterable[str], size: int) -> None:
        digest = hashlib.blake2b(str(size).encode(), digest_size=12)
        for name in (place, *names):
            digest.update(name.encode(errors="surrogateescape") + b"\0")
        self.folder = cache_folder() / "stores"
        self.pixels = self.folder / f"{digest.hexdigest()}.pixels"
        self.header = self.pixels.with_suffix(".json")

    def lock(self) -> AbstractContextManager[object]:
        """Wait for the lock under which one process of the machine writes, and return it.

        Raises:
            DataError: If the folder cannot be written to.
        """
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            return FileLock(self.pixels.with_suffix(".lock")).acquire()

    def read(self, fingerprint: str) -> tuple[NDArray[np.uint8], dict[int, str]] | None:
        """Return pixels and bad pictures; None where there are none of these sources, or they are damaged."""
        try:
            told = json.loads(self.header.read_text())
            header = Header(**{**told, "bad": {int(at): why for at, why in told["bad"].items()}})
            if (header.version, header.fingerprint) != (_FORMAT, fingerprint):
                return None
            images = self._mapped(tuple(header.shape))
            size = self.pixels.stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        if images.nbytes != size or checksum(images) != header.checksum:
            logger.warning("the stored pictures in %s are damaged, and are made anew", self.pixels)
            return None
        with suppress(OSError):  # another process may just have removed it
            os.utime(self.header)
        return images, header.bad

    def create(self, shape: tuple[int, ...]) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
        """Return room on the disk for pixels, which :meth:`write` puts in their place once nothing maps them.

        Raises:
            DataError: If there is not enough.
        """
        size = int(np.prod(shape))
        partial = self.pixels.with_name(f".{self.pixels.name}.partial")
        try:
            self._forget(size)
            partial.unlink(missing_ok=True)  # an earlier one may still be copied from
            with partial.open("w+b") as file:
                if hasattr(os, "posix_fallocate"):  # without it a full disk is a SIGBUS while writing
                    os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError as error:
            partial.unlink(missing_ok=True)  # it may hold what the disk had left
            raise DataError(
                f"The decoded pictures need {size / 1e9:.2f} GB in {self.folder}, which failed: {error}. Choose "
                f"another place with the variable {VARIABLE}, a smaller image_size, or cache='none'."
            ) from error

    def write(self, header: Header) -> NDArray[np.uint8]:
        """Put the pixels that :meth:`create` gave room for, cut to those of ``header``, in place, and return them."""
        partial = self.pixels.with_name(f".{self.pixels.name}.partial")
        with partial.open("r+b") as file:
            file.truncate(int(np.prod(header.shape)))
            os.fsync(file.fileno())
        self.header.unlink(missing_ok=True)  # else it describes the new pixels if this process ends here
        partial.replace(self.pixels)
        with replacing(self.header) as unfinished:
            unfinished.write_text(json.dumps(asdict(header)))
        return self._mapped(header.shape)

    def _mapped(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.memmap(self.pixels, np.uint8, "c", shape=shape)  # what is written to it stays with the process

    def _forget(self, size: int) -> None:
        """Remove the stores that have no place beside ``size`` new bytes, and what killed processes have left."""
        parts: dict[str, list[tuple[Path, os.stat_result]]] = defaultdict(list)
        for path in self.folder.iterdir():
            # A lock stays: who waits for one that is removed would hold another than who comes then.
            if path.suffix in (".json", ".pixels", ".partial") and self.pixels.stem not in path.name:
                with suppress(OSError):
                    parts[path.name.strip(".").split(".")[0]].append((path, path.stat()))
        taken = size + sum(about.st_size for store in parts.values() for _, about in store)
        unread = {name: time.time() - max(about.st_mtime for _, about in store) for name, store in parts.items()}
        for name in sorted(unread, key=unread.__getitem__, reverse=True):
            if unread[name] > _FORGOTTEN or (unread[name] > _DAY and taken > _ROOM):
                for path, about in parts[name]:
                    with suppress(OSError):
                        path.unlink()
                        taken -= about.st_size


@contextmanager
def _explained(where: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Pictures cannot be kept in {where}: {str(error).rstrip('.')}. Choose another place with the variable "
            f"{VARIABLE}, or cache='ram' or 'none'."
        ) from error


def checksum(images: NDArray[np.uint8]) -> int:
    """Return a checksum of pixels; of a gigabyte of them, evenly spread, where there are more."""
    flat = images.reshape(-1)
    blocks = -(-len(flat) // _BLOCK)
    value = 0
    for block in range(0, blocks, max(1, -(-blocks // _BLOCKS))):
        value = zlib.crc32(flat[block * _BLOCK : (block + 1) * _BLOCK].data, value)
    return value
