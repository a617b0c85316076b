import json
from pathlib import Path

import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.noise import TransitionNoise

MATRIX = [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]
NAMES = ("a", "b", "c")


def corrupt(noise: TransitionNoise, labels: np.ndarray) -> np.ndarray:
    return noise.corrupt(labels, NAMES, np.random.default_rng(0), [""] * len(labels))


def test_labels_follow_their_rows() -> None:
    labels = np.repeat([0, 1, 2], 5000)
    noisy = corrupt(TransitionNoise(MATRIX), labels)
    seen = np.stack([np.bincount(noisy[labels == i], minlength=3) / 5000 for i in range(3)])
    np.testing.assert_allclose(seen, MATRIX, atol=0.03)
    assert (seen[np.array(MATRIX) == 0] == 0).all()


@pytest.mark.parametrize("ending", ["csv", "npy", "json"])
def test_a_matrix_comes_from_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"matrix.{ending}"
    if ending == "csv":
        np.savetxt(path, MATRIX, delimiter=",")
    elif ending == "npy":
        np.save(path, MATRIX)
    else:
        path.write_text(json.dumps(MATRIX))
    np.testing.assert_allclose(TransitionNoise(str(path)).matrix, MATRIX)


def test_rounded_rows_are_scaled() -> None:
    noise = TransitionNoise([[0.3335, 0.667], [0, 1]])
    np.testing.assert_allclose(noise.matrix.sum(1), 1)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.5]], "square"),
        ([[0.5, 0.5], [1.0]], "K rows of K numbers"),
        ([[1.2, -0.2], [0, 1]], r"\[0, 1\]"),
        ([[float("nan"), 1], [0, 1]], r"\[0, 1\]"),
        ([[1, 0], [0.4, 0.4]], "Row 1 .* sums to 0.8"),
    ],
)
def test_what_is_no_transition_matrix_is_refused(matrix: list[list[float]], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TransitionNoise(matrix)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 x 2, but the data have 3 classes: a, b, c"):
        corrupt(TransitionNoise([[1, 0], [0, 1]]), np.array([0]))


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"read from \.csv, \.npy, \.json, not from"):
        TransitionNoise(str(tmp_path / "matrix.txt"))
    with pytest.raises(DataError, match="Cannot read a transition matrix"):
        TransitionNoise(str(tmp_path / "missing.csv"))
    (tmp_path / "broken.json").write_text("[[1, 0]")
    with pytest.raises(DataError, match="Cannot read a transition matrix"):
        TransitionNoise(str(tmp_path / "broken.json"))
