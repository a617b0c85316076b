"""cleanlab's opinion is what cleanlab says when asked directly."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from eac_lightning.audit.confident_learning import QUALITIES, cleanlab_opinion
from eac_lightning.errors import ConfigurationError, DataError

CLASSES = 4


def made(samples: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Given labels, 20 % of them wrong, out-of-sample probabilities, and the clean labels."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, CLASSES, samples)
    given = np.where(rng.random(samples) < 0.2, (clean + 1) % CLASSES, clean)
    weights = np.exp(rng.normal(size=(samples, CLASSES)) + 4 * np.eye(CLASSES)[clean])
    return given, weights / weights.sum(1, keepdims=True), clean


@pytest.mark.parametrize("quality", QUALITIES)
def test_it_equals_calling_cleanlab(quality: str) -> None:
    from cleanlab.count import estimate_latent
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    given, probabilities, clean = made()
    score, suspect, transition = cleanlab_opinion(given, probabilities, quality)
    np.testing.assert_allclose(score, 1 - get_label_quality_scores(given, probabilities, method=quality))
    assert suspect.tolist() == find_label_issues(given, probabilities).tolist()
    # cleanlab's own noise matrix is P(given | clean) with given labels as rows.
    from cleanlab.count import compute_confident_joint

    noise = estimate_latent(compute_confident_joint(given, probabilities), given)[1]
    np.testing.assert_allclose(transition, noise.T, atol=1e-6)
    np.testing.assert_allclose(transition.sum(1), 1)
    assert score[given != clean].mean() > score[given == clean].mean() + 0.3
    assert transition[0, 1] == pytest.approx(0.2, abs=0.06)
    assert transition[1, 0] < 0.02


def test_a_class_without_a_sample_is_named() -> None:
    given, probabilities, _ = made()
    with pytest.raises(DataError, match=r"sample of every class, but labels \[1, 3\] have none"):
        cleanlab_opinion(given // 2 * 2, probabilities)


def test_without_cleanlab_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    given, probabilities, _ = made(20)
    with pytest.raises(ConfigurationError, match=r"pip install 'eac-lightning\[audit\]'"):
        cleanlab_opinion(given, probabilities)
