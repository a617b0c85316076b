"""How files and folders are written: they stand there whole or not at all, also after a crash of the machine."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eac_lightning.errors import ConfigurationError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_out_folder(out: Path) -> None:
    """Refuse, before the work, a folder for its results that can never be made.

    Raises:
        ConfigurationError: If a file stands there, or at one of the folders above.
    """
    in_the_way = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    if in_the_way is not None:
        raise ConfigurationError(f"Expected --out to be a folder, but {in_the_way} is a file. Name another one.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it becomes ``path`` once the block has succeeded.

    Raises:
        StorageError: If there is no space for it; what ``path`` was before is unchanged.
    """
    partial = _partial(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            _sync(partial)
            partial.replace(path)
            with suppress(OSError):  # folders cannot be synced everywhere
                _sync(path.parent)
        finally:
            with suppress(OSError):
                partial.unlink()


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yield a new folder that becomes ``folder``, which may be there if it is empty, once the block has succeeded.

    Raises:
        StorageError: If there is no space for what is written.
    """
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    with _explained(folder):
        partial.mkdir(parents=True)
        try:
            yield partial
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        full = _lack_of_space(error)
        if full is None or isinstance(error, StorageError):
            raise
        raise StorageError(
            f"There is no space to write {path} ({full.strerror}). What stood there before is unchanged. Make room in "
            f"{path.parent}, or write elsewhere, and repeat the command: a training goes on where it was saved."
        ) from error


def _sync(path: Path) -> None:
    """Have the disk hold what the system has only promised: a renamed file may else be empty after a power cut."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs none that is only read
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lack_of_space(error: BaseException | None) -> OSError | None:
    """Return the system's word that a disk is full, under whatever a library made of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        error = error.__cause__ or error.__context__
    return None
