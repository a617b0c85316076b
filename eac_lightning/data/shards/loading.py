"""What a data module needs of a folder of shards."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from eac_lightning.data.annotations import Annotations
from eac_lightning.data.dataset import BatchLoader, identity
from eac_lightning.data.shards.dataset import ShardDataset
from eac_lightning.data.shards.fetching import ShardFiles
from eac_lightning.data.shards.manifest import Shard
from eac_lightning.data.shards.order import ShardBatches
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.types import LEFT_OUT, UNKNOWN_LABEL, Batch

WINDOW = 16
FETCHED_AT_A_TIME = 4


class ShardedFaces:
    """A folder of shards, here or in object storage.

    Args:
        root: The folder or its address, see ``ShardFiles``.
        size: Side in pixels that the faces are brought to.
        soft: Whether batches have the distribution of raters' votes.
        window: How many shards are shuffled among each other.
        cache_dir: Where fetched shards are kept.
        cache_bytes: How much of them is kept.

    Raises:
        DataError: If there are no shards.
        ConfigurationError: If votes are asked for and there are none.
    """

    def __init__(
        self,
        root: str | Path,
        size: int = 224,
        soft: bool = False,
        window: int = WINDOW,
        cache_dir: str | Path | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self.files = ShardFiles(root, cache_dir, cache_bytes)
        self.manifest = self.files.manifest
        self.size, self.soft, self.window = size, soft, window
        if soft and not self.manifest.votes:
            raise ConfigurationError(f"The shards in {root} hold no votes to train on: leave target at 'hard'.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, in the order of the labels."""
        return self.manifest.class_names

    @property
    def alignment(self) -> dict[str, Any] | None:
        """How the faces were cut out, as ``Alignment.to_dict`` says it; None if unknown."""
        return self.manifest.alignment

    @property
    def class_counts(self) -> dict[str, NDArray[np.int64]]:
        """(K,) faces of each class, by split."""
        return {split: self.manifest.class_counts(split) for split in self.manifest.splits}

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split; of all for ``"predict"``.

        Raises:
            DataError: If there is no such split.
        """
        splits = self.manifest.splits
        if split == "predict":
            return tuple(shard for shards in splits.values() for shard in shards)
        if split not in splits:
            raise DataError(
                f"The shards in {self.files.root} have no {split} split, only {', '.join(splits)}. Splits are made "
                "when a data set is packed (--val-fraction, --test-fraction)."
            )
        return splits[split]

    def dataset(self, split: str) -> ShardDataset:
        """Return the faces of a split, those of ``"predict"`` being all."""
        judged = split in ("val", "test")
        return ShardDataset(self.files, self.shards(split), self.size, judged, self.soft, opened=2 * self.window)

    def loader(
        self, split: str, batch_size: int, *, num_workers: int = 0, order: str = "shuffle", seed: int = 0
    ) -> "ShardLoader":
        """Return batches of a split, dealt to all processes; each face once.

        Args:
            split: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.
            batch_size: Faces per process and batch.
            num_workers: Processes that decode.
            order: ``"shuffle"``, or ``"sequential"``: as packed.
            seed: Seed of the orders.
        """
        dataset = self.dataset(split)
        faces = [shard.faces for shard in dataset.shards]
        return ShardLoader(
            dataset,
            batch_size=None,
            sampler=ShardBatches(faces, batch_size, order, seed, self.window),
            collate_fn=identity,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # each iterator draws a number, else from the global one
        )

    def summary(self) -> str:
        """Return in a few lines what was packed."""
        lines = [f"Shards in {self.files.root}: {len(self.class_names)} classes.", *self.manifest.notes]
        for split, counts in self.class_counts.items():
            each = ", ".join(f"{name} {count}" for name, count in zip(self.class_names, counts, strict=True))
            lines.append(f"{split}: {counts.sum()} in {len(self.shards(split))} shards ({each}).")
        return "\n  ".join(lines)

    def annotations(self) -> Annotations:
        """Return what is known of every face, by its index, for what needs it all at once.

        It is read from the shards only now, and grows with the faces, as nothing else here does.
        """
        parts = []
        for split, shards in self.manifest.splits.items():
            for shard in shards:
                columns = self.files.batch(shard).select(["path", "label", "clean_label", "index"])
                part: pd.DataFrame = columns.to_pandas()
                parts.append(part.assign(split=split, path=part["path"].map(os.fsdecode)))
        table = pd.concat(parts).set_index("index")
        # What was left out when the data set was packed keeps its row, so that the others keep their index.
        absent = {"path": "", "label": 0, "clean_label": UNKNOWN_LABEL, "split": LEFT_OUT}
        table = table.reindex(range(table.index.max() + 1)).fillna(absent).assign(subject="", group="")
        table = table.astype({"label": np.int64, "clean_label": np.int64})
        return Annotations(table, self.class_names, "shards", Path(self.files.root), notes=self.manifest.notes)


class ShardLoader(BatchLoader):
    """Batches of shards, fetched a window ahead; Lightning's checkpoints remember how far an epoch has come.

    Its dataset is a ``ShardDataset`` and its sampler ``ShardBatches``. It takes what any loader takes, since Lightning
    makes another one like it to predict.
    """

    _starts: range | None = None
    _taken = 0

    @property
    def _faces(self) -> ShardDataset:
        return cast(ShardDataset, self.dataset)

    @property
    def _batches(self) -> ShardBatches:
        return cast(ShardBatches, self.sampler)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch declares its own iterator class
        self._starts, self._taken = self._batches.starts(), 0
        pool = ThreadPoolExecutor(FETCHED_AT_A_TIME, thread_name_prefix="shards")
        try:
            self._fetch_ahead(pool)
            for batch in super().__iter__():
                self._taken += 1
                self._fetch_ahead(pool)
                yield batch
            self._batches.done = 0  # another pass over the same epoch begins at its beginning
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch_ahead(self, pool: ThreadPoolExecutor) -> None:
        """When a window begins, begin to fetch the next one; what goes wrong is raised when the faces are read."""
        if not self._faces.files.remote:
            return
        if self._taken == 0:
            self._order, self._fetched = self._batches.windows(), -1
        now = self._order.window_of(self._place())
        for window in range(max(now, self._fetched + 1), min(now + 2, len(self._order.windows))):
            for number in self._order.windows[window]:
                pool.submit(self._faces.files.local, self._faces.shards[number])
            self._fetched = window

    def _place(self) -> int:
        if self._starts is None:
            return self._batches.done
        return self._starts[self._taken] if self._taken < len(self._starts) else self._batches.length

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its faces all processes together have been given."""
        return {"epoch": self._batches.epoch, "done": self._place()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on there, on any number of processes."""
        self._batches.epoch, self._batches.done = state["epoch"], state["done"]
        self._starts = None
