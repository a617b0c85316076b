"""From the labels that a data set brings to those that training is given: corrections, then noise."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import DataError
from eac_lightning.labels.noise import LabelNoise
from eac_lightning.labels.overrides import apply_overrides
from eac_lightning.seeding import derive_seed
from eac_lightning.types import UNKNOWN_LABEL


def change_labels(
    annotations: Annotations, label_overrides: str | None, noise: LabelNoise | None, seed: int
) -> Annotations:
    """Apply a corrections table to all splits, then noise to the training split.

    What noise starts from becomes the clean label of every training face that has none. A soft label whose
    hard label changed is replaced by certainty of the new one, since it would give the truth away.

    Args:
        annotations: As read.
        label_overrides: A corrections table, see ``apply_overrides``.
        noise: What to draw noisy labels with.
        seed: One seed, one draw.

    Raises:
        DataError: If the corrections or a file of noise do not fit the data, or noise leaves the classes.
    """
    before = annotations.table["label"].to_numpy()
    notes = annotations.notes
    table = annotations.table
    if label_overrides is not None:
        table, changed = apply_overrides(table, label_overrides, annotations.class_names)
        notes = (*notes, f"{label_overrides} changed {changed} labels.")
    label = table["label"].to_numpy(copy=True)
    clean = table["clean_label"].to_numpy(copy=True)
    if noise is not None:
        train = np.flatnonzero(table["split"] == "train")
        start = label[train]
        clean[train] = np.where(clean[train] == UNKNOWN_LABEL, start, clean[train])
        rng = np.random.default_rng(derive_seed(seed, "noise"))
        paths = table["path"].iloc[train].tolist()
        label[train] = _checked(noise.corrupt(start.copy(), annotations.class_names, rng, paths), start, annotations)
        moved = int((label[train] != start).sum())
        share = f"{moved} of {len(train)} training labels ({moved / len(train):.2%})"
        notes = (*notes, f"{type(noise).__name__} moved {share}.")
    soft = annotations.soft_labels
    if soft is not None:
        soft = soft.copy()
        changed_rows = np.flatnonzero(label != before)
        soft[changed_rows] = np.eye(soft.shape[1], dtype=soft.dtype)[label[changed_rows]]
    table = table.assign(label=label, clean_label=clean)
    return replace(annotations, table=table, soft_labels=soft, notes=notes)


def _checked(noisy: NDArray[np.int64], start: NDArray[np.int64], annotations: Annotations) -> NDArray[np.int64]:
    noisy = np.asarray(noisy)
    classes = len(annotations.class_names)
    if noisy.shape != start.shape or ((noisy < 0) | (noisy >= classes)).any():
        raise DataError(
            f"Expected {len(start)} noisy labels from 0 to {classes - 1}, but corrupt() returned "
            f"{noisy.shape} from {noisy.min(initial=0)} to {noisy.max(initial=0)}."
        )
    return noisy.astype(np.int64)
