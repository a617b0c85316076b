"""Training on fewer faces than there are: chosen by seed, each choice within the larger ones."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.seeding import derive_seed
from eac_lightning.types import UNKNOWN_LABEL


def reduce_training(
    table: pd.DataFrame, rows: NDArray[np.int64], per_class: int | None, subset: int | None, seed: int
) -> NDArray[np.int64]:
    """Return those of the training ``rows`` of an annotation table that are trained on.

    Classes are counted by the clean label where it is known, so that noise does not change the choice.

    Args:
        table: With ``label`` and ``clean_label``.
        rows: (N,) rows of the training split.
        per_class: See :func:`class_subset`; None keeps all.
        subset: See :func:`stratified_subset`; None keeps all.
        seed: Seed of the choice.

    Raises:
        ConfigurationError: If ``subset`` is below the number of classes.
    """
    train = table.iloc[rows]
    truth = train["clean_label"].where(train["clean_label"] != UNKNOWN_LABEL, train["label"]).to_numpy()
    if per_class is not None:
        chosen = class_subset(truth, per_class, seed)
        rows, truth = rows[chosen], truth[chosen]
    return rows if subset is None else rows[stratified_subset(truth, subset, seed)]


def stratified_subset(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return ``count`` positions, sorted, with the classes in their proportions and none left out.

    A smaller subset of the same seed lies within a larger one.

    Args:
        labels: (N,) classes; all that occur are kept.
        count: How many to take; all N if that is fewer.
        seed: Seed of the choice.

    Raises:
        ConfigurationError: If ``count`` is below the number of classes.
    """
    classes = np.unique(labels)
    if count < len(classes):
        raise ConfigurationError(f"subset must be at least {len(classes)}, one face for each class, but is {count}.")
    rng = np.random.default_rng(derive_seed(seed, "subset"))
    place = np.empty(len(labels))  # how far into its own class each sample stands, in [0, 1)
    for label in classes:
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:count])


def class_subset(labels: NDArray[np.int64], per_class: int, seed: int) -> NDArray[np.int64]:
    """Return the positions, sorted, of ``per_class`` samples of each class, or of all where it has fewer.

    A smaller subset of the same seed lies within a larger one.
    """
    rng = np.random.default_rng(derive_seed(seed, "class subset"))
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))
