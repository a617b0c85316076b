"""The faces of a data set by split: which rows, their pictures from a store, and the labels that each split is for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.annotations import Annotations
from eac_lightning.data.bad_pictures import report_bad_images
from eac_lightning.data.dataset import FaceDataset
from eac_lightning.data.decoded_anew import DecodedAnew
from eac_lightning.data.sources import AnnotatedPictures
from eac_lightning.data.splits import assign_folds
from eac_lightning.data.store import ImageStore
from eac_lightning.data.subsets import reduce_training
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.seeding import derive_seed
from eac_lightning.types import UNKNOWN_LABEL

SPLITS = ("train", "val", "test")


class SplitFaces:
    """The faces of a data set, by split; decoded when first asked for.

    Args:
        annotations: The data set, its labels as training is given them.
        root: What the user called it, for errors.
        size: Side in pixels at which pictures are kept.
        cache: Where, see :class:`~eac_lightning.data.store.ImageStore`, or ``"none"``: nowhere.
        on_bad_image: ``"error"`` or ``"skip"``.
        seed: Seed of subsets and folds.
        test_as_val: Validate on the test split where there is no validation split.
        subset: Faces to train on.
        per_class: Faces of each class to train on.
        folds: Parts that the training split is dealt to.
        fold: Which of them is held out.
        soft: Whether batches have the distribution of raters' votes.

    Raises:
        ConfigurationError: If bad pictures shall be skipped of which nothing is known before they are asked for.
    """

    def __init__(
        self,
        annotations: Annotations,
        root: Path,
        size: int,
        cache: str = "auto",
        on_bad_image: str = "error",
        seed: int = 0,
        test_as_val: bool = False,
        subset: int | None = None,
        per_class: int | None = None,
        folds: int | None = None,
        fold: int = 0,
        soft: bool = False,
    ) -> None:
        if cache == "none" and on_bad_image == "skip":
            raise ConfigurationError(
                "Which pictures are bad is known when they are decoded, so on_bad_image='skip' needs them decoded "
                "beforehand: not cache='none', but 'auto', 'ram' or 'disk'."
            )
        self.annotations = annotations
        self.root = root
        self.size = size
        self.cache = cache
        self.on_bad_image = on_bad_image
        self.seed = seed
        self.test_as_val = test_as_val
        self.subset = subset
        self.per_class = per_class
        self.folds = folds
        self.fold = fold
        self.soft = soft
        self._datasets: dict[str, FaceDataset] = {}
        self._stores: dict[str, ImageStore] = {}
        self._rows: dict[str, NDArray[np.int64]] = {}

    def source(self, split: str) -> str:
        """Return the split whose faces serve as ``split``."""
        to_test = split == "val" and self.test_as_val and not (self.annotations.table["split"] == "val").any()
        return "test" if to_test else split

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of ``"train"``, ``"val"``, ``"test"``, of ``"held_out"``, or all for ``"predict"``."""
        rows = self._stored(split)
        if split not in ("train", "held_out"):
            return rows
        if self.folds is None:
            return rows if split == "train" else rows[:0]
        table, seed = self.annotations.table.iloc[rows], derive_seed(self.seed, "folds")
        held_out = assign_folds(table, self.folds, seed, self.annotations.class_names) == self.fold
        part: NDArray[np.int64] = rows[held_out if split == "held_out" else ~held_out]
        return part

    def _stored(self, split: str) -> NDArray[np.int64]:
        """Return the rows that are stored together: those of a split with all of its folds."""
        whole = _whole(split)
        if whole not in self._rows:
            self._rows[whole] = self._found(whole)
        return self._rows[whole]

    def _found(self, split: str) -> NDArray[np.int64]:
        table = self.annotations.table
        if split == "predict":
            return np.arange(len(table))
        if split != "train":
            return np.flatnonzero(table["split"] == self.source(split))
        rows = np.flatnonzero(table["split"] == "train")
        return reduce_training(table, rows, self.per_class, self.subset, self.seed)

    def dataset(self, split: str) -> FaceDataset:
        """Return the faces of a split.

        Raises:
            DataError: If the data have no such split, or pictures cannot be read.
        """
        self.read([split])
        return self._datasets[self.source(split)]

    def read(self, splits: list[str]) -> None:
        """Decode the pictures of these splits, so that one error lists all that are bad."""
        missing = {source: self.rows(source) for source in map(self.source, splits) if source not in self._datasets}
        for split, rows in missing.items():
            if not len(rows):
                found = ", ".join(sorted(set(self.annotations.table["split"])))
                raise DataError(
                    f"The data in {self.root} have no {split} split, only {found}. Add one, or let a share "
                    f"be split off with {split}_fraction where the data bring no splits of their own."
                )
        if self.cache == "none":
            for split, rows in missing.items():
                anew = DecodedAnew(AnnotatedPictures(self.annotations, rows), self.size)
                self._datasets[split] = self._labelled(split, anew, rows)
            return
        for split in missing:
            if (whole := _whole(split)) not in self._stores:
                pictures = AnnotatedPictures(self.annotations, self._stored(split))
                self._stores[whole] = ImageStore.build(pictures, self.size, self.cache)
        stores = {whole: self._stores[whole] for whole in map(_whole, missing)}
        bad = {name: reason for store in stores.values() for name, reason in store.bad.items()}
        report_bad_images(bad, self.on_bad_image, len(bad) + sum(len(store.kept) for store in stores.values()))
        for split, rows in missing.items():
            store = stores[_whole(split)]
            stored = self._stored(split)[store.kept]
            at = np.flatnonzero(np.isin(stored, rows))
            self._datasets[split] = self._labelled(
                split, store.images, stored[at], at if len(at) < len(stored) else None
            )

    def summary(self, notes: Sequence[str] = ()) -> str:
        """Return in a few lines what was read, assumed, left out and changed, ``notes``, and the classes by split."""
        table, names = self.annotations.table, self.annotations.class_names
        lines = [f"Data in {self.root}: {len(table)} faces, {len(names)} classes.", *self.annotations.notes, *notes]
        for split in SPLITS:
            counts = np.bincount(table["label"].to_numpy()[self.rows(split)], minlength=len(names))
            if counts.any():
                each = ", ".join(f"{name} {n}" for name, n in zip(names, counts, strict=True))
                whole = (table["split"] == self.source(split)).sum()
                used = f" (of {whole})" if counts.sum() < whole else ""
                lines.append(f"{split}: {counts.sum()}{used} ({each}).")
        return "\n  ".join(lines)

    def _labelled(
        self,
        split: str,
        images: "NDArray[np.uint8] | DecodedAnew",
        rows: NDArray[np.int64],
        at: NDArray[np.int64] | None = None,
    ) -> FaceDataset:
        table = self.annotations.table.iloc[rows]
        label = table["label"].to_numpy(copy=True)
        clean = table["clean_label"].to_numpy(copy=True)
        if split == "train":
            self._check_every_class(np.union1d(label, clean))
        elif split in ("val", "test"):
            label = np.where(clean == UNKNOWN_LABEL, label, clean)
        soft = self.annotations.soft_labels if self.soft else None
        return FaceDataset(images, label, rows, clean, None if soft is None else soft[rows], at)

    def _check_every_class(self, present: NDArray[np.int64]) -> None:
        absent = [name for k, name in enumerate(self.annotations.class_names) if k not in present]
        if absent:
            raise DataError(
                f"The training split in {self.root} has no face of the classes {', '.join(absent)}, after "
                "corrections, without duplicates and what cannot be read. Add some, or name the others in classes."
            )


def _whole(split: str) -> str:
    """Return the split of which ``split`` is a part: the parts of all folds share one store."""
    return "train" if split == "held_out" else split
