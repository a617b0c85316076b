import hashlib
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import fs

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.shards.fetching import ShardFiles
from eac_lightning.data.shards.manifest import Shard
from eac_lightning.data.shards.pack import pack
from eac_lightning.data.store_file import cache_folder
from eac_lightning.errors import DataError
from tests.data.shards.conftest import declare


def remote(packed: Path, cache_bytes: int | None = None) -> ShardFiles:
    """The folder as an address, which is read through the same file systems as object storage."""
    return ShardFiles(packed.as_uri(), packed.parent / "cache", cache_bytes)


def test_a_folder_is_read_where_it_lies(packed: Path) -> None:
    files = ShardFiles(packed)
    shard = files.manifest.splits["train"][2]
    assert files.local(shard) == packed / "train-000002.arrow"


def test_an_address_is_fetched_once_and_checked(packed: Path) -> None:
    files = remote(packed)
    shard = files.manifest.splits["train"][2]
    path = files.local(shard)
    assert path.read_bytes() == (packed / shard.name).read_bytes()
    (packed / shard.name).unlink()
    assert files.local(shard) == path


def test_processes_that_want_the_same_shard_share_one_fetch(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    fetch = ShardFiles._fetch
    monkeypatch.setattr(ShardFiles, "_fetch", lambda self, *a: (fetched.append(a), fetch(self, *a)))
    shard = remote(packed).manifest.splits["train"][0]
    threads = [threading.Thread(target=remote(packed).local, args=[shard]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_a_full_cache_forgets_what_was_used_longest_ago(packed: Path) -> None:
    files = remote(packed)
    shards = files.manifest.splits["train"]
    files.cache_bytes = 3 * shards[0].bytes + 100
    paths = [files.local(shard) for shard in shards[:3]]
    for age, path in ((3, paths[1]), (2, paths[2]), (1, paths[0])):
        os.utime(path, (1000 - age, 1000 - age))
    files.local(shards[3])
    assert [path.is_file() for path in paths] == [True, False, True]
    files.cache_bytes = 1
    files.local(shards[4])
    assert [path.stem for path in files.folder.glob("*.arrow")] == [shards[4].sha256]


def test_half_of_what_is_free_or_taken_already_is_taken(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    files = remote(packed)
    assert files.cache_bytes == 500_000
    shard = files.manifest.splits["train"][0]
    files.local(shard)
    assert remote(packed).cache_bytes == (1_000_000 + shard.bytes) // 2
    assert remote(packed, 77).cache_bytes == 77


def test_fetched_shards_are_kept_with_the_other_caches(packed: Path) -> None:
    assert ShardFiles(packed.as_uri()).folder == cache_folder() / "shards"


def test_shards_that_were_packed_anew_are_fetched_anew(packed: Path) -> None:
    before = remote(packed)
    before.local(before.manifest.splits["train"][0])
    shutil.rmtree(packed)
    pack(read_annotations(packed.parent / "faces"), packed, shard_bytes=8000, seed=1)
    files = remote(packed)
    shard = files.manifest.splits["train"][0]
    assert files.local(shard).read_bytes() == (packed / shard.name).read_bytes()


def test_an_address_may_end_in_options(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_uri(address: str) -> tuple[fs.FileSystem, str]:
        assert address == "s3://bucket/folder/?endpoint_override=here"
        return fs.LocalFileSystem(), f"{packed}/"

    monkeypatch.setattr(fs, "FileSystem", SimpleNamespace(from_uri=from_uri))
    files = ShardFiles("s3://bucket/folder/?endpoint_override=here", packed.parent / "cache")
    shard = files.manifest.splits["val"][0]
    assert files.local(shard).read_bytes() == (packed / shard.name).read_bytes()


def test_what_a_file_system_does_not_know_is_named(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ShardFiles, name: str) -> pa.NativeFile:
        raise pa.ArrowNotImplementedError("built without")

    files = remote(packed)
    monkeypatch.setattr(ShardFiles, "_open", refuse)
    with pytest.raises(DataError, match="Cannot fetch train-000000.arrow of file://.*: built without"):
        files.local(files.manifest.splits["train"][0])


def test_a_shard_that_another_process_removes_is_fetched_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = remote(packed)
    shard = files.manifest.splits["train"][0]
    local, times = ShardFiles.local, []

    def racing(self: ShardFiles, shard: Shard) -> Path:
        path = local(self, shard)
        times.append(path)
        if len(times) == 1:
            path.unlink()
        return path

    monkeypatch.setattr(ShardFiles, "local", racing)
    assert files.batch(shard).num_rows == shard.faces
    assert len(times) == 2


def test_files_that_vanish_while_room_is_made_are_no_error(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = remote(packed, 1)
    monkeypatch.setattr(files, "_make_room", lambda path: path.unlink())
    path = files.local(files.manifest.splits["train"][0])
    monkeypatch.undo()
    files.folder.joinpath("gone.arrow").symlink_to(path)
    files._make_room(path)
    assert not path.exists()


def test_a_kept_shard_that_is_damaged_is_fetched_again(packed: Path) -> None:
    files = remote(packed)
    shard = files.manifest.splits["train"][0]
    path = files.local(shard)
    path.write_bytes(bytes(shard.bytes))
    assert files.batch(shard).num_rows == shard.faces
    assert path.read_bytes() == (packed / shard.name).read_bytes()


@pytest.mark.parametrize("place", [0.01, 0.1, 0.5, 0.99])
def test_a_damaged_shard_is_refused_before_arrow_reads_it(packed: Path, place: float) -> None:
    files = ShardFiles(packed)
    shard = files.manifest.splits["train"][0]
    content = bytearray((packed / shard.name).read_bytes())
    content[int(place * len(content))] ^= 255
    (packed / shard.name).write_bytes(content)
    with pytest.raises(DataError, match="Expected checksum .* of .*train-000000.arrow, but it has .* Copy it again"):
        files.batch(shard)


def test_a_shard_is_summed_up_once_in_a_process(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summed, sha256 = [], hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda content: (summed.append(1), sha256(content))[1])
    files = ShardFiles(packed)
    for _ in range(2):
        files.batch(files.manifest.splits["train"][0])
    assert len(summed) == 1


@pytest.mark.parametrize("content", [b"no arrow", None])
def test_what_is_no_shard_is_named(packed: Path, content: bytes | None) -> None:
    path = packed / "train-000000.arrow"
    if content is None:
        batch = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).get_batch(0).drop_columns(["label"])
        with pa.ipc.new_file(str(path), batch.schema) as file:
            file.write_batch(batch)
    else:
        path.write_bytes(content)
    declare(packed, path.name)
    files = ShardFiles(packed)
    with pytest.raises(DataError, match="train-000000.arrow of .* cannot be read: .* Pack or fetch it again"):
        files.batch(files.manifest.splits["train"][0])


def test_a_damaged_upload_is_refused_and_not_kept(packed: Path) -> None:
    files = remote(packed)
    shard = files.manifest.splits["val"][0]
    (packed / shard.name).write_bytes(b"other")
    with pytest.raises(DataError, match="Expected checksum .* of val-000000.arrow in file://.*, but it has .* Upload"):
        files.local(shard)
    assert not list(files.folder.glob("*.arrow"))
    (packed / shard.name).unlink()
    with pytest.raises(DataError, match="Cannot fetch val-000000.arrow of file://.* to"):
        files.local(shard)


def test_a_local_shard_that_is_cut_off_is_named(packed: Path) -> None:
    files = ShardFiles(packed)
    shard = files.manifest.splits["val"][0]
    (packed / shard.name).write_bytes(b"other")
    with pytest.raises(DataError, match=f"Expected {shard.bytes} bytes in .*val-000000.arrow, but it has 5"):
        files.local(shard)
    (packed / shard.name).unlink()
    with pytest.raises(DataError, match="but it has 0"):
        files.local(shard)


def test_what_holds_no_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected shards.json in .*, but there is none. .*`eac data pack ROOT OUT`"):
        ShardFiles(tmp_path)
    with pytest.raises(DataError, match=r"Expected shards.json in file://.*, but there is none"):
        ShardFiles(tmp_path.as_uri(), tmp_path)
    with pytest.raises(DataError, match=r"it cannot be read: .*Check the address and its rights"):
        ShardFiles("nowhere://bucket/faces", tmp_path)
