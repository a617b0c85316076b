"""The same faces as several networks see them: a row a face, a column a network."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.types import UNKNOWN_LABEL
from eac_lightning.visualization.canvas import HAIRLINE, INK, MUTED, RIGHT, WRONG, figure_to_image, shorten
from eac_lightning.visualization.overlay import overlay, to_rgb
from eac_lightning.visualization.sample import CAMSample
from eac_lightning.visualization.sheet import Sheet

_CELL = 1.5
_GAP = 0.1
_MARGIN = 0.22
_HEADER = 0.3
_CAPTION = 0.42
_FOOTER = 0.42
"""All in inches."""

_VERDICTS = {True: ("✓ ", RIGHT), False: ("✗ ", WRONG), None: ("", INK)}


def side_by_side(
    columns: Mapping[str, Sequence[CAMSample]], class_names: Sequence[str], *, title: str = ""
) -> NDArray[np.uint8]:
    """Draw the evidence that several networks find in the same faces for what each of them predicts.

    A row begins with the face and its label, where that is known; a cell shows a network's map over the face, scaled by
    its own range, with the class that it predicts and the probability of it below.

    Args:
        columns: By the networks' titles what each says of the faces, which are the same in the same order.
        class_names: The classes' names; long ones are shortened.
        title: A line above.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConfigurationError: If there is no network or no face, or the networks have not the same number of faces.
    """
    counts = {name: len(samples) for name, samples in columns.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ConfigurationError(
            f"Expected at least one network, and the same faces of each, but got {counts or 'none'}."
        )
    names = [shorten(name, 18) for name in class_names]
    faces = next(iter(columns.values()))
    height, width = to_rgb(faces[0].image).shape[:2]
    cell_height = _CELL * min(max(height / width, 0.5), 2.0)
    top = _MARGIN + (0.3 if title else 0.0) + _HEADER
    pitch = cell_height + _CAPTION
    sheet = Sheet(2 * _MARGIN + (len(columns) + 1) * (_CELL + _GAP) - _GAP, top + len(faces) * pitch + _FOOTER)
    if title:
        sheet.text(_MARGIN, _MARGIN + 0.1, title, size=12.5, weight="bold")
    for number, (heading, samples) in enumerate([("face", faces), *columns.items()]):
        x = _MARGIN + number * (_CELL + _GAP)
        sheet.text(x + _CELL / 2, top - 0.14, shorten(heading, 24), size=8.2, color=MUTED, ha="center")
        for row, sample in enumerate(samples):
            y = top + row * pitch
            (_draw_network if number else _draw_face)(sheet, sample, names, x, y, cell_height)
    sheet.bar(_MARGIN, sheet.height - _FOOTER + 0.06, sheet.width - 2 * _MARGIN, 0.008, HAIRLINE)
    sheet.scale(_MARGIN, sheet.height - _FOOTER / 2 + 0.02, "evidence", "no evidence", "strongest in this map")
    return figure_to_image(sheet.figure)


def _draw_face(sheet: Sheet, sample: CAMSample, names: Sequence[str], x: float, y: float, height: float) -> None:
    sheet.picture(x, y, _CELL, height, to_rgb(sample.image))
    label = sample.given if sample.clean == UNKNOWN_LABEL else sample.clean
    _write_below(sheet, x, y + height, "" if label == UNKNOWN_LABEL else names[label], shorten(sample.name, 24))


def _draw_network(sheet: Sheet, sample: CAMSample, names: Sequence[str], x: float, y: float, height: float) -> None:
    sheet.picture(x, y, _CELL, height, overlay(sample.image, sample.predicted_map))
    mark, color = _VERDICTS[sample.correct]
    evidence = "" if (sample.predicted_map > 0).any() else ", no evidence"
    _write_below(sheet, x, y + height, mark + names[sample.predicted], f"{sample.confidence:.0%}{evidence}", color)


def _write_below(sheet: Sheet, x: float, y: float, first: str, second: str, color: str = INK) -> None:
    lines = ((first, 8.5, color), (second, 7.5, MUTED)) if first else ((second, 7.5, MUTED),)
    for number, (text, size, ink) in enumerate(lines):
        sheet.text(x + _CELL / 2, y + 0.11 + 0.15 * number, text, size=size, color=ink, ha="center")
