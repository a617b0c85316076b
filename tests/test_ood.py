"""Scores of how far a sample lies from the training data, against loops over samples, classes and neighbours."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.ood import (
    OOD_SCORES,
    Energy,
    KNearestNeighbours,
    Mahalanobis,
    MaximumSoftmax,
    RelativeMahalanobis,
)

Array = NDArray[np.float64]
DISTANCES = (Mahalanobis, RelativeMahalanobis)


def draw(samples: int = 300, size: int = 12, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return correlated features in single precision, their labels, and queries from inside to far out."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator)
    means = 2 * torch.randn(classes, size, generator=generator) + 3
    labels = torch.randint(classes, (samples,), generator=generator)
    features = means[labels] + torch.randn(samples, size, generator=generator) @ mixing
    spread = torch.linspace(0.1, 5, 50)[:, None]
    return features, labels, 3 + spread * (torch.randn(50, size, generator=generator) @ mixing)


def naive(
    features: Tensor, labels: Tensor, queries: Tensor, shrinkage: float, normalize: bool, relative: bool
) -> Array:
    """Follow the paper sample by sample, class by class."""
    x, y, z = features.double().numpy(), labels.numpy(), queries.double().numpy()
    if normalize:
        x, z = (np.stack([row / np.sqrt((row**2).sum()) for row in rows]) for rows in (x, z))
    means = {label: x[y == label].sum(0) / (y == label).sum() for label in set(y.tolist())}
    within = shrunk(
        sum(np.outer(row - means[label], row - means[label]) for row, label in zip(x, y, strict=True)) / len(x),
        shrinkage,
    )
    mean = x.sum(0) / len(x)
    background = shrunk(sum(np.outer(row - mean, row - mean) for row in x) / len(x), shrinkage)
    scores = []
    for query in z:
        to_background = distance(query, mean, background) if relative else 0.0
        scores.append(min(distance(query, mean, within) - to_background for mean in means.values()))
    return np.array(scores)


def shrunk(covariance: Array, shrinkage: float) -> Array:
    size = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * sum(covariance[i, i] for i in range(size)) / size * np.eye(size)


def distance(query: Array, mean: Array, covariance: Array) -> float:
    return float((query - mean) @ np.linalg.inv(covariance) @ (query - mean))


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize(
    ("shrinkage", "normalize"), [(0.0, False), (0.3, False), (0.0, True), (0.1, True), (1.0, False)]
)
def test_a_mahalanobis_distance_is_that_of_its_definition(kind: Any, shrinkage: float, normalize: bool) -> None:
    features, labels, queries = draw()
    found = kind(shrinkage, normalize).fit(features, labels).score(queries)
    assert found.dtype == torch.float64
    assert found.shape == (50,)
    expected = naive(features, labels, queries, shrinkage, normalize, kind is RelativeMahalanobis)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12 * abs(expected).max())


def test_relative_and_plain_mahalanobis_rank_differently() -> None:
    features, labels, queries = draw()
    plain, relative = (kind().fit(features, labels).score(queries) for kind in DISTANCES)
    assert not torch.equal(plain.argsort(), relative.argsort())
    agreeing = ((plain[:, None] > plain) == (relative[:, None] > relative)).double().mean()
    assert agreeing < 0.95


def test_relative_mahalanobis_sees_only_what_tells_classes_apart() -> None:
    """As Woodbury's identity has it for Σ_0 = Σ + Σ_k N_k/N (μ_k − μ_0)(μ_k − μ_0)ᵀ."""
    features, labels, queries = draw()
    plain, relative = (kind().fit(features, labels) for kind in DISTANCES)
    root, means = plain.statistics["class_precision_root"], plain.statistics["class_means"]
    apart = torch.linalg.svd((means - means.mean(0)) @ root.T @ root)[2]  # three directions, then those across them
    aside = queries.double() + 30 * apart[3:].sum(0)
    torch.testing.assert_close(relative.score(aside), relative.score(queries), rtol=1e-7, atol=1e-7)
    assert (plain.score(aside) > plain.score(queries) + 10).all()
    assert (relative.score(queries + 30 * apart[0]) - relative.score(queries)).abs().min() > 10


