import hashlib
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.shards.manifest import MANIFEST
from eac_lightning.data.shards.pack import pack
from tests.conftest import make_faces


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def declare(packed: Path, name: str) -> None:
    """Have the index say what a shard is now, as if it had been packed so."""
    fields = json.loads((packed / MANIFEST).read_text())
    content = (packed / name).read_bytes()
    for shard in fields["splits"]["train"]:
        if shard["name"] == name:
            shard.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (packed / MANIFEST).write_text(json.dumps(fields))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Shards of 120 training, 27 validation and 15 test faces; 11 training shards, the last one smaller."""
    make_faces(tmp_path / "faces", (40, 9, 5))
    pack(read_annotations(tmp_path / "faces"), tmp_path / "shards", shard_bytes=8000)
    return tmp_path / "shards"
