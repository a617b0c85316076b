"""Distances to the class means in units of the features' spread, plain and relative to all of the training data."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.ood.score import OODScore


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
