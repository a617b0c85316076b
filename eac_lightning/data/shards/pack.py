"""From any data set that can be read to shards: files of faces in random order, each written whole or not at all."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from eac_lightning import __version__
from eac_lightning._files import replacing
from eac_lightning.data.annotations import ON_BAD_IMAGE, SHOWN, Annotations
from eac_lightning.data.decoding import decode_image, resize_square
from eac_lightning.data.shards.manifest import Manifest, Shard
from eac_lightning.data.splits import SPLITS
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.faces.settings import read_alignment

SETTINGS = "packing.json"
"""What a folder of shards is being packed with, so that only the same command goes on."""

_CHUNK = 512
"""Faces that are decoded at a time: memory does not grow with the data set's pictures."""


@dataclass
class _Buffer:
    """The faces of the shard that is being filled."""

    begin: int
    rows: list[int] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    bytes: int = 0
    grey: bool = True
    bad: dict[str, str] = field(default_factory=dict)


def pack(
    annotations: Annotations,
    out: str | Path,
    *,
    size: int | None = None,
    quality: int | None = None,
    shard_bytes: int = 64_000_000,
    seed: int = 0,
    on_bad_image: str = "error",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Manifest:
    """Write a data set as shards.

    The faces of each split are dealt to the shards at random: a shard is then a random sample of its split, which is
    what makes shuffling within a few shards at a time as good as it is. A killed run goes on behind its last whole
    shard when it is started again, and ends with the same bytes.

    Args:
        annotations: The data set, as ``read_annotations`` reads it.
        out: The folder to make, or to go on with; neither in that of the data set nor around it.
        size: Side in pixels to resize to. If None the files stay as they are, byte for byte, where there are files.
        quality: Of JPEG, 1 to 95, for faces that are encoded anew; PNG, without loss, if None.
        shard_bytes: Size at which a shard is full, up to 2 GB.
        seed: Seed of the deal.
        on_bad_image: ``"error"`` stops at a picture that cannot be read; ``"skip"`` leaves it out and says so.
        progress: Called with the faces done, and with all.

    Raises:
        ConfigurationError: If a setting cannot be, or the folder was begun with others.
        DataError: If a picture cannot be read, or the folder holds something else.
    """
    if on_bad_image not in ON_BAD_IMAGE:
        raise unknown_name("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    for name, value, least, most in (
        ("size", size, 1, 8192),
        ("quality", quality, 1, 95),
        ("shard_bytes", shard_bytes, 1, 2_000_000_000),
    ):
        if value is not None and not least <= value <= most:
            raise ConfigurationError(f"Expected {name} from {least} to {most}, but got {value}.")
    out = Path(out).expanduser()
    root, place = annotations.root.resolve(), out.resolve()
    if place.is_relative_to(root) or root.is_relative_to(place):
        raise ConfigurationError(f"Expected shards beside the data set in {root}, but {out} is in it or around it.")
    settings = {
        "size": size, "quality": quality, "shard_bytes": shard_bytes, "seed": seed, "on_bad_image": on_bad_image,
        "layout": annotations.layout, "table": _fingerprint(annotations),
    }  # fmt: skip
    _claim(out, settings)
    packer = _Packer(annotations, out, size, quality, shard_bytes, on_bad_image)
    order = {split: _deal(annotations, split, number, seed) for number, split in enumerate(SPLITS)}
    total, done = sum(map(len, order.values())), 0
    splits, grey, bad = {}, True, dict(annotations.left_out)
    for split, rows in order.items():
        shards = []
        for shard, told, end in packer.shards(split, rows):
            shards.append(shard)
            grey, bad = grey and told["grey"], {**bad, **told["bad"]}
            progress(done + end, total)
        done += len(rows)
        if shards:
            splits[split] = tuple(shards)
    notes = annotations.notes
    if bad:
        listed = "; ".join(f"{name}: {reason}" for name, reason in list(bad.items())[:SHOWN])
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        notes = (*notes, f"Left out {len(bad)} pictures that cannot be packed ({listed}{more}).")
    clean = bool((annotations.table["clean_label"] >= 0).any())
    votes = annotations.votes is not None
    alignment = read_alignment(annotations.root)
    names = annotations.class_names
    manifest = Manifest(names, splits, grey, clean, votes, settings, alignment, notes, __version__)
    manifest.write(out)
    return manifest


def _deal(annotations: Annotations, split: str, number: int, seed: int) -> NDArray[np.int64]:
    rows = np.flatnonzero(annotations.table["split"] == split)
    return np.random.default_rng([seed, number]).permutation(rows)


def _fingerprint(annotations: Annotations) -> str:
    digest = hashlib.sha256(repr(annotations.class_names).encode())
    for column in ("path", "label", "clean_label", "split"):
        digest.update("\0".join(map(str, annotations.table[column])).encode("utf-8", "surrogateescape"))
    for array in (annotations.votes, annotations.boxes):
        digest.update(b"none" if array is None else array.tobytes())
    return digest.hexdigest()


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Say in the folder what is packed into it, or make sure that it was begun in the same way."""
    path = out / SETTINGS
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}). Remove {out} and pack again.") from error
        changed = [name for name in before | settings if before.get(name) != settings.get(name)]
        if changed:
            listed = "; ".join(f"{name}: {before.get(name)}, now {settings.get(name)}" for name in changed)
            raise ConfigurationError(
                f"The shards in {out} were begun with other settings or from other data ({listed}). Give the same "
                "ones to go on, or name another folder."
            )
        return
    if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
        raise DataError(f"Shards are written into a new or empty folder, but {out} holds something else.")
    with replacing(path) as partial:
        partial.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Packer:
    annotations: Annotations
    out: Path
    size: int | None
    quality: int | None
    shard_bytes: int
    on_bad_image: str

    def shards(self, split: str, rows: NDArray[np.int64]) -> Iterator[tuple[Shard, dict[str, Any], int]]:
        """Yield each shard of a split, those of an earlier run first, what it tells of itself, and how far it goes."""
        end, number = 0, 0
        while end < len(rows) and (path := self._path(split, number)).is_file():
            shard, told = self._describe(path)
            end, number = told["end"], number + 1
            yield shard, told, end
        for buffer, stop in self._filled(rows, end):
            path = self._path(split, number)
            self._write(path, buffer, stop)
            shard, told = self._describe(path)
            number += 1
            yield shard, told, stop

    def _path(self, split: str, number: int) -> Path:
        return self.out / f"{split}-{number:06d}.arrow"

    def _filled(self, rows: NDArray[np.int64], begin: int) -> Iterator[tuple[_Buffer, int]]:
        """Yield full shards and the position behind each; the last one may be smaller."""
        buffer = _Buffer(begin)
        position = begin
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
            for start in range(begin, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK].tolist()
                for row, encoded in zip(chunk, pool.map(self._encode, chunk), strict=True):
                    position += 1
                    self._add(buffer, row, encoded)
                    if buffer.bytes >= self.shard_bytes:
                        yield buffer, position
                        buffer = _Buffer(position)
        if buffer.rows or buffer.bad:
            yield buffer, position

    def _add(self, buffer: _Buffer, row: int, encoded: tuple[bytes, bool] | str) -> None:
        if isinstance(encoded, str):
            name = str(self.annotations.table["path"].iat[row])
            if self.on_bad_image == "error":
                raise DataError(
                    f"{name} in {self.annotations.root} cannot be packed: {encoded}. Repair or remove it, or leave "
                    "out such pictures with on_bad_image='skip' (--on-bad-image skip). Finished shards are kept."
                )
            buffer.bad[name] = encoded
            return
        picture, grey = encoded
        buffer.rows.append(row)
        buffer.pictures.append(picture)
        buffer.bytes += len(picture)
        buffer.grey &= grey

    def _encode(self, row: int) -> tuple[bytes, bool] | str:
        """Return a face as the bytes of a picture file and whether it is grey, or why there is none."""
        annotations = self.annotations
        try:
            if self.size is None and annotations.images is None and annotations.boxes is None:
                kept = (annotations.root / str(annotations.table["path"].iat[row])).read_bytes()
                return kept, decode_image(kept).ndim == 2
            pixels = annotations.picture(row)
        except (DataError, OSError) as error:
            return str(error)
        if self.size is not None:
            pixels = resize_square(pixels, self.size)
        file = BytesIO()
        options = {"format": "PNG"} if self.quality is None else {"format": "JPEG", "quality": self.quality}
        Image.fromarray(pixels).save(file, **options)
        return file.getvalue(), pixels.ndim == 2

    def _write(self, path: Path, buffer: _Buffer, end: int) -> None:
        table = self.annotations.table.iloc[buffer.rows]
        columns = {
            "image": pa.array(buffer.pictures, pa.binary()),
            "label": pa.array(table["label"].to_numpy(np.int64)),
            "clean_label": pa.array(table["clean_label"].to_numpy(np.int64)),
            "index": pa.array(np.array(buffer.rows, np.int64)),
            "path": pa.array([os.fsencode(name) for name in table["path"]], pa.binary()),
        }
        if self.annotations.votes is not None:
            votes = self.annotations.votes[buffer.rows]
            columns["votes"] = pa.FixedSizeListArray.from_arrays(pa.array(votes.ravel(), pa.int32()), votes.shape[1])
        told = {"end": end, "grey": buffer.grey, "bad": buffer.bad}
        batch = pa.record_batch(columns).replace_schema_metadata({"eac": json.dumps(told)})
        with replacing(path) as partial, pa.ipc.new_file(str(partial), batch.schema) as file:
            file.write_batch(batch)

    def _describe(self, path: Path) -> tuple[Shard, dict[str, Any]]:
        """Return what the manifest says of a shard, and what the shard says of how it was packed."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            with pa.memory_map(str(path)) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
                told = json.loads(batch.schema.metadata[b"eac"])
                label = batch.column("label").to_numpy()
                counts = np.bincount(label, minlength=len(self.annotations.class_names))
                faces = batch.num_rows
        except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(
                f"{path} is no whole shard ({error}). Remove it and start again: the other shards are kept."
            ) from error
        return Shard(path.name, faces, path.stat().st_size, digest, tuple(counts.tolist())), told
