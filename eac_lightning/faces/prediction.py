"""What is said of a photograph, and of each face in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UNSURE = "unsure"
"""The expression of a face of which no class is probable enough."""

UNLIKE = "not like the training data"
"""The expression of a face that is so far from the training data that the classes say nothing about it."""


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """A face, and its expression.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the photograph; the whole picture where that is a crop already.
        detection_confidence: That it is a face, in [0, 1]; None for a crop.
        landmarks: (5, 2) x, y in the photograph: left eye, right eye, nose, left and right corner of the mouth;
            None for a crop.
        expression: The most probable class, ``"unsure"``, or ``"not like the training data"``.
        confidence: The probability of the most probable class, in [0, 1], whether it was enough or not.
        probabilities: Of every class, in the module's order; they sum to 1.
        map: (h, w), the attention map of the most probable class, over the crop.
        crop: The face as the network saw it.
        matrix: (2, 3): ``matrix @ (x, y, 1)`` is where a point of the photograph stands in the crop.
        ood_score: How far it is from the training data, higher is further; None where the checkpoint does not know.
        unlike: Whether that is above the checkpoint's threshold, whatever ``expression`` says; None likewise.
    """

    box: tuple[float, float, float, float]
    detection_confidence: float | None
    landmarks: NDArray[np.float32] | None
    expression: str
    confidence: float
    probabilities: dict[str, float]
    map: NDArray[np.float32]
    crop: Image.Image
    matrix: NDArray[np.float64]
    ood_score: float | None = None
    unlike: bool | None = None

    @property
    def top(self) -> str:
        """The most probable class, also of a face whose expression is none."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def to_dict(self) -> dict[str, Any]:
        """Return what can be said in JSON: all but the map, the crop and its matrix."""
        return {
            "box": [round(value, 2) for value in self.box],
            "detection_confidence": None if self.detection_confidence is None else round(self.detection_confidence, 6),
            "landmarks": None if self.landmarks is None else np.round(self.landmarks.astype(float), 2).tolist(),
            "expression": self.expression,
            "confidence": round(self.confidence, 6),
            "ood_score": None if self.ood_score is None else round(self.ood_score, 6),
            "unlike": self.unlike,
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
        }


@dataclass(frozen=True, eq=False)
class PhotoPrediction:
    """A photograph, and the faces in it.

    Attributes:
        source: The path as it was given; empty for a picture that came as pixels.
        faces: The largest first; empty where there is none.
        error: Why the picture could not be read, or a face in it not be cut out; else empty.
    """

    source: str
    faces: list[FacePrediction]
    error: str = ""

    @property
    def reason(self) -> str:
        """Why there is no face, or one is missing; else empty."""
        if self.error:
            return f"unreadable: {self.error}"
        return "" if self.faces else "no face"

    def to_dict(self) -> dict[str, Any]:
        """Return ``source``, ``faces`` and ``reason`` in plain types, for JSON."""
        return {"source": self.source, "faces": [face.to_dict() for face in self.faces], "reason": self.reason}
