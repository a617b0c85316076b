"""Faces with their labels, one at a time or a whole batch at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from eac_lightning.data.decoded_anew import DecodedAnew
from eac_lightning.data.mapped import MapsAgain
from eac_lightning.types import UNKNOWN_LABEL, Batch

T = TypeVar("T")


class FaceDataset(MapsAgain, Dataset[Batch]):
    """The faces of one split, all of one size.

    ``dataset[3]`` is one face, ``dataset[[3, 1, 4]]`` a batch of three in that order, which is one gather
    instead of three samples and a collation.

    Args:
        images: (N, 1 or 3, S, S) uint8, or what decodes them when they are asked for.
        labels: (N,) labels in [0, K).
        index: (N,) stable sample ids, the rows of the annotation table.
        clean_labels: (N,) clean labels, -1 where unknown; left out of the batches where none is known.
        soft_labels: (N, K) distributions over the classes.
        at: (N,) where each face is among ``images``, if they are more than these.
    """

    def __init__(
        self,
        images: NDArray[np.uint8] | DecodedAnew,
        labels: NDArray[np.int64],
        index: NDArray[np.int64],
        clean_labels: NDArray[np.int64] | None = None,
        soft_labels: NDArray[np.float32] | None = None,
        at: NDArray[np.int64] | None = None,
    ) -> None:
        self.labels = labels
        self.images = images if isinstance(images, DecodedAnew) else self._pixels(images)
        self.at = None if at is None else torch.from_numpy(at)
        self.columns = {"label": torch.from_numpy(labels), "index": torch.from_numpy(index)}
        if clean_labels is not None and (clean_labels != UNKNOWN_LABEL).any():
            self.columns["clean_label"] = torch.from_numpy(clean_labels)
        if soft_labels is not None:
            self.columns["soft_label"] = torch.from_numpy(soft_labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int | Sequence[int] | torch.Tensor) -> Batch:
        """Return a face, or with several positions a batch of them; never a view of the stored pixels."""
        if isinstance(position, int):
            alone = cast(dict[str, torch.Tensor], self[[position]])
            return cast(Batch, {key: column[0] for key, column in alone.items()})
        positions = torch.as_tensor(position, dtype=torch.int64)  # of none, too
        stored = positions if self.at is None else self.at[positions]
        columns = {key: column.index_select(0, positions) for key, column in self.columns.items()}
        return cast(Batch, {"image": self.images.index_select(0, stored), **columns})

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return a batch; a loader that collates then needs ``collate_fn=identity``."""
        return self[positions]


class BatchLoader(DataLoader[Batch]):
    """A loader whose workers draw their first batches when one is asked for, not when the iterator is made.

    Lightning makes the iterator of a resumed run before it has counted the finished epochs, so that workers
    would begin in the order of an epoch before.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch declares its own iterator class
        yield from super().__iter__()


def identity(batch: T) -> T:
    """Return what is a batch already: the ``collate_fn`` of a loader over ``FaceDataset``."""
    return batch
