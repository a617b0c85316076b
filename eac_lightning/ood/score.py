"""What every score has in common: checked rows in float64, statistics that are fitted, stored and read again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning.errors import CheckpointError, ConfigurationError, DataError

ROWS = 4096
"""Samples that are scored at a time: what is kept beside the features stays some tens of megabytes."""


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
