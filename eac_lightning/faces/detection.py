"""Where the faces in a photograph are: MTCNN, whose weights come with facenet-pytorch."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from eac_lightning.data.decoding import to_grey_or_rgb
from eac_lightning.errors import ConfigurationError

WINDOW = 12
"""Side in pixels of the smallest window that the first of the three networks looks at."""

SMALLEST = 20
"""Smaller faces than this in pixels are rarely found, and take long to look for."""


@dataclass(frozen=True)
class Face:
    """A face in a photograph. Coordinates are of points, not of pixels: pixel i of a row reaches from i to i + 1.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the photograph; it may reach beyond the edges.
        confidence: That it is a face, 0 to 1.
        landmarks: (5, 2) x, y: left eye, right eye, nose, left and right corner of the mouth, left as seen in the
            picture.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: NDArray[np.float32]

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


Detector = Callable[[Sequence[Image.Image]], Sequence[Sequence[Face]]]
"""Returns the faces of each image, the largest first."""


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        ConfigurationError: It is not, or ``device`` is the name of none.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # an AssertionError where torch was built without CUDA
        raise ConfigurationError(f"Expected a device that is there, but got {device!r}: {error}") from error


class FaceDetector:
    """Finds faces with MTCNN (Zhang et al., IEEE Signal Processing Letters 2016). Nothing in it is random.

    Of several windows that are all surely a face, which one is taken turns on the last bit of a float, and with it the
    box by a few pixels. On the CPU pictures therefore go through the networks one by one, so that what is found in
    one does not depend on the others. That costs little: on one core a batch of 16 was 1.4 times as fast for pictures
    of 570 pixels, as fast for 1,000 and slower for 1,920.

    Args:
        min_size: Side in pixels of the smallest face that is looked for, 12 or more; one that is found may turn out a
            little smaller. Half of it takes about twice as long.
        min_confidence: Less certain faces are left out, 0 to 1.
        device: Where the networks run, such as ``"cuda"``. For ``"mps"`` that is the CPU: facenet-pytorch resizes by
            pooling, which there works only between sizes that divide.
        max_side: A picture whose longer side is larger is searched in a copy of this size, and faces that are smaller
            than 20 pixels in the copy are not found. At 6,000 pixels it is 14 times as fast.
        batched: Whether pictures of one size go through the networks together; if left out, where ``device`` is
            not the CPU.

    Raises:
        ConfigurationError: An argument is out of its range, or the device is not there.
    """

    def __init__(
        self,
        min_size: int = SMALLEST,
        min_confidence: float = 0.9,
        device: str = "cpu",
        max_side: int = 1600,
        batched: bool | None = None,
    ) -> None:
        if min_size < WINDOW:
            raise ConfigurationError(f"Faces are looked for from {WINDOW} pixels on; min_size is {min_size}.")
        if not 0 <= min_confidence <= 1:
            raise ConfigurationError(f"Expected min_confidence from 0 to 1, but got {min_confidence}.")
        if max_side < min_size:
            raise ConfigurationError(f"Expected max_side of at least min_size, {min_size}, but got {max_side}.")
        self.min_size = min_size
        self.min_confidence = min_confidence
        self.max_side = max_side
        self.device = "cpu" if str(device).startswith("mps") else device
        self.batched = self.device != "cpu" if batched is None else batched
        check_device(self.device)

    @cached_property
    def _mtcnn(self) -> Any:
        thresholds = [0.6, 0.7, min(0.7, self.min_confidence)]
        with torch.random.fork_rng(devices=[]):  # it draws weights before it loads them
            return MTCNN(keep_all=True, thresholds=thresholds, device=self.device).eval()

    def __call__(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        """Return the faces of each image, the largest first.

        Args:
            images: Of any sizes and modes. They are taken as they lie: turn them upright first
                (``PIL.ImageOps.exif_transpose``).

        Raises:
            DataError: The pixels of an image have no agreed range (mode F).
        """
        found: list[list[Face]] = [[] for _ in images]
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            groups[self._working_size(image) if self.batched else (i,)].append(i)
        for members in groups.values():
            for i, faces in zip(members, self._detect([images[i] for i in members]), strict=True):
                found[i] = faces
        return found

    def _working_size(self, image: Image.Image) -> tuple[int, int, float]:
        """Return width and height of what is searched, and the side of the smallest face to look for there."""
        scale = min(1.0, self.max_side / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        return width, height, max(self.min_size * scale, min(self.min_size, SMALLEST))

    def _detect(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        """Return the faces of images that have one working size."""
        width, height, smallest = self._working_size(images[0])
        # MTCNN raises where not even the smallest face fits in.
        if min(width, height) <= smallest:
            return [[] for _ in images]
        small = [
            to_grey_or_rgb(image).convert("RGB").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            for image in images
        ]
        self._mtcnn.min_face_size = smallest
        # Called as a whole, MTCNN stumbles over lists in which some picture has no face; detect does not.
        boxes, scores, points = self._mtcnn.detect(small, landmarks=True)
        return [self._faces(image, *one) for image, *one in zip(images, boxes, scores, points, strict=True)]

    def _faces(self, image: Image.Image, boxes: Any, scores: Any, points: Any) -> list[Face]:
        if boxes is None:
            return []
        width, height, _ = self._working_size(image)
        back = np.array([image.width / width, image.height / height])
        landmarks = (np.asarray(points, np.float64) * back).astype(np.float32)
        corners = np.asarray(boxes, np.float64) * np.tile(back, 2)
        return [
            Face((x0, y0, x1, y1), float(score), five)
            for (x0, y0, x1, y1), score, five in zip(corners.tolist(), scores, landmarks, strict=True)
            if score >= self.min_confidence
        ]
