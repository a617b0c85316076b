"""Which files are pictures, and where they lie."""

from collections.abc import Iterable
from pathlib import Path

from eac_lightning.errors import DataError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm")


def is_picture(path: str | Path) -> bool:
    """Say whether a file is one by its ending."""
    return str(path).lower().endswith(PICTURE_ENDINGS)


def list_pictures(root: Path, what: str = "pictures") -> list[str]:
    """Return every picture below a folder, hidden ones apart, sorted, relative to it with forward slashes.

    Args:
        root: The folder.
        what: What they are called in an error.

    Raises:
        DataError: If there is no such folder, or no picture in it.
    """
    if not root.is_dir():
        raise DataError(f"Expected a folder of {what} at {root}, but there is none. Check the path.")
    files = (path.relative_to(root) for path in root.rglob("*") if is_picture(path) and path.is_file())
    visible = sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))
    if not visible:
        raise DataError(
            f"Expected {what} ({' '.join(PICTURE_ENDINGS)}) in {root} or below it, but there is none. Name the folder "
            "that holds them."
        )
    return visible


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
