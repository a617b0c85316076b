"""Which files are pictures, and where they lie."""

import os
from collections.abc import Iterable
from pathlib import Path

from eac_lightning.errors import DataError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm")


def is_picture(path: str | Path) -> bool:
    """Say whether a file is one by its ending."""
    return str(path).lower().endswith(PICTURE_ENDINGS)


def list_pictures(root: Path, what: str = "pictures") -> list[str]:
    """Return every picture below a folder, hidden ones apart, sorted, relative to it with forward slashes.

    Links to pictures are followed; links to folders are not, since they may lead back up.

    Args:
        root: The folder.
        what: What they are called in an error.

    Raises:
        DataError: If there is no such folder, or no picture in it.
    """
    if not root.is_dir():
        found = "that is a file" if root.exists() else "there is none"
        raise DataError(f"Expected a folder of {what} at {root}, but {found}. Check the path.")
    files: list[Path] = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    pictures = sorted(path.relative_to(root).as_posix() for path in files if is_picture(path) and path.is_file())
    if not pictures:
        heic = any(path.suffix.lower() in (".heic", ".heif") for path in files)
        raise DataError(
            f"Expected {what} ({' '.join(PICTURE_ENDINGS)}) in {root} or below it, but there is none. "
            + ("HEIC is not read: save those as JPEG first." if heic else "Name the folder that holds them.")
        )
    return pictures


def find_pictures(named: Iterable[Path]) -> list[Path]:
    """Return the pictures that files and folders name, those of a folder in the order of their names.

    Raises:
        DataError: If something is not there, a folder has no picture, or nothing is named.
    """
    found: list[Path] = []
    for path in map(Path, named):
        if not path.exists():
            raise DataError(f"Expected a picture or a folder of pictures at {path}, but there is nothing.")
        found += [path / name for name in list_pictures(path)] if path.is_dir() else [path]
    if not found:
        raise DataError("Expected pictures or folders of them, but none was named.")
    return found
