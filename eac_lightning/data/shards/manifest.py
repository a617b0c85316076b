"""``shards.json``: what is in a folder of shards. It grows with their number, not with that of the faces."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eac_lightning._files import replacing
from eac_lightning.errors import DataError

MANIFEST = "shards.json"
FORMAT = 1
_NAME = re.compile(r"(train|val|test)-[0-9]{6,}\.arrow")
_CHECKSUM = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Shard:
    """One file of faces.

    Attributes:
        name: The file, relative to the manifest.
        faces: How many it holds.
        bytes: Its size.
        sha256: Its checksum, in hexadecimal digits.
        classes: How many faces each of the K classes has.
    """

    name: str
    faces: int
    bytes: int
    sha256: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What is in a folder of shards; written last, so that a folder that has one is complete.

    Attributes:
        class_names: The K classes.
        splits: The shards of each split, in packed order.
        grey: Whether every face is grey.
        clean: Whether the clean label of any face is known.
        votes: Whether the votes of raters are with the faces.
        settings: What the shards were packed with, and from.
        alignment: How the faces were cut out, as ``Alignment.to_dict`` says it; None if unknown.
        notes: What was chosen, assumed and left out when the data set was read.
        version: The version of this package that packed.
        format: ``FORMAT``.
    """

    class_names: tuple[str, ...]
    splits: dict[str, tuple[Shard, ...]]
    grey: bool
    clean: bool
    votes: bool
    settings: dict[str, Any]
    alignment: dict[str, Any] | None
    notes: tuple[str, ...]
    version: str
    format: int = FORMAT

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return (K,) how many faces of a split each class has."""
        counts = [shard.classes for shard in self.splits.get(split, ())]
        return np.asarray(np.array(counts, np.int64).reshape(-1, len(self.class_names)).sum(0))

    def write(self, folder: Path) -> None:
        """Write it into the folder of the shards."""
        with replacing(folder / MANIFEST) as partial:
            partial.write_text(json.dumps(asdict(self), ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def parse(cls, text: str, where: str) -> "Manifest":
        """Return the manifest that ``text`` holds.

        Raises:
            DataError: If it is none, or of a format that this version does not know.
        """
        try:
            fields = json.loads(text)
            if fields["format"] != FORMAT:
                raise DataError(
                    f"Expected shards of format {FORMAT} at {where}, but they are of format {fields['format']}. "
                    "Pack the data set again with this version, or read it with the one that packed it."
                )
            names, notes = tuple(fields["class_names"]), tuple(fields["notes"])
            shards = {
                split: tuple(_read_shard(shard, len(names)) for shard in shards)
                for split, shards in fields["splits"].items()
            }
            return cls(**{**fields, "splits": shards, "class_names": names, "notes": notes})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"Expected {MANIFEST} of `eac data pack` at {where}, but it is damaged ({error!r}). Pack the data "
                "set again: shards that are whole are kept."
            ) from error


def holds_shards(folder: Path) -> bool:
    """Return whether a folder has an index that begins as ``Manifest.write`` begins it."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            return file.read(15) == b'{"class_names":'
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_shard(fields: dict[str, Any], classes: int) -> Shard:
    """Return what a line of the index says, none of which leads out of the folder."""
    shard = Shard(**{**fields, "classes": tuple(fields["classes"])})
    numbers = (shard.faces, shard.bytes, *shard.classes)
    if not (
        _NAME.fullmatch(shard.name)
        and _CHECKSUM.fullmatch(shard.sha256)
        and all(type(number) is int and number >= 0 for number in numbers)
        and len(shard.classes) == classes
    ):
        raise ValueError(f"no shard: {fields}")
    return shard
