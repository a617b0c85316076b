"""What a trained network knows of its own answers: how far to trust them, and which faces are none of its business."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from eac_lightning.errors import CheckpointError
from eac_lightning.ood import OOD_SCORES, OODScore


@dataclass
class Answering:
    """How the logits of a network become an answer, or none; it belongs to the weights that it was fitted with.

    Attributes:
        temperature: Above 0; logits are divided by it before the softmax, and 1 leaves them as they are.
        min_confidence: A face whose most probable class has less is unsure; None where no accuracy was asked for.
        wanted_accuracy: That which the other faces have on validation; None likewise.
        ood: Fitted out-of-distribution scores by name.
        ood_score: The name of the one that decides; None if none does.
        ood_threshold: A face that scores higher is not like the training data; None likewise.
    """

    temperature: float = 1.0
    min_confidence: float | None = None
    wanted_accuracy: float | None = None
    ood: dict[str, OODScore] = field(default_factory=dict)
    ood_score: str | None = None
    ood_threshold: float | None = None

    def calibrated(self, logits: Tensor) -> Tensor:
        """Map (N, K) logits to those whose softmax is calibrated."""
        return logits / self.temperature

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map (N, K) logits to (N, K) calibrated probabilities."""
        return self.calibrated(logits).softmax(1)

    @property
    def deciding(self) -> OODScore | None:
        """The score that decides which faces are not like the training data, if one does."""
        return None if self.ood_score is None else self.ood[self.ood_score]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain tensors, numbers and strings, as a checkpoint holds it."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "ood": {name: score.state_dict() for name, score in self.ood.items()}}

    @classmethod
    def from_dict(cls, stored: Any) -> "Answering":
        """Return what :meth:`to_dict` was taken of.

        Raises:
            CheckpointError: If it was not, or has been changed since.
        """
        try:
            scores = {name: OOD_SCORES[name]().load_state_dict(state) for name, state in stored["ood"].items()}
            answers = cls(**{name: stored[name] for name in _PLAIN}, ood=scores)
            answers._check()
        except Exception as error:  # what was changed by hand, or by another version, ends in almost any of them
            raise CheckpointError(
                "What the checkpoint says of temperature and out-of-distribution scores cannot be read "
                f"({type(error).__name__}: {error}). Was it written by another version, or changed? Take another "
                "checkpoint of the run."
            ) from error
        return answers

    def _check(self) -> None:
        numbers = {name: getattr(self, name) for name in ("min_confidence", "wanted_accuracy", "ood_threshold")}
        for name, value in {"temperature": self.temperature, **numbers}.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}")
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}")
        if (self.deciding is None) != (self.ood_threshold is None):
            raise ValueError(f"the threshold of {self.ood_score} is {self.ood_threshold}")


_PLAIN = ("temperature", "min_confidence", "wanted_accuracy", "ood_score", "ood_threshold")
