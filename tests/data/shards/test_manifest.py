import json
from pathlib import Path

import pytest

from eac_lightning.data.shards.manifest import MANIFEST, Manifest, holds_shards
from eac_lightning.errors import DataError


def test_a_manifest_is_read_as_it_was_written(packed: Path) -> None:
    manifest = Manifest.parse((packed / MANIFEST).read_text(), str(packed))
    manifest.write(packed / "again")
    assert (packed / "again" / MANIFEST).read_bytes() == (packed / MANIFEST).read_bytes()
    assert manifest.class_counts("train").tolist() == [40, 40, 40]
    assert manifest.class_counts("none").tolist() == [0, 0, 0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "splits": {"train": [3]}}'])
def test_a_damaged_manifest_is_named(text: str) -> None:
    with pytest.raises(DataError, match="of `eac data pack` at here, but it is damaged"):
        Manifest.parse(text, "here")


def test_a_manifest_too_deep_to_read_is_named() -> None:
    with pytest.raises(DataError, match="of `eac data pack` at here, but it is damaged .Recursion"):
        Manifest.parse("[" * 100_000, "here")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../payload.arrow"), ("name", "train-000000.arrow\n"), ("name", "train-1.arrow"), ("name", 3),
        ("sha256", "../" + 61 * "0"), ("sha256", 63 * "0"), ("faces", -1), ("faces", True), ("bytes", 1.5),
        ("classes", [1, -1, 1]), ("classes", [1, 1]),
    ],
)  # fmt: skip
def test_a_shard_that_cannot_be_is_refused(packed: Path, field: str, value: object) -> None:
    fields = json.loads((packed / MANIFEST).read_text())
    fields["splits"]["train"][1][field] = value
    with pytest.raises(DataError, match="at here, but it is damaged"):
        Manifest.parse(json.dumps(fields), "here")


def test_shards_are_known_by_what_their_index_holds(packed: Path, tmp_path: Path) -> None:
    assert holds_shards(packed)
    assert not holds_shards(tmp_path)
    (tmp_path / MANIFEST).write_text('{"cards": []}')
    assert not holds_shards(tmp_path)
    assert not holds_shards(Path("a\0b"))


def test_another_format_is_refused(packed: Path) -> None:
    fields = json.loads((packed / MANIFEST).read_text())
    with pytest.raises(DataError, match="Expected shards of format 1 at here, but they are of format 2"):
        Manifest.parse(json.dumps({**fields, "format": 2}), "here")
