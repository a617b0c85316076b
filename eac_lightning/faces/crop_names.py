"""What the crops of photographs are called."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def plan_names(photographs: Sequence[str], several: bool) -> dict[str, str]:
    """Return what the crops of each photograph are called, without ``.png``, so that no two share a name.

    ``a/b.jpg`` gives ``a/b``; where another photograph has, or could come to have, a crop of that name, it gives
    ``a/b.jpg``. Case makes no difference, since on some disks it makes none.

    Args:
        photographs: All of them, as relative paths with forward slashes.
        several: Whether a photograph may give several crops, which are then called ``a/b_0``, ``a/b_1`` …
    """
    stems = {path: PurePosixPath(path).with_suffix("").as_posix() for path in photographs}
    counts = Counter(stem.casefold() for stem in stems.values())
    full = {path.casefold() for path in photographs}
    numbered = {stem: re.sub(r"_\d+$", "", stem) for stem in counts if several}
    parents = {parent for stem, parent in numbered.items() if parent != stem} & (counts.keys() | full)

    def clashes(stem: str) -> bool:
        return counts[stem] > 1 or stem in full or stem in parents or numbered.get(stem, stem) in parents

    return {path: path if clashes(stem.casefold()) else stem for path, stem in stems.items()}


def crop_files(base: str, count: int) -> list[str]:
    """Return the files of a photograph's crops, of which :func:`plan_names` says what they are called."""
    return [f"{base}.png"] if count == 1 else [f"{base}_{number}.png" for number in range(count)]
