"""From photographs to expressions: find the faces, align them as in training, predict."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from eac_lightning.answering import Answering
from eac_lightning.batch import to_float_rgb
from eac_lightning.data.decoding import resize_square
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.faces.alignment import TEMPLATE_SIZE, Alignment
from eac_lightning.faces.detection import Detector, Face, FaceDetector, check_device
from eac_lightning.faces.photo import Picture, load_photo
from eac_lightning.faces.prediction import UNLIKE, UNSURE, FacePrediction, PhotoPrediction
from eac_lightning.maps.explain import check_method
from eac_lightning.maps.undisturbed import undisturbed
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.modules import load_module
from eac_lightning.modules.base import FERModule
from eac_lightning.modules.checkpoint import CHECKPOINT_KEY

__all__ = ["FacePrediction", "PhotoPrediction", "Picture", "Predictor"]

FACES = ("all", "largest")

_PIXELS = 50_000_000
"""After so many a batch of photographs is closed: 32 of a telephone's would fill a gigabyte and more."""

_log = logging.getLogger(__name__)


class _Cut(NamedTuple):
    """A face that was cut out: (H, W, 3) pixels, and the (2, 3) matrix that leads there from the photograph."""

    face: Face | None
    box: tuple[float, float, float, float]
    pixels: NDArray[np.uint8]
    matrix: NDArray[np.float64]


@dataclass
class _Photo:
    source: str
    image: Image.Image | None = None
    error: str = ""
    cuts: list[_Cut] = field(default_factory=list)


