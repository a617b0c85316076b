"""Faces without labels beside those with: what a method reads that learns before it needs labels."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eac_lightning.data.bad_pictures import report_bad_images
from eac_lightning.data.dataset import FaceDataset
from eac_lightning.data.mapped import MapsAgain
from eac_lightning.data.pictures import list_pictures, printable
from eac_lightning.data.sources import FilePictures
from eac_lightning.data.store import ImageStore
from eac_lightning.types import UNKNOWN_LABEL, Batch

logger = logging.getLogger("eac_lightning")


class WithUnlabelled(MapsAgain, Dataset[Batch]):
    """The faces of a data set, then faces of which no label is known (-1).

    Args:
        labelled: N faces with labels.
        images: (M, 1 or 3, S, S) uint8, faces of the same size.
    """

    def __init__(self, labelled: FaceDataset, images: NDArray[np.uint8]) -> None:
        self.labelled = labelled
        self.images = self._pixels(images)
        self.labels = np.append(labelled.labels, np.full(len(images), UNKNOWN_LABEL))

    def __len__(self) -> int:
        return len(self.labelled) + len(self.images)

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        """Return a batch of ``image``, ``label`` and ``index``; the faces without labels have index -1."""
        asked = torch.as_tensor(positions)
        more = asked[asked >= len(self.labelled)] - len(self.labelled)
        known = self.labelled[asked[asked < len(self.labelled)]]
        unknown = torch.full((len(more),), UNKNOWN_LABEL)
        channels = max(known["image"].shape[1], self.images.shape[1])
        images = [part.expand(-1, channels, -1, -1) for part in (known["image"], self.images[more])]
        return cast(
            Batch,
            {
                "image": torch.cat(images),
                "label": torch.cat([known["label"], unknown]),
                "index": torch.cat([known["index"], unknown]),
            },
        )

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return a batch; a loader that collates then needs ``collate_fn=identity``."""
        return self[positions]


def read_unlabelled(
    root: Path, size: int, cache: str, on_bad_image: str, allow_outside: bool = False
) -> NDArray[np.uint8]:
    """Return every picture below a folder, whatever its folders mean, as (M, 1 or 3, size, size).

    Args:
        root: The folder.
        size: Side in pixels.
        cache: Where they are kept, see :class:`~eac_lightning.data.store.ImageStore`.
        on_bad_image: ``"error"`` or ``"skip"``.
        allow_outside: Whether links may lead out of the folder.

    Raises:
        DataError: If there is no such folder or no picture in it, or pictures cannot be read.
    """
    names = list_pictures(root, "unlabelled faces", allow_outside)
    store = ImageStore.build(FilePictures(root, names), size, cache)
    report_bad_images({printable(name): reason for name, reason in store.bad.items()}, on_bad_image, len(names))
    logger.info("%d faces without labels from %s.", len(store.images), root)
    return store.images
