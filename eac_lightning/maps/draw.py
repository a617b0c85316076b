"""Class activation maps of pictures on disk, drawn with the modules of checkpoints."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.callbacks._pictures import write_png
from eac_lightning.data.decoding import decode_image, resize_square
from eac_lightning.data.emotions import matching_classes
from eac_lightning.data.pictures import find_pictures, spread_over
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.maps.explain import check_method, explain
from eac_lightning.modules import load_module
from eac_lightning.modules.base import FERModule
from eac_lightning.types import UNKNOWN_LABEL
from eac_lightning.visualization import CAMSample, cam_panel, side_by_side

ROWS = 16
"""Faces on a sheet; more of them make several sheets."""


def draw_cams(
    checkpoint: Path, images: Sequence[Path], out: Path, method: str = "cam", limit: int | None = None
) -> list[Path]:
    """Draw a panel for each picture, ``<name>_cam.png``, and for several pictures a ``cam_sheet.png`` of all.

    Each picture is taken as one face and resized to the size that the module was trained on. Where its folder
    has the name of a class, that is its given label. Pictures that cannot be read are named in a warning, and
    the others are drawn.

    Args:
        checkpoint: A checkpoint of a :class:`~eac_lightning.modules.base.FERModule`.
        images: Pictures, and folders that are searched for pictures, subfolders included.
        out: The folder to write to; made if it is not there.
        method: ``cam``, ``grad_cam`` or ``layer_cam``.
        limit: The most pictures to draw, evenly from all over those that are found.

    Returns:
        What was written: the panels in the order of the pictures, then the sheets.

    Raises:
        CheckpointError: If the checkpoint is none.
        ConfigurationError: If the method is unknown or cannot be had, the module takes normalised images, or
            ``limit`` is below 1.
        DataError: If there is no picture, or none that can be read.
    """
    module = _load(checkpoint, method)
    samples: list[CAMSample] = []
    written: list[Path] = []
    for path, face in _decode(_find(images, limit)):
        samples.append(_explain(module, path, face, method))
        written.append(_free_name(out, path, written))
        write_png(written[-1], cam_panel(samples[-1:], module.class_names))
    if len(samples) > 1:
        written += _write_sheets(
            out / "cam_sheet.png", len(samples), lambda rows: cam_panel(samples[rows], module.class_names)
        )
    return written


def draw_cams_beside(
    checkpoints: Mapping[str, Path], images: Sequence[Path], out: Path, method: str = "cam", limit: int | None = None
) -> list[Path]:
    """Draw one ``cam_beside.png``: a row a picture, a column a checkpoint, with what it predicts and why.

    Args:
        checkpoints: By the titles of their columns checkpoints that tell the same classes apart; each gets the
            pictures in the size that it was trained on.
        images: Pictures, and folders that are searched for pictures, subfolders included.
        out: The folder to write to; made if it is not there.
        method: ``cam``, ``grad_cam`` or ``layer_cam``.
        limit: The most pictures to draw, evenly from all over those that are found.

    Returns:
        What was written: one picture, or several for more than :data:`ROWS` faces.

    Raises:
        CheckpointError: If a checkpoint is none.
        ConfigurationError: If the checkpoints differ in their classes; and see :func:`draw_cams`.
        DataError: If there is no picture, or none that can be read.
    """
    modules = {title: _load(path, method) for title, path in checkpoints.items()}
    (first, reference), *others = modules.items()
    for title, module in others:
        if module.class_names != reference.class_names:
            raise ConfigurationError(
                f"Expected checkpoints of the same classes in the same order, but {first} has "
                f"{', '.join(reference.class_names)}, and {title} has {', '.join(module.class_names)}. Draw them apart."
            )
    columns: dict[str, list[CAMSample]] = {title: [] for title in modules}
    for path, face in _decode(_find(images, limit)):
        for title, module in modules.items():
            columns[title].append(_explain(module, path, face, method))
    return _write_sheets(
        out / "cam_beside.png",
        len(columns[first]),
        lambda rows: side_by_side({title: samples[rows] for title, samples in columns.items()}, reference.class_names),
    )


def _find(images: Sequence[Path], limit: int | None) -> list[Path]:
    if limit is not None and limit < 1:
        raise ConfigurationError(f"Expected limit to be at least 1, but got {limit}.")
    return spread_over(find_pictures(images), limit)


def _load(checkpoint: Path, method: str) -> FERModule:
    module = load_module(checkpoint)
    check_method(module, method)
    if not module.hparams["normalize"]:
        raise ConfigurationError(
            f"{checkpoint} was trained with normalize=False: how its images were normalised is known to its "
            "DataModule alone. Draw its maps with CAMCallback and trainer.predict(module, datamodule)."
        )
    return module


def _explain(module: FERModule, path: Path, face: NDArray[np.uint8], method: str) -> CAMSample:
    given = torch.tensor([_label_of_folder(path, module.class_names)])
    (sample,) = explain(module, _to_input(face, module), given, method=method)
    return replace(sample, name=path.name)


def _write_sheets(path: Path, count: int, draw: Callable[[slice], NDArray[np.uint8]]) -> list[Path]:
    """Draw ``count`` faces, at most :data:`ROWS` a sheet; several sheets are numbered."""
    starts = range(0, count, ROWS)
    numbered = (path.with_stem(f"{path.stem}_{number:02d}") for number in range(1, len(starts) + 1))
    sheets = [path] if len(starts) == 1 else list(numbered)
    for sheet, start in zip(sheets, starts, strict=True):
        write_png(sheet, draw(slice(start, start + ROWS)))
    return sheets


def _decode(paths: Sequence[Path]) -> Iterable[tuple[Path, NDArray[np.uint8]]]:
    """Yield the pictures that can be read, and say at the end which cannot."""
    broken: list[str] = []
    for path in paths:
        try:
            yield path, decode_image(path)
        except DataError as error:
            broken.append(f"{path}: {error}")
    if not broken:
        return
    message = f"{len(broken)} of {len(paths)} pictures could not be read:\n  " + "\n  ".join(broken)
    if len(broken) == len(paths):
        raise DataError(message)
    warnings.warn(message, stacklevel=3)


def _to_input(face: NDArray[np.uint8], module: FERModule) -> Tensor:
    """Return the picture as the module takes it: (1, 3, H, W), of the module's size where it has one."""
    if module.image_size is not None:
        face = resize_square(face, module.image_size)
    rgb = face if face.ndim == 3 else np.repeat(face[..., None], 3, axis=2)
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255


def _label_of_folder(path: Path, class_names: Sequence[str]) -> int:
    matches = matching_classes(path.resolve().parent.name, class_names)
    return matches[0] if matches else UNKNOWN_LABEL


def _free_name(out: Path, picture: Path, taken: Sequence[Path]) -> Path:
    """Return ``<name>_cam.png``, numbered where pictures of several folders share a name."""
    path = out / f"{picture.stem}_cam.png"
    number = 2
    while path in taken:
        path = out / f"{picture.stem}_{number}_cam.png"
        number += 1
    return path
