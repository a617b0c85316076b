"""How far a face lies from what a network was trained on.

A score is a small class: ``fit(x, labels)`` on what the network says of its training data, then ``score(x) -> (N,)``,
where higher is further out. All is float64 on the CPU, wherever ``x`` comes from: in single precision little would
be left of the inverse of a covariance of hundreds of features.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.metrics.ood import ood_report, threshold_at

__all__ = [
    "OOD_SCORES",
    "Energy",
    "KNearestNeighbours",
    "Mahalanobis",
    "MaximumSoftmax",
    "OODScore",
    "RelativeMahalanobis",
    "ood_report",
    "threshold_at",
]

ROWS = 4096
"""Samples that are scored at a time: what is kept beside the features stays some tens of megabytes."""

_PAIRS = 2**22
"""Distances that are kept at a time: 32 MB."""


class OODScore(ABC):
    """What tells how far samples lie from the training data.

    Attributes:
        reads: What the score is given: ``"features"``, (N, C) as the classifier reads them (pooled, in eval mode and
            without augmentation), or ``"logits"``, (N, K).
        normalize: Whether each row is brought to length 1 first.
        statistics: What :meth:`fit` found, float64; empty before it, and where there is nothing to find.
    """

    reads: ClassVar[str] = "features"
    _settings: ClassVar[tuple[str, ...]] = ()
    _statistics: ClassVar[tuple[str, ...]] = ()
    normalize = False

    def __init__(self) -> None:
        self.statistics: dict[str, Tensor] = {}

    def fit(self, x: Tensor, labels: Tensor) -> Self:
        """Learn from what the training data came to, (N, C) or (N, K), and from (N,) labels; return itself.

        Here nothing is learnt: a score that has statistics takes them.
        """
        del x, labels
        return self

    @abstractmethod
    def _score(self, rows: Tensor) -> Tensor:
        """Return the (N,) scores of checked float64 rows."""

    def score(self, x: Tensor) -> Tensor:
        """Return the (N,) float64 scores of (N, C) features or (N, K) logits; higher is further out.

        Raises:
            ConfigurationError: If the score is not fitted.
            DataError: If ``x`` has another shape, or values that are not finite.
        """
        self._check_fitted()
        rows = self._read(x)
        width = next((values.shape[-1] for values in self.statistics.values()), rows.shape[1])
        if rows.shape[1] != width:
            raise DataError(
                f"Expected {width} {self.reads} a sample, as {type(self).__name__} was fitted on, but got "
                f"{rows.shape[1]}. Score what the same network says, or fit anew."
            )
        return torch.cat([self._score(part) for part in torch.split(rows, ROWS)])

    def state_dict(self) -> dict[str, Any]:
        """Return settings and statistics, as plain numbers and tensors.

        Raises:
            ConfigurationError: If the score is not fitted.
        """
        self._check_fitted()
        return {name: getattr(self, name) for name in self._settings} | self.statistics

    def load_state_dict(self, state: Mapping[str, Any]) -> Self:
        """Become what :meth:`state_dict` was taken of, settings too; scores are the same to the last bit.

        Raises:
            CheckpointError: If it is the state of another score.
        """
        expected = {*self._settings, *self._statistics}
        if set(state) != expected:
            raise CheckpointError(
                f"Expected the state of {type(self).__name__} with {', '.join(sorted(expected)) or 'nothing'}, but got "
                f"{', '.join(sorted(state)) or 'nothing'}. Was it written by another version, or of another score?"
            )
        for name in self._settings:
            setattr(self, name, state[name])
        self.statistics = {name: state[name].detach().cpu().double() for name in self._statistics}
        return self

    def _check_fitted(self) -> None:
        if not self.statistics.keys() >= set(self._statistics):
            raise ConfigurationError(
                f"{type(self).__name__} has no statistics yet: call fit({self.reads}, labels) on the training data "
                "first, or load_state_dict."
            )

    def _read(self, x: Tensor) -> Tensor:
        """Return (N, C) finite float64 rows on the CPU, of length 1 if so wanted."""
        if not isinstance(x, Tensor) or x.ndim != 2 or not x.shape[1]:
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise DataError(f"Expected {self.reads} as a tensor with a row a sample, (N, C), but got {found}.")
        rows = x.detach().cpu().double()
        broken = (~rows.isfinite().all(1)).nonzero()
        if len(broken):
            raise DataError(
                f"Expected finite {self.reads}, but {len(broken)} of {len(rows)} samples have NaN or infinity, the "
                f"first is row {int(broken[0])}. Are the network's weights broken, or half precision too narrow?"
            )
        return F.normalize(rows, dim=1) if self.normalize else rows


class Mahalanobis(OODScore):
    """Distance to the nearest class, in units of the spread within classes.

    With class means μ_k and one covariance Σ of the features about the mean of their class, divided by N:
    ``score(z) = min_k MD_k(z)``, where ``MD_k(z) = (z − μ_k)ᵀ Σ⁻¹ (z − μ_k)``, the squared form.

    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
    NeurIPS 2018, arXiv 1807.03888. With ``normalize``: Mueller and Hein, "Mahalanobis++", arXiv 2505.18032.

    Its statistics are ``class_means``, (K, C), and ``class_precision_root``, the triangular (C, C) W with WᵀW = Σ⁻¹.

    Args:
        shrinkage: s in [0, 1]: ``(1 − s) Σ + s · tr(Σ)/C · I`` takes the place of Σ.
        normalize: Whether features are brought to length 1 first.

    Raises:
        ConfigurationError: If ``shrinkage`` lies outside.
    """

    _settings = ("shrinkage", "normalize")
    _statistics: ClassVar[tuple[str, ...]] = ("class_means", "class_precision_root")

    def __init__(self, shrinkage: float = 0.0, normalize: bool = False) -> None:
        super().__init__()
        if not 0 <= shrinkage <= 1:
            raise ConfigurationError(f"Expected shrinkage to be from 0 to 1, but got {shrinkage}.")
        self.shrinkage = shrinkage
        self.normalize = normalize

    def fit(self, x: Tensor, labels: Tensor) -> Self:
        """Take means and precisions of the training data.

        Args:
            x: (N, C) features.
            labels: (N,) integers of at least 0; a number that does not occur is no class.

        Raises:
            DataError: If features or labels are not such, a class has one sample, or the covariance is singular:
                there are fewer samples than features, or a feature is constant or follows from the others.
        """
        z = self._read(x)
        classes, which, counts = _classes(labels, len(z))
        self._check_samples(z, classes, counts)
        means = z.new_zeros(len(classes), z.shape[1]).index_add_(0, which, z) / counts[:, None]
        centred = z - means[which]
        within = z.new_zeros(z.shape[1], z.shape[1])
        for part in torch.split(centred, 512):  # sums of sums lose less to rounding than one sum of all samples
            within += part.T @ part
        within /= len(z)
        # Smaller steps than this are rounding where features come in single precision.
        least = torch.finfo(torch.float32).eps * z.abs().amax(0)
        self.statistics = self._gaussians(means, counts.double() / len(z), within, least)
        return self

    def _gaussians(self, means: Tensor, share: Tensor, within: Tensor, least: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the statistics of (K, C) means of classes of such (K,) shares, and the (C, C) spread within them."""
        return {"class_means": means, "class_precision_root": self._precision_root(within, least)}

    def _score(self, rows: Tensor) -> Tensor:
        means, root = self.statistics["class_means"], self.statistics["class_precision_root"]
        return _squared_distances(rows, means, root).amin(1)

    def _check_samples(self, z: Tensor, classes: Tensor, counts: Tensor) -> None:
        samples, size = z.shape
        if samples < size or (self.shrinkage == 0 and samples - len(classes) < size):
            fewer = "shrinkage=0.1, " if samples >= size else ""
            raise DataError(
                f"Expected more samples than features, but got N={samples} samples of {len(classes)} classes for "
                f"C={size} features: their covariance is singular. Take {fewer}the knn score, which needs no "
                "covariance, or more faces."
            )
        if (counts == 1).any():
            alone = int(classes[counts == 1][0])
            raise DataError(
                f"Expected at least two samples of each class, but class {alone} has one: its mean would be that "
                "sample. Give more faces of it, or leave the class out."
            )

    def _precision_root(self, covariance: Tensor, least: Tensor) -> Tensor:
        """Return the triangular (C, C) W with WᵀW = Σ⁻¹, of the covariance after shrinkage."""
        size = len(covariance)
        shrunk = (1 - self.shrinkage) * covariance
        shrunk.diagonal().add_(self.shrinkage * covariance.trace() / size)
        root, failed = torch.linalg.cholesky_ex(shrunk)
        variance = shrunk.diagonal()
        # A pivot is what the features before it leave of a feature's variance.
        usable = (variance > least.square()) & (root.diagonal().square() > 1e-12 * variance)
        if failed:
            usable[int(failed) - 1] = False
        if not usable.all():
            raise DataError(
                f"The covariance of the {size} features is singular: within the classes feature "
                f"{int((~usable).nonzero()[0])} is constant, as of a dead unit, or follows from those before it. Take "
                f"more shrinkage than {self.shrinkage:g}, such as shrinkage=0.1, or the knn score, which needs no "
                "covariance."
            )
        inverse: Tensor = torch.linalg.solve_triangular(root, torch.eye(size, dtype=root.dtype), upper=False)
        return inverse


