"""From a photograph and a face in it to a square crop in which every face stands alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from eac_lightning.data.decoding import to_grey_or_rgb
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.faces.detection import Face

METHODS = ("five_point", "box")

TEMPLATE_SIZE = 112
TEMPLATE: NDArray[np.float64] = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""(5, 2) x, y at 112 px: where eyes, nose and mouth corners stand in the crops that ArcFace (Deng et al.,
CVPR 2019) and the face-recognition networks after it are trained on."""

WEIGHTS = (6.0, 6.0, 1.0, 1.0, 1.0)
"""How much each point counts. Mouth corners move with the expression and the nose with the pose: counted alike, a
smile moves the eyes by up to 4 pixels of 112; so they stay within 2."""


@dataclass(frozen=True)
class Alignment:
    """How faces are cut out. Both methods turn, scale and shift, and never shear or mirror.

    What lies beyond the photograph's edge is black, as in the pictures that face-recognition networks learn from.

    Args:
        method: ``"five_point"`` brings the landmarks as near to :data:`TEMPLATE` as turning, scaling and shifting can,
            the eyes foremost (:data:`WEIGHTS`); ``"box"`` cuts out an upright square around the box.
        size: Side of the crop in pixels.
        margin: For ``"box"``: share of the box's longer side that is added on each side, 0 or more.

    Raises:
        ConfigurationError: An argument is not of these.
    """

    method: str = "five_point"
    size: int = 112
    margin: float = 0.2

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("alignment", self.method, METHODS)
        if self.size < 1:
            raise ConfigurationError(f"A crop's size must be at least 1 pixel, but is {self.size}.")
        if self.margin < 0:
            raise ConfigurationError(f"The margin around a face must be 0 or more, but is {self.margin}.")

    def __call__(self, image: Image.Image, face: Face) -> Image.Image:
        """Return the crop of ``face``, size × size, RGB, or L where the photograph is grey.

        Raises:
            DataError: The pixels have no agreed range (mode F), or the face has no extent.
        """
        matrix = self.matrix(face)
        # Image.transform takes a sample at each pixel of the result. Where the face shrinks these lie apart, and what
        # is between them would be lost: take them a pixel apart or closer, and average.
        finer = max(1, ceil(1 / np.hypot(matrix[0, 0], matrix[1, 0])))
        inverse = invert(matrix) * (1 / finer, 1 / finer, 1)
        side = self.size * finer
        crop = to_grey_or_rgb(image).transform(
            (side, side), Image.Transform.AFFINE, tuple(inverse.ravel()), Image.Resampling.BICUBIC
        )
        return crop.reduce(finer) if finer > 1 else crop

    def matrix(self, face: Face) -> NDArray[np.float64]:
        """Return (2, 3): ``matrix @ (x, y, 1)`` is where a point of the photograph stands in the crop.

        Raises:
            DataError: The landmarks are one point, or the box is empty.
        """
        if self.method == "five_point":
            return similarity(face.landmarks, TEMPLATE * (self.size / TEMPLATE_SIZE), WEIGHTS)
        x0, y0, x1, y1 = face.box
        side = max(x1 - x0, y1 - y0) * (1 + 2 * self.margin)
        if not side > 0:  # nor where it is NaN
            raise DataError(f"Expected a box (x0, y0, x1, y1) with an extent, but found {face.box}.")
        scale = self.size / side
        return np.array([(scale, 0, (side - x0 - x1) / 2 * scale), (0, scale, (side - y0 - y1) / 2 * scale)])

    def to_dict(self) -> dict[str, str | int | float]:
        """Return what :meth:`from_dict` takes, in plain types for a checkpoint or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Alignment":
        """Return the alignment that :meth:`to_dict` described.

        Raises:
            ConfigurationError: There is a key that an alignment does not have, or a value that it cannot have.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown_name("setting of an alignment", name, known)
        return cls(**values)


def similarity(source: ArrayLike, target: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """Return (2, 3): the rotation, scale and shift that bring N points (N, 2) nearest to N others.

    With points as complex numbers it is z → a z + b, and weighted least squares has the closed form
    a = Σ ω conj(z - z̄) (w - w̄) / Σ ω |z - z̄|², b = w̄ - a z̄, with weighted means; Umeyama's (PAMI 1991) in the
    plane. There is no a that mirrors.

    Args:
        source: (N, 2) x, y.
        target: (N, 2), where they should come to lie.
        weights: (N,) ω, positive.

    Raises:
        DataError: All points of ``source`` are one, or one is not finite.
    """
    z, w = (np.asarray(points, np.float64) @ (1, 1j) for points in (source, target))
    if np.all(z == z[0]) or not np.isfinite(z).all():
        raise DataError(f"Expected landmarks that lie apart, but found {np.asarray(source).tolist()}.")
    share = np.asarray(weights, np.float64) / np.sum(weights)
    z_mean, w_mean = share @ z, share @ w
    a = np.vdot(z - z_mean, share * (w - w_mean)) / (share @ np.square(np.abs(z - z_mean)))
    b = w_mean - a * z_mean
    return np.array([(a.real, -a.imag, b.real), (a.imag, a.real, b.imag)])


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) affine map that leads back."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
