"""Wrong labels on purpose: what a method withstands can only be measured where the truth is known."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.noise_file import read_noise_file
from eac_lightning.labels.transition import read_matrix, sample_transition
from eac_lightning.labels.votes import Votes

Labels = NDArray[np.int64]

CONFUSIONS = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "surprise": "fear",
    "sadness": "neutral",
    "neutral": "sadness",
    "happiness": "neutral",
    "contempt": "neutral",
}
"""What each expression is usually mistaken for, by annotators and by networks alike."""


class LabelNoise(ABC):
    """Draws a noisy label for each training sample; subclass it for a noise model of your own."""

    @abstractmethod
    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return the noisy labels.

        Args:
            labels: (N,) labels in [0, K), in the order of the data set; not to be changed in place.
            class_names: The K classes.
            rng: The only source of randomness, so that one seed gives one draw.
            paths: The N pictures, as the annotation table names them.

        Returns:
            (N,) labels in [0, K).
        """

    def corrupt_voted(
        self,
        labels: Labels,
        class_names: Sequence[str],
        rng: np.random.Generator,
        paths: Sequence[str],
        votes: Votes | None,
    ) -> Labels:
        """Return the noisy labels where several people may have voted; override it for noise that depends on that.

        Args:
            labels: As in :meth:`corrupt`, like all but the last.
            class_names: The K classes.
            rng: The only source of randomness.
            paths: The N pictures.
            votes: (N, K), how many people named each class; None where nobody voted.

        Returns:
            (N,) labels in [0, K).
        """
        del votes
        return self.corrupt(labels, class_names, rng, paths)


class SymmetricNoise(LabelNoise):
    """Moves a label to one of the other K - 1 classes, uniformly.

    Args:
        rate: Probability in [0, 1] that a label is moved.
        exact: Move exactly ``round(rate * N)`` labels instead.

    Raises:
        ConfigurationError: If the rate lies outside [0, 1].
    """

    def __init__(self, rate: float, exact: bool = False) -> None:
        self.rate = checked_rate(rate)
        self.exact = exact

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return the labels with symmetric noise."""
        del paths
        moved = rng.random(len(labels)) < self.rate
        if self.exact:
            moved = rng.permutation(len(labels)) < round(self.rate * len(labels))
        shift = rng.integers(1, len(class_names), len(labels))
        return np.where(moved, (labels + shift) % len(class_names), labels)


class PairNoise(LabelNoise):
    """Moves a label to the class that it is usually mistaken for.

    anger ↔ disgust, fear ↔ surprise, sadness ↔ neutral, happiness → neutral, contempt → neutral. A class that
    is no expression, or whose partner is not among the classes, moves to the class after it, the last one to
    the first.

    Args:
        rate: Probability in [0, 1] that a label is moved.

    Raises:
        ConfigurationError: If the rate lies outside [0, 1].
    """

    def __init__(self, rate: float) -> None:
        self.rate = checked_rate(rate)

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return the labels with pair noise."""
        del paths
        names = list(class_names)
        after = names[1:] + names[:1]
        partner = [CONFUSIONS.get(name) for name in names]
        target = [names.index(p if p in names else a) for p, a in zip(partner, after, strict=True)]
        return np.where(rng.random(len(labels)) < self.rate, np.asarray(target)[labels], labels)


class TransitionNoise(LabelNoise):
    """Draws each label from the row of a transition matrix that belongs to it.

    Args:
        matrix: (K, K) with ``matrix[i][j] = P(given = j | clean = i)``, rows summing to 1; or a ``.csv``,
            ``.npy`` or ``.json`` file that holds it.

    Raises:
        ConfigurationError: If it is not square, has entries outside [0, 1] or rows that do not sum to 1; when
            drawing, if K is not the number of classes.
        DataError: If the file cannot be read.
    """

    def __init__(self, matrix: list[list[float]] | str) -> None:
        self.matrix = read_matrix(matrix)

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return labels drawn from the matrix."""
        del paths
        if len(self.matrix) != len(class_names):
            raise ConfigurationError(
                f"The transition matrix is {len(self.matrix)} x {len(self.matrix)}, but the data have "
                f"{len(class_names)} classes: {', '.join(class_names)}."
            )
        return sample_transition(labels, self.matrix, rng)


class NoiseFile(LabelNoise):
    """Replays noisy labels from a file, so that a draw can be shared and compared.

    Args:
        path: A file of ``write_noise_file``, or a list of ``train_00001.jpg 5`` lines, whose labels count
            from 1 in the order of RAF-DB. Faces that it lists beyond the training split are ignored.

    Raises:
        DataError: When replaying, if the file cannot be read, lacks a training face, names one twice with
            different labels or holds a label that is no class.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        """Return the labels of the file."""
        del labels, rng
        return read_noise_file(Path(self.path), paths, class_names)


def checked_rate(rate: float) -> float:
    """Return a noise rate that is one.

    Raises:
        ConfigurationError: If it lies outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ConfigurationError(f"A noise rate must lie in [0, 1], but is {rate}. 30 % is 0.3.")
    return rate