@pytest.mark.parametrize("kind", DISTANCES)
def test_without_shrinkage_an_affine_map_of_the_features_changes_nothing(kind: Any) -> None:
    features, labels, queries = draw()
    matrix = torch.eye(12).double() + 0.3 * torch.randn(12, 12, generator=torch.Generator().manual_seed(1)).double()
    score = kind().fit(features, labels).score(queries)
    mapped = kind().fit(features.double() @ matrix + 1e4, labels).score(queries.double() @ matrix + 1e4)
    torch.testing.assert_close(mapped, score, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", DISTANCES)
def test_classes_are_the_labels_that_occur_in_any_order(kind: Any) -> None:
    features, labels, queries = draw()
    score = kind().fit(features, labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    renamed = torch.tensor([7, 0, 100, 3])[labels]
    other = kind().fit(features[order], renamed[order])
    assert len(other.statistics["class_means"]) == 4
    torch.testing.assert_close(other.score(queries), score.score(queries), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OOD_SCORES)
def test_samples_are_scored_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, queries = draw()
    score = OOD_SCORES[name]().fit(features, labels)
    together = score.score(queries)
    monkeypatch.setattr("eac_lightning.ood.score.ROWS", 7)
    monkeypatch.setattr("eac_lightning.ood.nearest_neighbours._PAIRS", 900)
    torch.testing.assert_close(score.score(queries), together, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(score.score(queries[3:4]), together[3:4], rtol=1e-9, atol=1e-9)
    assert score.score(queries[:0]).shape == (0,)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_neighbour_is_found_by_sorting_all_distances(normalize: bool) -> None:
    features, _, queries = draw()
    x, z = features.double().numpy(), queries.double().numpy()
    if normalize:
        x, z = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, z))
    expected = [sorted(np.linalg.norm(x - query, axis=1))[4] for query in z]
    found = KNearestNeighbours(5, normalize).fit(features).score(queries)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_the_kept_neighbours_are_drawn_by_seed() -> None:
    features = draw()[0]
    kept = [KNearestNeighbours(keep=40, seed=seed).fit(features).statistics["neighbours"] for seed in (0, 0, 1)]
    assert [len(rows) for rows in kept] == [40] * 3
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])
    every = KNearestNeighbours(keep=1000).fit(features).statistics["neighbours"]
    assert torch.equal(every, KNearestNeighbours().fit(features).statistics["neighbours"])
    assert len({tuple(row) for row in kept[0].tolist()} & {tuple(row) for row in every.tolist()}) == 40


def test_scores_of_logits_follow_their_formulas() -> None:
    logits = 9 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    powers = np.exp(logits.double().numpy())
    softmax = MaximumSoftmax().score(logits)
    np.testing.assert_allclose(softmax.numpy(), 1 - (powers / powers.sum(1, keepdims=True)).max(1), atol=1e-12)
    for temperature in (1.0, 2.5):
        energy = Energy(temperature).score(logits)
        expected = -temperature * np.log((powers ** (1 / temperature)).sum(1))
        np.testing.assert_allclose(energy.numpy(), expected, rtol=1e-12)
    assert Energy().score(torch.tensor([[1000.0, 0.0]])).item() == -1000
    assert (OOD_SCORES["energy"].reads, OOD_SCORES["max_softmax"].reads) == ("logits", "logits")
    assert {kind.reads for name, kind in OOD_SCORES.items() if name not in ("energy", "max_softmax")} == {"features"}


