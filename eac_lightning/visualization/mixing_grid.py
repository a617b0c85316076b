"""Every mixing of the same faces side by side, with what becomes of their labels."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eac_lightning.batch import check_labels
from eac_lightning.data.mixing import MIXINGS, create_mixing
from eac_lightning.errors import ConfigurationError
from eac_lightning.seeding import derive_seed, seeded
from eac_lightning.types import Batch
from eac_lightning.visualization.canvas import INK, MUTED, RIGHT, figure_to_image, shorten
from eac_lightning.visualization.overlay import to_rgb
from eac_lightning.visualization.sheet import Sheet

Cell = tuple[NDArray[np.float32], list[float]]
"""A picture (H, W, 3), and its share of each class."""

_ABOUT = {
    "plain": "the faces and\ntheir labels",
    "cutout": "a square is left out,\nthe label stays",
    "mixup": "two faces show\nthrough each other",
    "cutmix": "a rectangle is\nof another face",
    "fmix": "irregular shapes are\nof another face",
}
_OTHER = "#a9d3ce"
_CELL = 1.36
_GAP = 0.13
_MARGIN = 0.24
_GUTTER = 1.5
_BAR = 0.05
_CAPTION = 0.5
"""All in inches."""


def mixing_grid(
    faces: Sequence[Tensor | ArrayLike] | Tensor,
    labels: Sequence[int],
    class_names: Sequence[str],
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Draw faces as they are and under every mixing: a row each, a column a face, and below it the shares of labels.

    A cell is drawn as its face would be in a training step of its own; in one column all mixings take the same
    partner, from among the other faces.

    Args:
        faces: At least two of one size, each (3, H, W) or (H, W, 3) in [0, 1] or uint8.
        labels: A label in [0, K) for each.
        class_names: The K classes' names; long ones are shortened.
        seed: The same seed gives the same picture.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConfigurationError: If there are fewer than two faces, of different sizes, or not as many labels.
        DataError: If a label lies outside the classes.
    """
    batch = _batch(faces, labels, len(class_names))
    count = len(batch["image"])
    height, width = batch["image"].shape[2:]
    cell_height = _CELL * min(max(height / width, 0.5), 2.0)
    pitch = cell_height + _CAPTION
    left = _MARGIN + _GUTTER
    sheet = Sheet(left + count * (_CELL + _GAP) - _GAP + _MARGIN, _MARGIN + len(_ABOUT) * pitch)
    for row, (name, about) in enumerate(_ABOUT.items()):
        y = _MARGIN + row * pitch
        sheet.text(_MARGIN, y + cell_height / 2 - 0.2, name, size=10.5, weight="bold")
        sheet.text(_MARGIN, y + cell_height / 2 - 0.06, about, size=7.2, color=MUTED, va="top")
        for column in range(count):
            picture, shares = _cell(name, batch, column, len(class_names), seed)
            x = left + column * (_CELL + _GAP)
            sheet.picture(x, y, _CELL, cell_height, picture)
            _write_shares(sheet, x, y + cell_height, shares, int(batch["label"][column]), class_names)
    return figure_to_image(sheet.figure)


def _batch(faces: Sequence[Tensor | ArrayLike] | Tensor, labels: Sequence[int], classes: int) -> Batch:
    pictures = [to_rgb(face) for face in faces]
    sizes = {picture.shape for picture in pictures}
    if len(pictures) < 2 or len(sizes) > 1 or len(labels) != len(pictures):
        raise ConfigurationError(
            f"Expected at least two faces of one size and a label for each, but got {len(pictures)} faces of "
            f"{len(sizes)} sizes and {len(labels)} labels."
        )
    label = torch.as_tensor(labels)
    check_labels(label, classes)
    image = torch.from_numpy(np.stack(pictures)).float().permute(0, 3, 1, 2)
    return cast(Batch, {"image": image, "label": label, "soft_label": F.one_hot(label, classes).float()})


def _cell(name: str, batch: Batch, column: int, classes: int, seed: int) -> Cell:
    # One batch has one share in MixUp and CutMix: a batch for each column shows how they vary.
    with seeded(derive_seed(seed, "cell", column)):
        mixed: Batch = create_mixing(name, classes)(batch) if name in MIXINGS else batch
    return mixed["image"][column].permute(1, 2, 0).numpy(), mixed["soft_label"][column].tolist()


def _write_shares(sheet: Sheet, x: float, y: float, shares: list[float], own: int, names: Sequence[str]) -> None:
    """Write a face's own label and its partner's below a cell, and their shares as a bar."""
    percent = round(100 * shares[own])
    others = (other for other in range(len(shares)) if other != own)
    partner = max(others, key=lambda other: shares[other], default=own)
    sheet.bar(x, y + 0.04, _CELL, _BAR, _OTHER)
    sheet.bar(x, y + 0.04, _CELL * shares[own], _BAR, RIGHT)
    lines = [(own, percent, INK), (partner, 100 - percent, MUTED)]
    for number, (label, part, ink) in enumerate(line for line in lines if line[1]):
        text = f"{shorten(names[label], 16)} {part} %"
        sheet.text(x, y + 0.18 + 0.14 * number, text, size=7.5, color=ink)
