"""The files of a folder of shards, on a disk here or in object storage."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from eac_lightning._files import replacing
from eac_lightning.data.shards.manifest import MANIFEST, Manifest, Shard
from eac_lightning.data.store_file import cache_folder
from eac_lightning.errors import DataError, EACError

_FAILURES = (OSError, ValueError, pa.ArrowException)
_COLUMNS = ("image", "label", "clean_label", "index", "path")


class ShardFiles:
    """Gives each shard as a file on this machine, fetching it first where it lies elsewhere.

    What was fetched is called by its checksum, so that a shard that was packed anew is another one, and is shared by
    the processes of the machine: one fetches, the others wait for it. When the cache is full, the shards that were
    used longest ago are removed; a process that still reads one keeps it until it is done.

    Args:
        root: A folder, or an address such as ``s3://bucket/folder`` or ``gs://bucket/folder``. Credentials are those
            of the environment, as the provider's own tools find them.
        cache_dir: Where fetched shards are kept; ``shards`` in ``cache_folder()`` if None.
        cache_bytes: How much of them is kept; half of what they and the free space there are together if None.

    Raises:
        DataError: If there are no shards, or they cannot be reached.
    """

    def __init__(self, root: str | Path, cache_dir: str | Path | None = None, cache_bytes: int | None = None) -> None:
        self.root = str(root)
        self.remote = "://" in self.root
        self.folder = Path(root).expanduser()
        self._checked: set[str] = set()
        if self.remote:
            self.folder = Path(cache_dir or cache_folder() / "shards")
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = sum(stat.st_size for stat in self._kept().values())
            self.cache_bytes = cache_bytes or (shutil.disk_usage(self.folder).free + kept) // 2
        self.manifest = Manifest.parse(self._read_manifest(), self.root)

    def _read_manifest(self) -> str:
        missing = f"Expected {MANIFEST} in {self.root}"
        hint = "Write it with `eac data pack ROOT OUT`; started again, a run that was interrupted goes on."
        try:
            if not self.remote:
                return (self.folder / MANIFEST).read_text(encoding="utf-8")
            with self._open(MANIFEST) as file:
                return str(file.read().decode())
        except FileNotFoundError:
            raise DataError(f"{missing}, but there is none. {hint}") from None
        except _FAILURES as error:
            raise DataError(f"{missing}, but it cannot be read: {error}. Check the address and its rights.") from error

    def _open(self, name: str) -> pa.NativeFile:
        system, path = fs.FileSystem.from_uri(self.root)  # an address may end in options, behind the path
        return system.open_input_stream(f"{path.rstrip('/')}/{name}")

    def batch(self, shard: Shard) -> pa.RecordBatch:
        """Return a shard's faces, which stay on disk until they are read; whole, as a first look makes sure.

        Raises:
            DataError: If it is missing or not what was packed.
        """
        try:
            with suppress(FileNotFoundError):  # another process has just made room, or what was kept is damaged
                return self._mapped(shard)
            return self._mapped(shard)
        except EACError:
            raise
        except (*_FAILURES, KeyError) as error:
            raise DataError(f"{shard.name} of {self.root} cannot be read: {error}. Pack or fetch it again.") from error

    def _mapped(self, shard: Shard) -> pa.RecordBatch:
        path = self.local(shard)
        content = pa.memory_map(str(path)).read_buffer()
        # What is damaged may end the process when it is read as Arrow, past any handler of errors.
        if shard.sha256 not in self._checked:
            if (digest := hashlib.sha256(content).hexdigest()) != shard.sha256:
                if self.remote:
                    path.unlink(missing_ok=True)
                    raise FileNotFoundError(path)
                raise _other_checksum(path, shard, digest, "Copy it again")
            self._checked.add(shard.sha256)
        batch = pa.ipc.open_file(content).get_batch(0).select([*_COLUMNS, *["votes"] * self.manifest.votes])
        batch.validate(full=True)
        return batch

    def local(self, shard: Shard) -> Path:
        """Return where a shard lies on this machine.

        Raises:
            DataError: If it is missing, or cut off, or what was fetched is not what was packed.
        """
        if not self.remote:
            path = self.folder / shard.name
            size = path.stat().st_size if path.is_file() else 0
            if size != shard.bytes:
                raise DataError(
                    f"Expected {shard.bytes} bytes in {path}, but it has {size}. Copy it again, or remove it and "
                    f"{MANIFEST} and pack again: the other shards are kept."
                )
            return path
        path = self.folder / f"{shard.sha256}.arrow"
        with FileLock(self.folder / f".{shard.sha256[:2]}.lock"):  # of the 1/256 of all shards that begin so
            if not path.is_file():
                self._fetch(shard, path)
                self._make_room(path)
            with suppress(FileNotFoundError):  # another process has just made room
                os.utime(path)
        return path

    def _fetch(self, shard: Shard, path: Path) -> None:
        try:
            with replacing(path) as partial:
                with self._open(shard.name) as file, partial.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                with partial.open("rb") as copy:
                    digest = hashlib.file_digest(copy, "sha256").hexdigest()
                if digest != shard.sha256:
                    raise _other_checksum(f"{shard.name} in {self.root}", shard, digest, "Upload the shard again")
        except EACError:
            raise
        except _FAILURES as error:
            raise DataError(f"Cannot fetch {shard.name} of {self.root} to {self.folder}: {error}.") from error

    def _kept(self) -> dict[Path, os.stat_result]:
        kept = {}
        for path in self.folder.glob("*.arrow"):
            with suppress(FileNotFoundError):
                kept[path] = path.stat()
        return kept

    def _make_room(self, wanted: Path) -> None:
        with FileLock(self.folder / ".room.lock"):
            kept = self._kept()
            excess = sum(stat.st_size for stat in kept.values()) - self.cache_bytes
            for path in sorted(kept, key=lambda path: kept[path].st_mtime):
                if excess > 0 and path != wanted:
                    path.unlink(missing_ok=True)
                    excess -= kept[path].st_size


def _other_checksum(what: str | Path, shard: Shard, digest: str, remedy: str) -> DataError:
    return DataError(f"Expected checksum {shard.sha256[:12]}… of {what}, but it has {digest[:12]}…. {remedy}.")