class RelativeMahalanobis(Mahalanobis):
    """How much further a sample is from the nearest class than from the training data as a whole.

    Beside :class:`Mahalanobis` stands a Gaussian of all features, whatever their class, with mean μ_0 and covariance
    Σ_0, divided by N: ``score(z) = min_k [MD_k(z) − MD_0(z)]``. What does not tell classes apart cancels out, which
    helps most where the outside is near: without shrinkage, the score depends only on a sample's place in the K − 1
    directions between the class means, since Σ_0 is Σ and the spread of those means. What is no face at all, but lies
    amid the classes there, as noise may, is not told.

    Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021, arXiv 2106.09022.

    Its statistics are also ``background_mean``, (C,), and ``background_precision_root``, of Σ_0⁻¹.

    Args:
        shrinkage: s in [0, 1], of both covariances; see :class:`Mahalanobis`.
        normalize: Whether features are brought to length 1 first.
    """

    _statistics = (*Mahalanobis._statistics, "background_mean", "background_precision_root")

    def _gaussians(self, means: Tensor, share: Tensor, within: Tensor, least: Tensor) -> dict[str, Tensor]:
        mean = share @ means
        between = (means - mean).T @ (share[:, None] * (means - mean))
        return super()._gaussians(means, share, within, least) | {
            "background_mean": mean,
            "background_precision_root": self._precision_root(within + between, least),
        }

    def _score(self, rows: Tensor) -> Tensor:
        mean, root = self.statistics["background_mean"], self.statistics["background_precision_root"]
        return super()._score(rows) - _squared_distances(rows, mean[None], root)[:, 0]


