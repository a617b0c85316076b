"""Which files are pictures, where they lie, and which are left alone."""

import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from eac_lightning.errors import DataError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm")
ALLOW_OUTSIDE = "copy it there, or trust this data set with allow_outside=True (--data.allow_outside true)"
UNWRITABLE = "its name holds control characters, or bytes that are not UTF-8; rename it"
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UPWARDS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")

logger = logging.getLogger("eac_lightning")


def is_picture(path: str | Path) -> bool:
    """Say whether a file is one by its ending."""
    return str(path).lower().endswith(PICTURE_ENDINGS)


def is_writable(name: str) -> bool:
    """Say whether a name can stand in every table, JSON file and terminal: valid Unicode, no control character."""
    return not _UNWRITABLE.search(name)


def printable(text: str) -> str:
    r"""Return a text with what ``is_writable`` forbids as an escape, such as ``\n``, or ``\udcff`` for a byte."""
    return _UNWRITABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def why_unusable(root: Path, names: Iterable[str], allow_outside: bool = False) -> list[str]:
    """Return for each picture why it is not read, "" where nothing speaks against it; none is opened.

    A picture is read if it is an ordinary file and lies below the root, by its name and with all links followed.
    The root itself may be a link, and links may lead to anything below it.

    Args:
        root: The folder that ``names`` are relative to.
        names: One file each.
        allow_outside: Whether links, absolute names and ``..`` may lead out of the root.
    """
    home, below = root.resolve(), f"{root}/"
    leads_out = out_of(root)
    # Few folders hold all the pictures: each is resolved once, and a file that is no link adds nothing.
    inside = cache(lambda path: Path(path).resolve().is_relative_to(home))

    def reason(name: str) -> str:
        path = below + name  # strings, a million times
        if ".." in name or os.path.isabs(name):  # noqa: PTH117
            if not allow_outside and leads_out(name):
                return f"a name that leads out of {root}; {ALLOW_OUTSIDE}"
            path = os.path.join(root, name)  # noqa: PTH118
        try:
            mode = os.lstat(path).st_mode
            link = stat.S_ISLNK(mode)
            if not stat.S_ISREG(os.stat(path).st_mode if link else mode):  # noqa: PTH116
                return "not an ordinary file"
        except (FileNotFoundError, NotADirectoryError):
            return "no such file"
        except OSError as error:
            return str(error.strerror)
        if not allow_outside and not inside(path if link else os.path.dirname(path)):  # noqa: PTH120
            return f"a link that leads out of {root}; {ALLOW_OUTSIDE}"
        return ""

    return [reason(name) for name in names]


def out_of(root: Path) -> Callable[[str], bool]:
    """Return what says of a name in a table whether it leads out of ``root``: by ``..``, or as an absolute one."""
    # Strings and not paths, because there may be a million of them.
    homes = tuple(str(home / "x")[:-1] for home in (root.absolute(), root.resolve()))
    return lambda name: _UPWARDS.search(name) is not None or (os.path.isabs(name) and not name.startswith(homes))  # noqa: PTH117


def check_inside(root: Path, file: Path, allow_outside: bool) -> None:
    """Refuse a table or other labels that are found in a folder, but lie elsewhere by a link.

    Raises:
        DataError: If so, and it is not allowed.
    """
    if file != root and not allow_outside and not file.resolve().is_relative_to(root.resolve()):
        raise DataError(f"Expected labels in {root}, but {file} leads out of it, by a link; {ALLOW_OUTSIDE}.")


def folder_entries(folder: Path) -> list["os.DirEntry[str]"]:
    """Return what is in a folder, hidden entries apart.

    Raises:
        DataError: If it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"Expected to list the folder {printable(str(folder))}, but that fails: {error.strerror}. "
            "Correct its permissions, or take it out of the data set."
        ) from error


def files_below(root: Path, folder: str = "") -> Iterator[str]:
    """Yield the files below ``root/folder``, relative to ``root`` with forward slashes, without hidden ones.

    Links to folders are not followed, since they may lead back up, but yielded like files.

    Raises:
        DataError: If a folder cannot be listed.
    """
    folders = [folder]
    while folders:
        above = folders.pop()
        for entry in folder_entries(root / above):
            name = f"{above}/{entry.name}" if above else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            else:
                yield name


def list_pictures(root: Path, what: str = "pictures", allow_outside: bool = False) -> list[str]:
    """Return every picture below a folder, hidden ones apart, sorted, relative to it with forward slashes.

    Links to pictures are followed; links to folders are not, since they may lead back up.

    Args:
        root: The folder.
        what: What they are called in an error.
        allow_outside: Whether links may lead out of the folder; else those that do are left out, and counted.

    Raises:
        DataError: If there is no such folder, one cannot be listed, or there is no picture in it.
    """
    if not root.is_dir():
        found = "that is a file" if root.exists() else "there is none"
        raise DataError(f"Expected a folder of {what} at {root}, but {found}. Check the path.")
    files = list(files_below(root))
    home, below = root.resolve(), f"{root}/"  # strings, a million times
    pictures = sorted(name for name in files if is_picture(name) and os.path.isfile(below + name))  # noqa: PTH113
    links = [] if allow_outside else [name for name in pictures if os.path.islink(below + name)]  # noqa: PTH114
    outside = [name for name in links if not (root / name).resolve().is_relative_to(home)]
    if outside:
        logger.warning("Left out %d links that lead out of %s, such as %s.", len(outside), root, printable(outside[0]))
        pictures = sorted(set(pictures) - set(outside))
    if not pictures:
        heic = any(name.lower().endswith((".heic", ".heif")) for name in files)
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


def spread_over(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """Return at most ``limit`` of the pictures, evenly from all over them: the first ones may be of one class."""
    count = min(limit or len(paths), len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]
