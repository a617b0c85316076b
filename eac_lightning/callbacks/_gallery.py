"""Faces set aside from the batches that pass by, balanced over the classes."""

import torch
from torch import Tensor

from eac_lightning.types import UNKNOWN_LABEL, Batch

Face = tuple[Tensor, int, int]
"""(3, H, W) on the CPU, its given label and its clean label, either of them ``UNKNOWN_LABEL``."""


class Gallery:
    """The first faces of every class, in the order in which a loader yields them.

    Args:
        size: How many faces to show.
        num_classes: K.
        wrong_labels_only: Whether only faces count whose given label is known to be wrong.
    """

    def __init__(self, size: int, num_classes: int, *, wrong_labels_only: bool = False) -> None:
        self.size = size
        self.wrong_labels_only = wrong_labels_only
        self.closed = False
        self._faces: dict[int, list[Face]] = {label: [] for label in (*range(num_classes), UNKNOWN_LABEL)}

    def add(self, batch: Batch) -> None:
        """Set aside what is still wanted of a batch; its labels may be missing."""
        unknown = torch.full((len(batch["image"]),), UNKNOWN_LABEL)
        if self.closed or (self.wrong_labels_only and "clean_label" not in batch):
            return
        given = batch.get("label", unknown).tolist()
        clean = batch.get("clean_label", unknown).tolist()
        for position, (label, truth) in enumerate(zip(given, clean, strict=True)):
            wrong = truth not in (UNKNOWN_LABEL, label)
            if len(self._faces[label]) < self.size and (wrong or not self.wrong_labels_only):
                image = batch["image"][position].detach().cpu().clone()
                self._faces[label].append((image, label, truth))
        share = -(-self.size // (len(self._faces) - 1))
        known = [faces for label, faces in self._faces.items() if label != UNKNOWN_LABEL]
        self.closed = all(len(faces) >= share for faces in known)

    def faces(self) -> list[Face]:
        """Return up to ``size`` faces, as evenly from every class as there are, sorted by class."""
        rounds = [faces[turn] for turn in range(self.size) for faces in self._faces.values() if turn < len(faces)]
        return sorted(rounds[: self.size], key=lambda face: face[1])
