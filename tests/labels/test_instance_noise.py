from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.instance_noise import InstanceNoise, flip_probabilities, read_probabilities

NAMES = ("anger", "fear", "neutral")
PATHS = [f"{i}.png" for i in range(4)]
SCORES = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.0, 0.0, 1.0]]


def draw(noise: InstanceNoise, labels: list[int], votes: list[list[int]] | None = None, seed: int = 0) -> np.ndarray:
    given = np.array(labels)
    counts = None if votes is None else np.array(votes, np.int32)
    paths = [PATHS[i % 4] for i in range(len(labels))]
    noisy = noise.corrupt_voted(given, NAMES, np.random.default_rng(seed), paths, counts)
    assert given.tolist() == labels
    assert votes is None or counts.tolist() == votes
    return noisy


def write(folder: Path, name: str = "predictions.csv", **columns: object) -> str:
    table = pd.DataFrame({"path": PATHS, "label": "fear"})
    for j, spelling in enumerate(("ANGER", "afraid", "neutral")):
        table[f"p_{spelling}"] = [row[j] for row in SCORES]
    table = table.assign(p_contempt=0.5, **columns)
    path = folder / name
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return str(path)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_the_rate_is_exact_in_expectation_and_grows_with_ambiguity(values: list[float], share: float) -> None:
    ambiguity = np.round(values, 6)
    rate = share * (ambiguity > 0).mean()
    flips = flip_probabilities(ambiguity, rate)
    assert flips.mean() == pytest.approx(rate, abs=1e-9)
    assert (flips >= 0).all()
    assert (flips <= 1).all()
    assert (np.diff(flips[np.argsort(ambiguity)]) >= 0).all()
    assert (flips[ambiguity == 0] == 0).all()


def test_flip_probabilities_are_proportional_until_they_are_certain() -> None:
    np.testing.assert_allclose(flip_probabilities(np.array([0.1, 0.2, 0.3, 0]), 0.15), [0.1, 0.2, 0.3, 0])
    np.testing.assert_allclose(flip_probabilities(np.array([0.1, 0.2, 0.9, 0]), 0.4), [0.2, 0.4, 1, 0])
    np.testing.assert_allclose(flip_probabilities(np.array([0.1, 0.2, 0.9, 0]), 0.75), [1, 1, 1, 0])


def test_votes_say_who_flips_and_where_to() -> None:
    votes = [[6, 4, 0], [1, 8, 1], [0, 0, 10], [0, 3, 7]] * 500
    noisy = draw(InstanceNoise(0.2), [0, 1, 2, 2] * 500, votes).reshape(500, 4)
    np.testing.assert_allclose((noisy != [0, 1, 2, 2]).mean(0), np.array([4, 2, 0, 3]) * 0.8 / 9, atol=0.06)
    assert set(noisy[:, 0]) == {0, 1}
    assert set(noisy[:, 1]) == {0, 1, 2}  # equally likely ones are drawn
    assert set(noisy[:, 3]) == {1, 2}


def test_a_face_that_nobody_named_is_not_doubted() -> None:
    assert draw(InstanceNoise(0.5), [0, 2], [[0, 0, 0], [3, 0, 1]]).tolist() == [0, 0]


def test_one_seed_is_one_draw() -> None:
    votes = [[6, 4, 0], [1, 8, 1]] * 50
    first, again, other = (draw(InstanceNoise(0.3), [0, 1] * 50, votes, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("name", ["predictions.csv", "audit.parquet"])
def test_a_table_of_probabilities(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    np.testing.assert_allclose(read_probabilities(Path(path), PATHS[::-1], NAMES), SCORES[::-1])
    assert draw(InstanceNoise(0.75, path), [0, 1, 2, 2]).tolist() == [1, 2, 0, 2]
    # What is asked for by name comes before votes.
    assert draw(InstanceNoise(0.75, path), [0, 1, 2, 2], [[9, 0, 1]] * 4).tolist() == [1, 2, 0, 2]
    noisy = InstanceNoise(0.75, path).corrupt(np.array([0, 1, 2, 2]), NAMES, np.random.default_rng(0), PATHS)
    assert noisy.tolist() == [1, 2, 0, 2]


def test_no_noise_at_all() -> None:
    assert draw(InstanceNoise(0), [0, 1], [[6, 4, 0], [1, 8, 1]]).tolist() == [0, 1]


def test_neither_votes_nor_a_table() -> None:
    with pytest.raises(ConfigurationError, match=r"no votes. Give a network.*--data.noise.probabilities"):
        draw(InstanceNoise(0.3), [0, 1])


def test_a_rate_that_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match=r"\[0, 1\].*30 % is 0.3"):
        InstanceNoise(30)
    with pytest.raises(ConfigurationError, match=r"70.0% cannot be reached: 2 of 3 .* at most 0.666,"):
        draw(InstanceNoise(0.7), [0, 1, 2], [[6, 4, 0], [1, 8, 1], [0, 0, 10]])


def test_a_table_without_its_columns(tmp_path: Path) -> None:
    path = Path(write(tmp_path))
    with pytest.raises(DataError, match=r"p_<class> for each class in .*p_ANGER.*: p_sadness missing"):
        read_probabilities(path, PATHS, (*NAMES, "sadness"))
    path.write_text(path.read_text().replace("path,", "file,"))
    with pytest.raises(DataError, match=r"found file, .*: path missing"):
        read_probabilities(path, PATHS, NAMES)
    with pytest.raises(DataError, match="Cannot read the table"):
        read_probabilities(tmp_path / "nowhere.csv", PATHS, NAMES)


def test_a_table_of_other_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Training pictures that .* lacks \(2\): 7.png, 8.png\."):
        read_probabilities(Path(write(tmp_path)), [*PATHS, "7.png", "8.png"], NAMES)
    with pytest.raises(DataError, match=r"more than once \(1\): 1.png"):
        read_probabilities(Path(write(tmp_path, path=["0.png", "1.png", "1.png", "2.png"])), PATHS, NAMES)


def test_numbers_that_are_no_probabilities(tmp_path: Path) -> None:
    wrong = ["", "2.5", "-0.1", "high"]
    with pytest.raises(DataError, match=r"Pictures without probabilities in .* \(4\): 0.png"):
        read_probabilities(Path(write(tmp_path, p_ANGER=wrong)), PATHS, NAMES)
    nothing = {"p_ANGER": 0, "p_afraid": 0, "p_neutral": [1, 1, 0, 1]}
    with pytest.raises(DataError, match=r"Pictures without probabilities in .* \(1\): 2.png"):
        read_probabilities(Path(write(tmp_path, **nothing)), PATHS, NAMES)