@pytest.mark.parametrize("name", OOD_SCORES)
def test_higher_is_further_out(name: str) -> None:
    features, labels, _ = draw(classes=2)
    logits = torch.eye(2)[labels] * 4
    score = OOD_SCORES[name]().fit(*((logits, labels) if OOD_SCORES[name].reads == "logits" else (features, labels)))
    if score.reads == "logits":
        near, far = logits[:1], torch.zeros(1, 2)
    else:
        near, far = features.mean(0, keepdim=True), -50 * features.std(0, keepdim=True) * (-1) ** torch.arange(12)
    assert score.score(far).item() > score.score(near).item()


@pytest.mark.parametrize(
    "score",
    [
        RelativeMahalanobis(0.2, normalize=True), Mahalanobis(), KNearestNeighbours(3, normalize=False, keep=50, seed=4),
        KNearestNeighbours(), MaximumSoftmax(), Energy(1.5),
    ],
    ids=lambda score: type(score).__name__,
)  # fmt: skip
def test_a_score_comes_back_from_a_file_to_the_last_bit(score: Any) -> None:
    features, labels, queries = draw()
    expected = score.fit(features, labels).score(queries)
    file = io.BytesIO()
    torch.save(score.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert all(value.dtype == torch.float64 for value in state.values() if isinstance(value, Tensor))
    again = type(score)().load_state_dict(state)
    assert torch.equal(again.score(queries), expected)
    assert again.state_dict().keys() == state.keys()
    assert all(getattr(again, name) == getattr(score, name) for name in score._settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_of_any_type_are_taken_as_they_are(dtype: torch.dtype) -> None:
    features, labels, queries = draw()
    features, queries = features.to(dtype), queries.to(dtype)
    found = RelativeMahalanobis().fit(features.requires_grad_(), labels.int()).score(queries)
    expected = RelativeMahalanobis().fit(features.double(), labels).score(queries.double())
    assert torch.equal(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize("kind", DISTANCES)
def test_fewer_samples_than_features_are_refused(kind: Any) -> None:
    features, labels, _ = draw(samples=13, size=12, classes=2)
    with pytest.raises(DataError, match=r"N=13 samples of 2 classes for C=12 features.*shrinkage=0.1, the knn score"):
        kind().fit(features, labels)
    assert kind(shrinkage=0.1).fit(features, labels).score(features).isfinite().all()
    for shrinkage in (0.0, 0.1):
        with pytest.raises(DataError, match=r"N=11 .* C=12 features.*singular. Take the knn score.* or more faces"):
            kind(shrinkage).fit(features[:11], labels[:11])
    enough, their_labels, _ = draw(samples=14, size=12, classes=2)
    assert kind().fit(enough, their_labels).score(enough).isfinite().all()


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("broken", ["dead", "constant", "almost constant", "twice", "sum"])
def test_features_that_say_nothing_of_their_own_are_named(kind: Any, broken: str) -> None:
    features, labels, queries = draw()
    features = features.double()
    noise = torch.randn(len(features), generator=torch.Generator().manual_seed(0)).double()
    replaced = {
        "dead": 0.0,
        "constant": 0.1,
        "almost constant": 0.1 + 1e-10 * noise,
        "twice": features[:, 2],
        "sum": features[:, :5].sum(1),
    }
    features[:, 5] = replaced[broken]
    with pytest.raises(
        DataError, match="12 features is singular: within the classes feature 5 is .* shrinkage than 0, such as"
    ):
        kind().fit(features, labels)
    assert kind(shrinkage=0.01).fit(features, labels).score(queries).isfinite().all()


def test_features_that_are_all_constant_are_refused_whatever_the_shrinkage() -> None:
    with pytest.raises(DataError, match=r"feature 0 is constant.* more shrinkage than 0.5"):
        Mahalanobis(0.5).fit(torch.full((20, 3), 0.1), torch.arange(20) % 2)


def test_features_of_small_scale_are_no_worse() -> None:
    features, labels, queries = draw()
    scale = torch.logspace(-9, 3, 12).double()
    score = RelativeMahalanobis().fit(features, labels).score(queries)
    scaled = RelativeMahalanobis().fit(features * scale, labels).score(queries * scale)
    torch.testing.assert_close(scaled, score, rtol=1e-8, atol=1e-8)


def test_a_class_of_one_sample_is_named() -> None:
    features, labels, _ = draw()
    labels[7] = 9
    with pytest.raises(DataError, match="two samples of each class, but class 9 has one"):
        RelativeMahalanobis().fit(features, labels)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (torch.zeros(299, dtype=torch.int64), r"300 integer labels, one a sample, but got \(299,\) of torch.int64"),
        (torch.zeros(300), r"but got \(300,\) of torch.float32"),
        (torch.zeros(300, 4, dtype=torch.int64), r"but got \(300, 4\)"),
        ([0] * 300, "but got list"),
        (torch.arange(300) % 3 - 1, "at least 0, but found -1. Leave out"),
    ],
)
def test_labels_that_are_none_are_refused(labels: Any, found: str) -> None:
    with pytest.raises(DataError, match=found):
        Mahalanobis().fit(draw()[0], labels)


@pytest.mark.parametrize(
    ("features", "found"),
    [
        (torch.ones(3, 4, 2, 2), r"\(N, C\), but got shape \(3, 4, 2, 2\)"),
        (torch.ones(3, 0), r"shape \(3, 0\)"),
        (np.ones((3, 4)), "but got ndarray"),
        (
            torch.tensor([[1.0, 2], [3, torch.nan], [torch.inf, 0]]),
            "2 of 3 samples have NaN or infinity, the first is row 1",
        ),
    ],
)
def test_features_that_are_none_are_refused(features: Any, found: str) -> None:
    for score in (Mahalanobis(), KNearestNeighbours(1)):
        with pytest.raises(DataError, match=f"features.*{found}"):
            score.fit(features, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match=f"logits.*{found}"):
        Energy().score(features)


def test_features_of_another_network_are_refused() -> None:
    features, labels, queries = draw()
    for score in (RelativeMahalanobis(), KNearestNeighbours()):
        with pytest.raises(DataError, match=f"Expected 12 features a sample, as {type(score).__name__} .* but got 5"):
            score.fit(features, labels).score(queries[:, :5])


@pytest.mark.parametrize("kind", [RelativeMahalanobis, Mahalanobis, KNearestNeighbours])
def test_a_score_is_fitted_first(kind: Any) -> None:
    for act in (lambda score: score.score(torch.ones(2, 3)), lambda score: score.state_dict()):
        with pytest.raises(ConfigurationError, match=f"{kind.__name__} has no statistics yet: call fit\\(features"):
            act(kind())


def test_the_state_of_another_score_is_refused() -> None:
    features, labels, _ = draw()
    state = Mahalanobis().fit(features, labels).state_dict()
    with pytest.raises(CheckpointError, match="RelativeMahalanobis with background_mean, .* but got class_means"):
        RelativeMahalanobis().load_state_dict(state)
    with pytest.raises(CheckpointError, match="MaximumSoftmax with nothing, but got class_means"):
        MaximumSoftmax().load_state_dict(state)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: RelativeMahalanobis(1.1), "shrinkage to be from 0 to 1, but got 1.1"),
        (lambda: Mahalanobis(float("nan")), "but got nan"),
        (lambda: KNearestNeighbours(0), "k of at least 1.*k=0"),
        (lambda: KNearestNeighbours(10, keep=9), "keep of at least k, but got k=10, keep=9"),
        (lambda: KNearestNeighbours(301).fit(draw()[0]), "k=301 training samples, but got 300"),
        (lambda: Energy(0), "temperature to be a number above 0, but got 0"),
        (lambda: Energy(float("inf")), "but got inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, found: str) -> None:
    with pytest.raises(ConfigurationError, match=found):
        make()
