"""Noise that depends on the face: ambiguous ones flip more often, to their likeliest confusion."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eac_lightning.data.emotions import matching_classes
from eac_lightning.data.layouts.table import load_table
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.label_table import refuse, repeated
from eac_lightning.labels.noise import LabelNoise, Labels, checked_rate
from eac_lightning.labels.votes import Votes

PREFIX = "p_"


class InstanceNoise(LabelNoise):
    """Moves the labels of ambiguous faces, as annotators do: each to its likeliest other class.

    Face i has a distribution p_i over the classes, from its raters' votes or from a network. Its label y_i is moved
    with probability min(1, c · (1 − p_i(y_i))), to the most likely other class, equally likely ones being drawn; c
    is what makes ``rate`` the expected share of moved labels, exactly.

    Args:
        rate: Expected share in [0, 1] of the labels that are moved.
        probabilities: A table (CSV, TSV or Parquet) with the column ``path`` and one ``p_<class>`` for each class,
            such as the ``predictions.csv`` of ``eac predict``; None takes the votes that the data bring.

    Raises:
        ConfigurationError: If the rate lies outside [0, 1]; when drawing, if there are neither votes nor a table,
            or too few faces are ambiguous at all.
        DataError: When drawing, if the table cannot be read, or lacks a class or a training picture.
    """

    def __init__(self, rate: float, probabilities: str | None = None) -> None:
        self.rate = checked_rate(rate)
        self.probabilities = probabilities

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return the labels with noise by the table of probabilities."""
        return self.corrupt_voted(labels, class_names, rng, paths, None)

    def corrupt_voted(
        self,
        labels: Labels,
        class_names: Sequence[str],
        rng: np.random.Generator,
        paths: Sequence[str],
        votes: Votes | None,
    ) -> Labels:
        """Return the labels with noise by the table of probabilities, else by the votes."""
        if self.probabilities is not None:
            weights = read_probabilities(Path(self.probabilities), paths, class_names)
        elif votes is not None:
            weights = votes.astype(np.float64)
        else:
            raise ConfigurationError(
                "InstanceNoise needs to know which faces are ambiguous, but the data bring no votes. Give a network's "
                "probabilities, such as the predictions.csv of `eac predict` (--data.noise.probabilities FILE; "
                "eac noise --probabilities FILE)."
            )
        rows = np.arange(len(labels))
        total = weights.sum(1)
        weights[total == 0, labels[total == 0]] = 1  # nobody named a class: no reason to doubt the label
        ambiguity = 1 - weights[rows, labels] / weights.sum(1)
        moved = rng.random(len(labels)) < flip_probabilities(ambiguity, self.rate)
        weights[rows, labels] = -1
        equals = weights == weights.max(1, keepdims=True)
        target = np.where(equals, rng.random(weights.shape), -1).argmax(1)
        return np.where(moved, target, labels)


def flip_probabilities(ambiguity: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Return min(1, c · ambiguity) with the c for which the mean is ``rate``.

    Args:
        ambiguity: (N,) in [0, 1].
        rate: The mean, in [0, 1].

    Raises:
        ConfigurationError: If more than the ambiguous faces would have to flip.
    """
    falling = np.sort(ambiguity[ambiguity > 0])[::-1]
    wanted = rate * len(ambiguity)
    if wanted > len(falling) + 1e-9:  # beyond rounding
        most = int(1000 * len(falling) / len(ambiguity)) / 1000
        raise ConfigurationError(
            f"A noise rate of {rate:.1%} cannot be reached: {len(falling)} of {len(ambiguity)} training faces are "
            f"ambiguous at all. Choose a rate of at most {most}, or give InstanceNoise the probabilities of a network, "
            "which is never quite certain."
        )
    if not wanted:
        return np.zeros_like(ambiguity)
    # If the m most ambiguous faces flip for certain, the others share what is left; the smallest m that fits is right.
    scale = (wanted - np.arange(len(falling))) / falling[::-1].cumsum()[::-1]
    fits = np.flatnonzero(scale * falling <= 1 + 1e-9)
    return np.asarray(np.minimum(1, scale[fits[0]] * ambiguity))


def read_probabilities(path: Path, paths: Sequence[str], class_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the (N, K) probabilities that a table gives to the N pictures and K classes.

    Args:
        path: CSV, TSV or Parquet with ``path`` and ``p_<class>``, the class in any spelling; further rows and
            classes are ignored.
        paths: The N pictures.
        class_names: The K classes.

    Raises:
        DataError: If it cannot be read, lacks a class or a picture, names one twice or holds other numbers.
    """
    table = load_table(path)
    columns = [column for column in table if str(column).startswith(PREFIX)]
    named = [str(column).removeprefix(PREFIX) for column in columns]
    found = [matching_classes(name, named) for name in class_names]
    missing = [PREFIX + name for name, at in zip(class_names, found, strict=True) if not at]
    if "path" not in table or missing:
        raise DataError(
            f"Expected the columns path and {PREFIX}<class> for each class in {path}, but found "
            f"{', '.join(map(str, table))}: {', '.join(missing) or 'path'} missing."
        )
    refuse(repeated(table["path"]), f"Pictures that {path} names more than once")
    table = table.set_index("path")
    refuse(list(pd.Index(paths).difference(table.index, sort=False)), f"Training pictures that {path} lacks")
    chosen = table.loc[list(paths)][[columns[at[0]] for at in found]]
    numbers = np.array(chosen.apply(pd.to_numeric, errors="coerce"), np.float64)
    wrong = ~((numbers >= 0) & (numbers <= 1)).all(1) | ~(numbers.sum(1) > 0)
    refuse([name for name, bad in zip(paths, wrong, strict=True) if bad], f"Pictures without probabilities in {path}")
    return numbers
