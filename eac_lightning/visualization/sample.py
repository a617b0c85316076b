"""What a panel shows of one face."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eac_lightning.types import UNKNOWN_LABEL


@dataclass(frozen=True)
class CAMSample:
    """A face, what a network says of it, and where it looks.

    Attributes:
        image: (H, W, 3) RGB in [0, 1].
        predicted: The predicted class.
        confidence: Its probability, in [0, 1].
        predicted_map: (h, w), the map of the predicted class.
        twin_map: (h, w), the map of the same class on the flipped face, mirrored back.
        given: The given label, or ``UNKNOWN_LABEL``.
        clean: The clean label, or ``UNKNOWN_LABEL``.
        given_map: (h, w), the map of the given label's class, where there is one.
        name: What the face is called under its picture, such as a file name.
    """

    image: NDArray[np.float32]
    predicted: int
    confidence: float
    predicted_map: NDArray[np.float32]
    twin_map: NDArray[np.float32]
    given: int = UNKNOWN_LABEL
    clean: int = UNKNOWN_LABEL
    given_map: NDArray[np.float32] | None = None
    name: str = ""

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is the clean label, else the given one; None where neither is known."""
        truth = self.given if self.clean == UNKNOWN_LABEL else self.clean
        return None if truth == UNKNOWN_LABEL else self.predicted == truth

    @property
    def gap(self) -> NDArray[np.float32]:
        """(h, w), where the views disagree: ``|CAM(x) − hflip(CAM(hflip(x)))|``."""
        gap: NDArray[np.float32] = np.abs(self.predicted_map - self.twin_map)
        return gap

    @property
    def disagreement(self) -> float:
        """The gap as a share of both maps, in [0, 1]: 0 for equal maps, 1 for maps that share nothing."""
        both = np.abs(self.predicted_map).sum() + np.abs(self.twin_map).sum()
        return float(self.gap.sum() / both) if both > 0 else 0.0
