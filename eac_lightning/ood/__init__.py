"""How far a face lies from what a network was trained on.

A score is a small class: ``fit(x, labels)`` on what the network says of its training data, then ``score(x) -> (N,)``,
where higher is further out. All is float64 on the CPU, wherever ``x`` comes from: in single precision little would
be left of the inverse of a covariance of hundreds of features.
"""

from eac_lightning.metrics.ood import ood_report, threshold_at
from eac_lightning.ood.logits import Energy, MaximumSoftmax
from eac_lightning.ood.mahalanobis import Mahalanobis, RelativeMahalanobis
from eac_lightning.ood.nearest_neighbours import KNearestNeighbours
from eac_lightning.ood.score import OODScore

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

OOD_SCORES: dict[str, type[OODScore]] = {
    "relative_mahalanobis": RelativeMahalanobis,
    "mahalanobis": Mahalanobis,
    "knn": KNearestNeighbours,
    "max_softmax": MaximumSoftmax,
    "energy": Energy,
}
"""Every score by name."""
