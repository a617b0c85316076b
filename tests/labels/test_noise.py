import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.noise import CONFUSIONS, LabelNoise, PairNoise, SymmetricNoise

FER = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def corrupt(noise: LabelNoise, labels: np.ndarray, names: tuple[str, ...] = FER, seed: int = 0) -> np.ndarray:
    before = labels.copy()
    noisy = noise.corrupt(labels, names, np.random.default_rng(seed), [str(i) for i in range(len(labels))])
    np.testing.assert_array_equal(labels, before)
    return noisy


def balanced(count: int, classes: int = len(FER)) -> np.ndarray:
    return np.arange(count) % classes


@given(st.floats(0, 1), st.integers(2, 8), st.integers(0, 5))
def test_symmetric_noise_keeps_its_rate(rate: float, classes: int, seed: int) -> None:
    labels = balanced(4000, classes)
    noisy = corrupt(SymmetricNoise(rate), labels, FER[:classes], seed)
    assert noisy.min() >= 0
    assert noisy.max() < classes
    deviation = 5 * np.sqrt(rate * (1 - rate) / len(labels))
    assert abs((noisy != labels).mean() - rate) <= deviation + 1e-9


@given(st.floats(0, 1), st.integers(1, 300))
def test_exact_noise_moves_exactly_that_many(rate: float, count: int) -> None:
    labels = balanced(count)
    assert (corrupt(SymmetricNoise(rate, exact=True), labels) != labels).sum() == round(rate * count)


def test_symmetric_noise_reaches_every_other_class_alike() -> None:
    noisy = corrupt(SymmetricNoise(1.0), np.zeros(7000, np.int64))
    counts = np.bincount(noisy, minlength=8)
    assert counts[0] == 0
    assert (abs(counts[1:] - 1000) < 150).all()


def test_one_seed_is_one_draw() -> None:
    labels = balanced(500)
    noise = SymmetricNoise(0.3)
    np.testing.assert_array_equal(corrupt(noise, labels, seed=3), corrupt(noise, labels, seed=3))
    assert (corrupt(noise, labels, seed=3) != corrupt(noise, labels, seed=4)).any()


def test_pair_noise_makes_the_usual_confusions() -> None:
    noisy = corrupt(PairNoise(1.0), balanced(len(FER)))
    assert {FER[i]: FER[j] for i, j in enumerate(noisy)} == CONFUSIONS


def test_pair_noise_falls_back_on_the_next_class() -> None:
    assert corrupt(PairNoise(1.0), balanced(3, 3), ("cat", "dog", "cow")).tolist() == [1, 2, 0]
    assert corrupt(PairNoise(1.0), balanced(2, 2), ("anger", "happiness")).tolist() == [1, 0]
    assert corrupt(PairNoise(0.0), balanced(3, 3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("noise", [SymmetricNoise, PairNoise])
@pytest.mark.parametrize("rate", [-0.1, 1.5, 30, float("nan")])
def test_a_rate_outside_the_unit_interval_is_refused(noise: type, rate: float) -> None:
    with pytest.raises(ConfigurationError, match=r"\[0, 1\].*30 % is 0.3"):
        noise(rate)
