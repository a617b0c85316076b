"""The panel of class activation maps: a row for each face, what the network sees in it and in its twin."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError
from eac_lightning.types import UNKNOWN_LABEL
from eac_lightning.visualization.canvas import (
    HAIRLINE,
    INK,
    MUTED,
    RIGHT,
    WRONG,
    figure_to_image,
    shorten,
)
from eac_lightning.visualization.overlay import overlay, to_rgb
from eac_lightning.visualization.sample import CAMSample
from eac_lightning.visualization.sheet import Sheet

Cell = tuple[NDArray[np.float64] | NDArray[np.uint8], str]
"""A picture and the line under it."""


def _cells(sample: CAMSample, names: Sequence[str]) -> dict[str, Cell]:
    """Return the row of a face, by the headings of the columns."""
    face = to_rgb(sample.image)
    predicted = names[sample.predicted]
    # On the scale of the maps themselves: stretched to its own range, a gap of nothing would look like a lot.
    peak = float(max(sample.predicted_map.max(), sample.twin_map.max(), 0.0))
    gap = overlay(face, sample.gap, peak=peak, palette="disagreement")
    return {
        "face": (face, shorten(sample.name, 22)),
        "its mirrored twin": (face[:, ::-1], ""),
        "evidence for\nthe prediction": _evidence(face, sample.predicted_map, predicted),
        _GIVEN: _evidence(face, sample.given_map, names[sample.given]),
        "evidence in the twin,\nmirrored back": _evidence(face, sample.twin_map, predicted),
        "where the two\nviews disagree": (gap, f"{sample.disagreement:.0%} apart"),
    }


def _evidence(face: NDArray[np.float64], attention_map: NDArray[np.float32] | None, name: str) -> Cell:
    if attention_map is None:
        return np.full((1, 1, 3), 245, dtype=np.uint8), "no label"
    return overlay(face, attention_map), name if (attention_map > 0).any() else f"none for {name}"


_GIVEN = "evidence for\nthe given label"
_CELL = 1.36
_GAP = 0.09
_MARGIN = 0.22
_HEADER = 0.46
_FOOTER = 0.42
_CAPTION = 0.26
_LABEL = 0.78
"""All in inches: the panel is as readable with faces of 64 px as with faces of 224 px."""


def _verdict(sheet: Sheet, sample: CAMSample, names: Sequence[str], x: float, y: float, height: float) -> None:
    """Write the words left of a row: the verdict, then each label with its name."""
    mark = {True: ("✓ correct", RIGHT), False: ("✗ wrong", WRONG), None: ("unlabelled", MUTED)}
    verdict, color = mark[sample.correct]
    lines = [("predicted", f"{names[sample.predicted]}  {sample.confidence:.0%}", INK)]
    if sample.given != UNKNOWN_LABEL:
        mistaken = sample.clean not in (UNKNOWN_LABEL, sample.given)
        text = f"{names[sample.given]}  ✗" if mistaken else names[sample.given]
        lines.append(("given label", text, WRONG if mistaken else INK))
    if sample.clean != UNKNOWN_LABEL:
        lines.append(("clean label", names[sample.clean], INK))
    pitch = 0.215
    top = y + height / 2 - pitch * len(lines) / 2
    sheet.bar(x, y, 0.05, height, color)
    sheet.text(x + 0.15, top - 0.03, verdict, size=9.5, color=color, weight="bold")
    for number, (label, value, ink) in enumerate(lines, start=1):
        line = top + number * pitch + 0.02
        sheet.text(x + 0.15, line, label, size=7.2, color=MUTED)
        sheet.text(x + 0.15 + _LABEL, line, value, size=8.2, color=ink)


def _legend(sheet: Sheet, x: float, y: float, step: float) -> None:
    """Say what the two colour scales mean."""
    sheet.scale(x, y, "evidence", "no evidence", "strongest in this map")
    sheet.scale(x + step, y, "disagreement", "views agree", "differ by a map's peak")


def cam_panel(samples: Sequence[CAMSample], class_names: Sequence[str], *, title: str = "") -> NDArray[np.uint8]:
    """Draw a panel of class activation maps, one row a face.

    A row shows the face, its flipped twin, the maps of the predicted and of the given class over the face,
    the twin's map mirrored back, and where the two views disagree; left of it stand the labels, the
    confidence and whether the prediction is correct. Each map is scaled by its own range, the disagreement
    by the peak of the two maps it compares. Without any given label its column is left out.

    Args:
        samples: The faces, at least one.
        class_names: The classes' names; long ones are shortened.
        title: A line above the panel.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConfigurationError: If there is no sample.
    """
    if not samples:
        raise ConfigurationError("A panel of class activation maps needs at least one face, but got none.")
    names = [shorten(name, 22) for name in class_names]
    rows = [_cells(sample, names) for sample in samples]
    if all(sample.given_map is None for sample in samples):
        for cells in rows:
            del cells[_GIVEN]
    columns = list(rows[0])
    shown = {index for sample in samples for index in (sample.predicted, sample.given, sample.clean)}
    longest = max(len(names[index]) for index in shown - {UNKNOWN_LABEL})
    gutter = 0.15 + _LABEL + max(0.07 * (longest + 6), 0.9)
    left = _MARGIN + gutter
    top = _MARGIN + (0.3 if title else 0.0) + _HEADER
    face_height, face_width = to_rgb(samples[0].image).shape[:2]
    cell_height = _CELL * min(max(face_height / face_width, 0.5), 2.0)
    pitch = cell_height + _CAPTION
    width = left + len(columns) * (_CELL + _GAP) - _GAP + _MARGIN
    sheet = Sheet(width, top + len(samples) * pitch + _FOOTER)
    if title:
        sheet.text(_MARGIN, _MARGIN + 0.1, title, size=12.5, weight="bold")
    for number, heading in enumerate(columns):
        x = left + number * (_CELL + _GAP) + _CELL / 2
        sheet.text(x, top - 0.08, heading, size=7.8, color=MUTED, ha="center", va="bottom")
    for row, (sample, cells) in enumerate(zip(samples, rows, strict=True)):
        y = top + row * pitch
        _verdict(sheet, sample, names, _MARGIN, y, cell_height)
        for number, (image, caption) in enumerate(cells.values()):
            x = left + number * (_CELL + _GAP)
            sheet.picture(x, y, _CELL, cell_height, image)
            sheet.text(x + _CELL / 2, y + cell_height + 0.1, caption, size=7.5, color=MUTED, ha="center")
    sheet.bar(_MARGIN, sheet.height - _FOOTER + 0.06, width - 2 * _MARGIN, 0.008, HAIRLINE)
    _legend(sheet, left, sheet.height - _FOOTER / 2 + 0.02, 3 * (_CELL + _GAP))
    return figure_to_image(sheet.figure)