class Predictor:
    """Says which expression each face in a photograph shows.

    ``predictor(picture)`` returns one :class:`PhotoPrediction`; ``predictor([picture, …])`` a list of them, one a
    picture and in their order; :meth:`stream` takes and yields any number, a batch in memory at a time. A picture in
    which there is no face has none in its prediction, and one that cannot be read has an ``error``: neither stops the
    others.

    What the module knows of its own answers (``module.answers``, of `CalibrationCallback` and `OODCallback`) is heeded:
    probabilities are calibrated, and a face far from the training data has the expression ``"not like the training
    data"``; its probabilities and its most probable class are told all the same.

    Args:
        module: What predicts; it is moved to ``device``.
        alignment: How faces are cut out; None if the pictures are crops of faces already: nothing is searched then.
        min_confidence: A face whose most probable class has less is ``"unsure"``; in [0, 1]. None takes what the module
            knows, which is 0 unless a calibration was asked for an accuracy.
        keep_unlike: Whether faces that are not like the training data are told by their expression like others.
        faces: ``"all"`` of a photograph, or the ``"largest"``.
        detector: What finds faces; a :class:`~eac_lightning.faces.detection.FaceDetector` if left out.
        batch_size: The most photographs that are searched, and faces that are predicted, at once.
        device: Where the networks run, such as ``"cuda"``.

    Raises:
        ConfigurationError: If an argument is of another type or out of its range, the device is not there, or the
            module takes normalised images or defines no attention maps.
    """

    def __init__(
        self,
        module: FERModule,
        alignment: Alignment | None,
        *,
        min_confidence: float | None = None,
        keep_unlike: bool = False,
        faces: str = "all",
        detector: Detector | None = None,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        if not isinstance(module, FERModule) or not isinstance(alignment, Alignment | None):
            raise ConfigurationError(
                f"Expected a FERModule and an Alignment or None, but got {type(module).__name__} and "
                f"{type(alignment).__name__}. Predictor.from_checkpoint(path) takes a checkpoint."
            )
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigurationError(f"Expected min_confidence to be from 0 to 1, but got {min_confidence}.")
        if faces not in FACES:
            raise unknown_name("choice of faces", faces, FACES)
        if batch_size < 1:
            raise ConfigurationError(f"Expected batch_size to be at least 1, but got {batch_size}.")
        if not module.hparams["normalize"]:
            raise ConfigurationError(
                "The module was trained with normalize=False: how its images were normalised is known to its "
                "DataModule alone. Predict with trainer.predict(module, datamodule)."
            )
        check_method(module, "cam")
        check_device(device)
        self.module = module.to(device)
        self.alignment = alignment
        self.answers = module.answers or Answering()
        self.min_confidence = (self.answers.min_confidence or 0.0) if min_confidence is None else min_confidence
        self.keep_unlike = keep_unlike
        self.faces = faces
        self.batch_size = batch_size
        self.detector: Detector = detector or FaceDetector(device=device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        min_confidence: float | None = None,
        keep_unlike: bool = False,
        faces: str = "all",
        crops: bool = False,
        detector: Detector | None = None,
        batch_size: int = 32,
        device: str = "cpu",
        alignment: Alignment | str | None = None,
    ) -> "Predictor":
        """Return a predictor that aligns faces as those were that the checkpoint learned from.

        Where the checkpoint does not say how that was, the face's box with a margin is taken, and a warning says so.

        Args:
            path: A checkpoint of a :class:`~eac_lightning.modules.base.FERModule`, or its run's folder.
            min_confidence: For this and all that is not explained here see :class:`Predictor`.
            keep_unlike: See there.
            faces: ``"all"`` or ``"largest"``.
            crops: The pictures are crops of faces already: nothing is searched or aligned.
            detector: What finds faces.
            batch_size: The most photographs and faces at once.
            device: Where the networks run.
            alignment: Used instead of what the checkpoint says: an alignment, or the name of a method
                (``"five_point"``, ``"box"``) with its defaults.

        Raises:
            CheckpointError: If there is no checkpoint of a FERModule.
            ConfigurationError: See :class:`Predictor`; or the alignment is unknown.
        """
        path = Path(path) / "last.ckpt" if Path(path).is_dir() else Path(path)
        module = load_module(path)
        return cls(
            module,
            None if crops else _choose_alignment(alignment, path, module.image_size),
            min_confidence=min_confidence,
            keep_unlike=keep_unlike,
            faces=faces,
            detector=detector,
            batch_size=batch_size,
            device=device,
        )

    @overload
    def __call__(self, pictures: Picture) -> PhotoPrediction: ...  # type: ignore[overload-overlap]  # str is iterable

    @overload
    def __call__(self, pictures: Iterable[Picture]) -> list[PhotoPrediction]: ...

    def __call__(self, pictures: Picture | Iterable[Picture]) -> PhotoPrediction | list[PhotoPrediction]:
        """Return the prediction of one picture, or the list of those of several.

        Raises:
            ConfigurationError: If something is no :data:`Picture`.
            DataError: If what the network answers is not finite.
        """
        if isinstance(pictures, str | Path | Image.Image | np.ndarray | Tensor) or not isinstance(pictures, Iterable):
            return next(self.stream([pictures]))
        return list(self.stream(pictures))

    def stream(self, pictures: Iterable[Picture]) -> Iterator[PhotoPrediction]:
        """Yield the prediction of each picture, in their order.

        Raises:
            ConfigurationError: If something is no :data:`Picture`.
            DataError: If what the network answers is not finite.
        """
        batch: list[_Photo] = []
        pixels = 0
        for picture in pictures:
            photo = _read(picture)
            batch.append(photo)
            pixels += photo.image.width * photo.image.height if photo.image else 0
            if len(batch) == self.batch_size or pixels >= _PIXELS:
                yield from self._predict(batch)
                batch, pixels = [], 0
        yield from self._predict(batch)

    def _predict(self, photos: Sequence[_Photo]) -> Iterator[PhotoPrediction]:
        readable = [(photo, photo.image) for photo in photos if photo.image]
        found = self._find([image for _, image in readable])
        for (photo, image), faces in zip(readable, found, strict=True):
            for face in faces:
                try:
                    photo.cuts.append(self._cut_out(image, face))
                except DataError as error:
                    photo.error = f"a face cannot be cut out: {error}"
        predicted = self._classify([cut for photo in photos for cut in photo.cuts])
        for photo in photos:
            yield PhotoPrediction(photo.source, list(islice(predicted, len(photo.cuts))), photo.error)

    def _find(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Face | None]]:
        """Return the faces of each image; None stands for an image that is a crop."""
        if self.alignment is None:
            return [[None]] * len(images)
        found = self.detector(images) if images else []
        return [faces[:1] for faces in found] if self.faces == "largest" else found

    def _cut_out(self, image: Image.Image, face: Face | None) -> _Cut:
        """Return a face, of the size that the module takes if it has one."""
        crop, matrix, box = image, np.eye(2, 3), (0.0, 0.0, float(image.width), float(image.height))
        if face and self.alignment:
            crop, matrix, box = self.alignment(image, face), self.alignment.matrix(face), face.box
        pixels = np.asarray(crop)
        if self.module.image_size is not None:
            pixels = resize_square(pixels, self.module.image_size)
        height, width = pixels.shape[:2]
        return _Cut(face, box, pixels, matrix * [[width / crop.width], [height / crop.height]])

    def _classify(self, cuts: Sequence[_Cut]) -> Iterator[FacePrediction]:
        # Pictures that are crops differ in size where the module has none to bring them to.
        step = self.batch_size if self.alignment or self.module.image_size else 1
        for start in range(0, len(cuts), step):
            part = cuts[start : start + step]
            image = torch.from_numpy(np.stack([cut.pixels for cut in part])).permute(0, 3, 1, 2)
            image = to_float_rgb(image).to(self.module.device, self.module.dtype)  # type: ignore[arg-type]
            with undisturbed(self.module), torch.no_grad():
                logits, maps, read = self._look(image)
            rows = self.answers.probabilities(logits.float())
            if not rows.isfinite().all():
                raise DataError("The network answers NaN for a face: its weights are broken. Take another checkpoint.")
            top_maps = maps[torch.arange(len(part)), rows.argmax(1)].float().cpu().numpy()
            deciding = self.answers.deciding
            scores = [None] * len(part) if deciding is None else deciding.score(read).tolist()
            for cut, row, top_map, score in zip(part, rows.tolist(), top_maps, scores, strict=True):
                yield self._prediction(cut, row, top_map, score)

    def _look(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, maps, and what the deciding score reads, from one pass."""
        deciding = self.answers.deciding
        if deciding is not None and deciding.reads == "features":
            return self.module.logits_maps_and_features(image)
        logits, maps = self.module.logits_and_maps(image)
        return logits, maps, logits

    def _prediction(
        self, cut: _Cut, row: Sequence[float], top_map: NDArray[np.float32], ood_score: float | None
    ) -> FacePrediction:
        probabilities = dict(zip(self.module.class_names, row, strict=True))
        confidence = max(row)
        threshold = self.answers.ood_threshold
        unlike = None if ood_score is None or threshold is None else ood_score > threshold
        expression = self.module.class_names[row.index(confidence)] if confidence >= self.min_confidence else UNSURE
        return FacePrediction(
            box=cut.box,
            detection_confidence=cut.face.confidence if cut.face else None,
            landmarks=cut.face.landmarks if cut.face else None,
            expression=UNLIKE if unlike and not self.keep_unlike else expression,
            confidence=confidence,
            probabilities=probabilities,
            map=top_map,
            crop=Image.fromarray(cut.pixels),
            matrix=cut.matrix,
            ood_score=ood_score,
            unlike=unlike,
        )


def _read(picture: Picture) -> _Photo:
    source = str(picture) if isinstance(picture, str | Path) else ""
    try:
        return _Photo(source, load_photo(picture))
    except DataError as error:
        return _Photo(source, error=str(error))


def _choose_alignment(asked: Alignment | str | None, checkpoint: Path, image_size: int | None) -> Alignment:
    """Return the alignment that was asked for, else the checkpoint's, else a guess, which is said."""
    if isinstance(asked, Alignment):
        return asked
    size = image_size or TEMPLATE_SIZE
    if asked is not None:
        return Alignment(asked, size=size)
    about = read_checkpoint(checkpoint)[CHECKPOINT_KEY]
    if isinstance(about, dict) and about.get("alignment"):
        return Alignment.from_dict(about["alignment"])
    guess = Alignment("box", size=size)
    _log.warning(
        "%s does not say how the faces that it learned from were cut out: a face's box with a margin of %.0f %% is "
        "taken. If that was otherwise, say how: alignment=Alignment(...), or --align on the command line; for "
        "pictures that are cut out already crops=True, or --crops.",
        checkpoint,
        100 * guess.margin,
    )
    return guess