class KNearestNeighbours(OODScore):
    """Distance to the k-th nearest of the training features.

    Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, arXiv 2204.06507.

    A training sample that is scored is its own nearest neighbour.

    Args:
        k: Which neighbour counts, from 1.
        normalize: Whether features are brought to length 1 first.
        keep: The most features to keep, drawn by ``seed``, since a checkpoint holds them; None keeps all.
        seed: Of that draw.

    Raises:
        ConfigurationError: If ``k`` is below 1, or ``keep`` below ``k``.
    """

    _settings = ("k", "normalize", "keep", "seed")
    _statistics = ("neighbours",)

    def __init__(self, k: int = 10, normalize: bool = True, keep: int | None = None, seed: int = 0) -> None:
        super().__init__()
        if k < 1 or (keep is not None and keep < k):
            raise ConfigurationError(f"Expected k of at least 1, and keep of at least k, but got k={k}, keep={keep}.")
        self.k = k
        self.normalize = normalize
        self.keep = keep
        self.seed = seed

    def fit(self, x: Tensor, labels: Tensor | None = None) -> Self:  # noqa: ARG002
        """Keep (N, C) training features; labels are not looked at.

        Raises:
            ConfigurationError: If there are fewer than ``k``.
            DataError: If they are not such.
        """
        rows = self._read(x)
        if len(rows) < self.k:
            raise ConfigurationError(
                f"Expected at least k={self.k} training samples, but got {len(rows)}. Lower k, or give more faces."
            )
        if self.keep is not None and self.keep < len(rows):
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
            rows = rows[order[: self.keep]]
        self.statistics = {"neighbours": rows}
        return self

    def _score(self, rows: Tensor) -> Tensor:
        neighbours = self.statistics["neighbours"]
        parts = torch.split(rows, max(1, _PAIRS // len(neighbours)))
        return torch.cat([torch.cdist(part, neighbours).kthvalue(self.k, dim=1).values for part in parts])


class MaximumSoftmax(OODScore):
    """1 − the probability of the most probable class, in [0, 1).

    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
    ICLR 2017, arXiv 1610.02136.
    """

    reads = "logits"

    def _score(self, rows: Tensor) -> Tensor:
        return 1 - rows.softmax(1).amax(1)


class Energy(OODScore):
    """−T · log Σ_k exp(logit_k / T).

    Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, arXiv 2010.03759.

    Args:
        temperature: T > 0.

    Raises:
        ConfigurationError: If it is not.
    """

    reads = "logits"
    _settings = ("temperature",)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ConfigurationError(f"Expected temperature to be a number above 0, but got {temperature}.")
        self.temperature = temperature

    def _score(self, rows: Tensor) -> Tensor:
        return -self.temperature * (rows / self.temperature).logsumexp(1)


OOD_SCORES: dict[str, type[OODScore]] = {
    "relative_mahalanobis": RelativeMahalanobis,
    "mahalanobis": Mahalanobis,
    "knn": KNearestNeighbours,
    "max_softmax": MaximumSoftmax,
    "energy": Energy,
}
"""Every score by name."""


def _classes(labels: Tensor, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the (K,) labels that occur, of each sample which of them it has, and how many samples each has."""
    if not isinstance(labels, Tensor) or labels.shape != (samples,) or labels.is_floating_point():
        found = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"Expected {samples} integer labels, one a sample, but got {found}.")
    classes, which, counts = torch.unique(labels.detach().cpu(), return_inverse=True, return_counts=True)
    if samples and classes[0] < 0:
        raise DataError(f"Expected labels of at least 0, but found {int(classes[0])}. Leave out what has no label.")
    return classes, which, counts


def _squared_distances(z: Tensor, means: Tensor, precision_root: Tensor) -> Tensor:
    """Return (N, K) values (z − μ_k)ᵀ Σ⁻¹ (z − μ_k), without cancellation: features may lie far from 0."""
    centre = means.mean(0)
    whitened, whitened_means = ((points - centre) @ precision_root.T for points in (z, means))
    return torch.cdist(whitened, whitened_means, compute_mode="donot_use_mm_for_euclid_dist").square()
