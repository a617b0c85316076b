"""Transition matrices ``T[i, j] = P(given = j | clean = i)``."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eac_lightning.errors import ConfigurationError, DataError


def read_matrix(source: list[list[float]] | str) -> NDArray[np.float64]:
    """Return a transition matrix from numbers, or from a ``.csv`` (no header), ``.npy`` or ``.json`` file.

    Raises:
        ConfigurationError: If it is not square, has entries outside [0, 1], or a row that does not sum to 1
            within 0.001 (rounded figures pass and are scaled to 1).
        DataError: If the file cannot be read.
    """
    numbers: ArrayLike = _load(Path(source)) if isinstance(source, str) else source
    try:
        matrix = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"Expected a transition matrix of K rows of K numbers: {error}.") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ConfigurationError(f"Expected a square transition matrix, but its shape is {matrix.shape}.")
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise ConfigurationError("The entries of a transition matrix are probabilities, in [0, 1].")
    sums = matrix.sum(1, keepdims=True)
    for row in np.flatnonzero(np.abs(sums - 1) > 1e-3):
        raise ConfigurationError(
            f"Row {row} of the transition matrix sums to {sums[row, 0]:.4g}, not to 1. Row i holds "
            "P(given = j | clean = i); a matrix with given labels in its rows must be transposed."
        )
    return np.asarray(matrix / sums)


def _load(path: Path) -> ArrayLike:
    readers: dict[str, Callable[[], ArrayLike]] = {
        ".csv": lambda: np.loadtxt(path, delimiter=",", ndmin=2),
        ".npy": lambda: np.load(path, allow_pickle=False),
        ".json": lambda: json.loads(path.read_text()),
    }
    if path.suffix not in readers:
        raise DataError(f"A transition matrix is read from {', '.join(readers)}, not from {path}.")
    try:
        return readers[path.suffix]()
    except Exception as error:  # numpy and json raise whatever a broken file makes them stumble over
        raise DataError(f"Cannot read a transition matrix from {path}: {error}.") from error


def sample_transition(
    labels: NDArray[np.int64], matrix: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a given label for each clean one.

    Args:
        labels: (N,) clean labels in [0, K).
        matrix: (K, K), rows summing to 1.
        rng: Source of the draw.
    """
    below = rng.random((len(labels), 1)) >= matrix.cumsum(1)[labels, :-1]  # the last bound is 1 up to rounding
    drawn: NDArray[np.int64] = below.sum(1)
    return drawn
