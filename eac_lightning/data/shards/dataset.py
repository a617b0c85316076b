"""The faces of one split of a folder of shards, decoded when they are asked for."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eac_lightning.data.decoding import decode_image, resize_square
from eac_lightning.data.shards.fetching import ShardFiles
from eac_lightning.data.shards.manifest import Shard
from eac_lightning.errors import DataError
from eac_lightning.labels.votes import soft_labels
from eac_lightning.types import UNKNOWN_LABEL, Batch


class ShardDataset(Dataset[Batch]):
    """Batches as ``FaceDataset`` gives them, from shards that are mapped into memory and let go again.

    Args:
        files: The files.
        shards: Those of the split; a position counts the faces of these through.
        size: Side in pixels to bring the faces to.
        judged: Whether the clean label, where known, is the label, as in evaluation.
        soft: Whether to give the distribution of votes as well.
        opened: How many shards stay mapped at a time.
    """

    def __init__(
        self,
        files: ShardFiles,
        shards: Sequence[Shard],
        size: int,
        judged: bool = False,
        soft: bool = False,
        opened: int = 32,
    ) -> None:
        self.files, self.shards, self.size = files, shards, size
        self.judged, self.soft, self.opened = judged, soft, opened
        self.ends = np.cumsum([shard.faces for shard in shards])
        self._mapped: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": OrderedDict()}

    def __getitem__(self, position: int | Sequence[int]) -> Batch:
        """Return a face, or with several positions a batch of them in that order."""
        if isinstance(position, int):
            return cast(Batch, {key: value[0] for key, value in self[[position]].items()})  # type: ignore[index]
        positions = np.asarray(position, np.int64)
        manifest = self.files.manifest
        image = np.empty((len(positions), 1 if manifest.grey else 3, self.size, self.size), np.uint8)
        columns = {key: np.empty(len(positions), np.int64) for key in ("label", "clean_label", "index")}
        votes = np.empty((len(positions), len(manifest.class_names)), np.int32)
        numbers = np.searchsorted(self.ends, positions, side="right")
        for number in np.unique(numbers):  # shard by shard, so that each is looked up once
            places = np.flatnonzero(numbers == number)
            rows = positions[places] - self.ends[number] + self.shards[number].faces
            batch = self._batch(int(number))
            for key, column in columns.items():
                column[places] = batch.column(key).to_numpy()[rows]
            if self.soft:
                flat = batch.column("votes").values.to_numpy()
                votes[places] = flat.reshape(batch.num_rows, -1)[rows]
            for place, row in zip(places, rows.tolist(), strict=True):
                image[place] = self._decoded(batch, row, int(number))
        return self._assembled(image, columns, votes)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return a batch; a loader that collates then needs ``collate_fn=identity``."""
        return self[positions]

    def _assembled(
        self, image: NDArray[np.uint8], columns: dict[str, NDArray[np.int64]], votes: NDArray[np.int32]
    ) -> Batch:
        label, clean = columns["label"], columns["clean_label"]
        if self.judged:
            label = np.where(clean == UNKNOWN_LABEL, label, clean)
        arrays = {"image": image, "label": label, "index": columns["index"]}
        if self.files.manifest.clean:
            arrays["clean_label"] = clean
        if self.soft:
            arrays["soft_label"] = soft_labels(votes, label)
        return cast(Batch, {key: torch.from_numpy(array) for key, array in arrays.items()})

    def _batch(self, number: int) -> pa.RecordBatch:
        """Return a shard's faces, which stay on disk until they are read."""
        if number not in self._mapped:
            self._mapped[number] = self.files.batch(self.shards[number])
            if len(self._mapped) > self.opened:
                self._mapped.popitem(last=False)
        self._mapped.move_to_end(number)
        return self._mapped[number]

    def _decoded(self, batch: pa.RecordBatch, row: int, number: int) -> NDArray[np.uint8]:
        """Return (1 or 3, S, S), grey repeated where others have colour."""
        try:
            pixels = resize_square(decode_image(batch.column("image")[row].as_py()), self.size)
        except DataError as error:
            name = batch.column("path")[row].as_py().decode(errors="replace")
            raise DataError(
                f"Face {row} of {self.shards[number].name} in {self.files.root} ({name}): {error}. Pack the "
                "data set again."
            ) from error
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
