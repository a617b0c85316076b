"""Distance to the training features that lie nearest."""

from typing import Self

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError
from eac_lightning.ood.score import OODScore

_PAIRS = 2**22
"""Distances that are kept at a time: 32 MB."""


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
