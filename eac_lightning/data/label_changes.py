"""From the labels that a data set brings to those that training is given: noise, then corrections."""

from collections.abc import Sequence
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
    annotations: Annotations, label_overrides: str | Sequence[str] | None, noise: LabelNoise | None, seed: int
) -> Annotations:
    """Apply noise to the training split, then corrections to all splits.

    In this order, because what people correct are the labels that a training was given: a run with noise is audited,
    corrected and trained again with the same noise. What noise starts from becomes the clean label of every training
    face that has none.

    Args:
        annotations: As read.
        label_overrides: A corrections table, see ``apply_overrides``; or several, each made of what the ones before
            it had left.
        noise: What to draw noisy labels with.
        seed: One seed, one draw.

    Raises:
        DataError: If the corrections or a file of noise do not fit the data, or noise leaves the classes.
    """
    notes = annotations.notes
    table = annotations.table
    label = table["label"].to_numpy(copy=True)
    clean = table["clean_label"].to_numpy(copy=True)
    if noise is not None:
        train = np.flatnonzero(table["split"] == "train")
        start = label[train]
        clean[train] = np.where(clean[train] == UNKNOWN_LABEL, start, clean[train])
        rng = np.random.default_rng(derive_seed(seed, "noise"))
        paths = table["path"].iloc[train].tolist()
        votes = None if annotations.votes is None else annotations.votes[train]
        noisy = noise.corrupt_voted(start.copy(), annotations.class_names, rng, paths, votes)
        label[train] = _checked(noisy, start, annotations)
        moved = int((label[train] != start).sum())
        share = f"{moved} of {len(train)} training labels ({moved / len(train):.2%})"
        notes = (*notes, f"{type(noise).__name__} moved {share}.")
    table = table.assign(label=label, clean_label=clean)
    for path in [label_overrides] if isinstance(label_overrides, str) else label_overrides or ():
        before = table
        table, changed, kept, dropped = apply_overrides(before, path, annotations.class_names)
        reviewed = f", kept {kept} and left out {dropped} pictures" if kept or dropped else ""
        judging = table["split"].isin(("val", "test")) & (table["clean_label"] != UNKNOWN_LABEL)
        idle = int((judging & (table["label"] != before["label"])).sum())
        without_effect = f" {idle} are in val or test, which go by the clean label where it is known." if idle else ""
        notes = (*notes, f"{path} changed {changed} labels{reviewed}.{without_effect}")
    return replace(annotations, table=table, notes=notes)


def _checked(noisy: NDArray[np.int64], start: NDArray[np.int64], annotations: Annotations) -> NDArray[np.int64]:
    noisy = np.asarray(noisy)
    classes = len(annotations.class_names)
    if noisy.shape != start.shape or ((noisy < 0) | (noisy >= classes)).any():
        raise DataError(
            f"Expected {len(start)} noisy labels from 0 to {classes - 1}, but corrupt() returned "
            f"{noisy.shape} from {noisy.min(initial=0)} to {noisy.max(initial=0)}."
        )
    return noisy.astype(np.int64)
