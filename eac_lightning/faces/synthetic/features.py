"""The features that carry the expression: eyes, brows, nose, mouth and the lines of the skin."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eac_lightning.faces.synthetic.action_units import MIRROR, Floats
from eac_lightning.faces.synthetic.canvas import DOWN, Canvas, mix, smooth
from eac_lightning.faces.synthetic.identity import EYE_COLORS, Identity

_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], axis=1)


@dataclass(frozen=True)
class Line:
    """A line of the skin on the person's right half.

    Attributes:
        points: Landmark that each point follows, and its offset (dx, dy) from there.
        causes: Action unit -> how dark the line is when the unit is fully contracted.
        age: How dark the line is in the oldest face at rest.
        width: Of the stroke, in head units.
    """

    points: tuple[tuple[int, float, float], ...]
    causes: Mapping[int, float]
    age: float
    width: float = 0.045


LINES: tuple[Line, ...] = (
    Line(  # nasolabial fold
        ((31, -0.05, -0.05), (31, -0.13, 0.05), (48, -0.09, -0.11), (48, -0.105, -0.02)),
        {12: 0.6, 9: 0.6, 14: 0.2, 20: 0.25, 15: 0.15},
        0.45,
        0.045,
    ),
    Line(((21, 0.07, -0.10), (21, 0.08, 0.03), (21, 0.06, 0.13)), {4: 0.9, 9: 0.4}, 0.25, 0.045),  # frown
    Line(((27, -0.46, -0.47), (27, -0.30, -0.50), (27, -0.14, -0.49), (27, 0.0, -0.47)), {1: 0.5, 2: 0.3}, 0.4),
    Line(((27, -0.40, -0.59), (27, -0.26, -0.61), (27, -0.12, -0.60), (27, 0.0, -0.58)), {1: 0.4, 2: 0.4}, 0.3),
    Line(((36, -0.05, 0.0), (36, -0.13, -0.04), (36, -0.21, -0.09)), {6: 0.6}, 0.35, 0.035),  # crow's feet
    Line(((36, -0.05, 0.03), (36, -0.14, 0.04), (36, -0.22, 0.03)), {6: 0.6}, 0.35, 0.035),
    Line(((36, -0.04, 0.06), (36, -0.11, 0.11), (36, -0.18, 0.15)), {6: 0.5}, 0.25, 0.035),
    Line(((36, 0.05, 0.11), (41, 0.0, 0.11), (40, 0.0, 0.11), (39, -0.03, 0.09)), {6: 0.5, 7: 0.3, 9: 0.4}, 0.5),
    Line(((28, -0.10, -0.08), (28, -0.03, -0.04), (28, 0.0, -0.035)), {9: 0.9}, 0.0, 0.04),  # nose
    Line(((29, -0.13, -0.12), (29, -0.04, -0.08), (29, 0.0, -0.07)), {9: 0.8}, 0.0, 0.04),
    Line(((48, -0.05, 0.03), (48, -0.04, 0.13), (48, -0.05, 0.24)), {15: 0.35}, 0.4, 0.035),  # marionette
    Line(((48, -0.06, -0.10), (48, -0.09, -0.01), (48, -0.06, 0.08)), {14: 0.9, 12: 0.2}, 0.0, 0.055),  # dimple
    Line(((57, -0.12, 0.13), (57, 0.0, 0.10)), {15: 0.5, 23: 0.4}, 0.1, 0.05),
)


def draw_lines(
    canvas: Canvas, points: Floats, person: Identity, right: Mapping[int, float], left: Mapping[int, float]
) -> None:
    """Draw the folds that the action units of each side and the age make."""
    dark = mix(person.skin * 0.5, (70, 15, 5), 0.3)
    for line in LINES:
        index = np.array([anchor for anchor, _, _ in line.points])
        offset = np.array([(dx, dy, 0.8 * dx) for _, dx, dy in line.points])  # the cheek bends back
        for units, anchors, flip in ((right, index, 1.0), (left, MIRROR[index], -1.0)):
            strength = line.age * person.age**2
            strength += sum(weight * units.get(unit, 0.0) for unit, weight in line.causes.items())
            if strength > 0.04:
                path = smooth(points[anchors] + offset * (flip, 1.0, 1.0))
                canvas.stroke(path, line.width, dark, min(0.6 * strength, 0.5))


def draw_nose(canvas: Canvas, points: Floats, person: Identity) -> None:
    """Draw wings, nostrils and the shadow below the tip; the light does the rest."""
    dark = mix(person.skin * 0.42, (60, 15, 10), 0.3)
    for wing, nostril, side in ((31, 32, -1.0), (35, 34, 1.0)):
        edge = points[[wing] * 4] + np.array(
            [(0.01, -0.09, 0.0), (-0.045, -0.05, 0.0), (-0.05, 0.01, 0.0), (0.01, 0.045, 0.0)]
        ) * (-side, 1, 1)
        canvas.stroke(smooth(edge), 0.045, dark, 0.5)
        hole = np.array([(-0.055, 0.015, 0.0), (0.0, -0.02, 0.0), (0.045, 0.0, 0.0)]) * (-side, 1, 1)
        canvas.stroke(smooth(points[[nostril] * 3] + hole), 0.06, dark, 0.85, taper=0.8)
    canvas.stroke(smooth(points[[32, 33, 34]] + 0.02 * DOWN), 0.035, dark, 0.45)


def draw_eyes(canvas: Canvas, points: Floats, person: Identity, gaze: tuple[float, float]) -> None:
    """Draw both eyes; the iris is cut where the lids cover it."""
    for corner in (36, 42):
        eye = points[corner : corner + 6]
        upper = smooth(eye[:4], 5)
        lower = _below(smooth(eye[[0, 5, 4, 3]], 5), upper + 0.012 * DOWN)
        canvas.fill(np.concatenate([upper, lower[::-1]]), (240, 236, 232))
        middle = eye[[0, 3]].mean(axis=0) + np.array([gaze[0], gaze[1] - 0.03, 0.04])
        iris = np.array(EYE_COLORS[person.eye_color], dtype=float)
        for radius, color in ((0.115, iris * 0.55), (0.098, iris), (0.052, np.array((12, 10, 12)))):
            canvas.fill(_cut(middle, radius, upper, lower), color)
        canvas.fill(_cut(middle - 0.035, 0.026, upper, lower), (255, 255, 255), 0.9)
        shadow = _between(upper + 0.035 * DOWN, upper, lower)
        canvas.fill(np.concatenate([upper, shadow[::-1]]), (40, 25, 25), 0.35)
        _lids(canvas, person, upper, lower, eye)


def _lids(canvas: Canvas, person: Identity, upper: Floats, lower: Floats, eye: Floats) -> None:
    dark = mix(person.skin * 0.3, (25, 12, 10), 0.6)
    canvas.stroke(upper, 0.05 + 0.03 * person.lashes, dark, 0.95, taper=0.45)
    canvas.stroke(lower, 0.022 + 0.014 * person.lashes, dark, 0.55, taper=0.5)
    if person.lashes > 0.45:
        outer = eye[0] if eye[0, 0] < 0 else eye[3]
        away = np.array([np.sign(outer[0]), 1.0, 1.0])
        wing = outer + np.array([(-0.06, -0.035, 0.0), (0.0, -0.02, 0.0), (0.045, -0.04, 0.0)]) * away
        canvas.stroke(smooth(wing), 0.045, dark, 0.9, taper=0.8)
    crease = upper - 0.062 * DOWN
    canvas.stroke(crease[1:-1], 0.03, mix(person.skin * 0.55, (70, 20, 10), 0.3), 0.6)


def _cut(middle: Floats, radius: float, upper: Floats, lower: Floats) -> Floats:
    """Return a disc (24, 3) as far as it lies between the lids."""
    disc = middle[:2] + radius * _CIRCLE
    x = np.clip(disc[:, 0], upper[0, 0], upper[-1, 0])
    top, bottom = np.interp(x, upper[:, 0], upper[:, 1]), np.interp(x, lower[:, 0], lower[:, 1])
    return np.column_stack([x, np.clip(disc[:, 1], top, bottom), np.full(len(x), middle[2])])


def draw_brows(canvas: Canvas, points: Floats, person: Identity) -> None:
    """Draw both brows, thick inside and thin outside."""
    color = mix(person.hair, (20, 14, 12), 0.45 if person.hair_color == "blond" else 0.3)
    thick = 0.105 + 0.035 * person.shape.get("brow_thickness", 0.0)
    for brow in (points[17:22], points[26:21:-1]):
        path = smooth(brow, 5)
        along = np.linspace(0, 1, len(path))[:, None]
        half = 0.5 * thick * (0.18 + 0.82 * along**0.7) * (1 - 0.45 * np.clip((along - 0.9) / 0.1, 0, 1))
        up = np.array([[0.0, 1.0, 0.0]])
        canvas.fill(np.concatenate([path - half * up, (path + half * up)[::-1]]), color, 0.9)


def draw_mouth(canvas: Canvas, points: Floats, person: Identity) -> None:
    """Draw lips, and between them teeth and tongue as far as they are apart."""
    natural = mix(person.skin * 0.86, (176, 62, 66), 0.42)
    lips = mix(natural, (172, 24, 48), 0.75 * person.lip_color)
    upper_out, lower_out = smooth(points[48:55]), smooth(points[[48, 59, 58, 57, 56, 55, 54]])
    upper_in, lower_in = smooth(points[60:65], 6), smooth(points[[60, 67, 66, 65, 64]], 6)
    lower_in = _below(lower_in, upper_in)
    canvas.fill(np.concatenate([upper_out, lower_out[::-1]]), lips)
    canvas.fill(np.concatenate([upper_out, upper_in[::-1]]), lips * 0.84)
    gap = float(np.max(lower_in[:, 1] - upper_in[:, 1]))
    if gap > 0.02:
        _inside(canvas, upper_in, lower_in, gap)
    dark = lips * 0.38
    canvas.stroke(upper_in, 0.04, dark, 0.9, taper=0.35)
    canvas.stroke(
        smooth((points[[67, 66, 65]] + 2 * points[[58, 57, 56]]) / 3),
        0.05,
        mix(lips, (255, 235, 225), 0.5),
        0.5,
    )
    canvas.stroke(lower_out[4:-4], 0.03, person.skin * 0.6, 0.45)


def _inside(canvas: Canvas, upper: Floats, lower: Floats, gap: float) -> None:
    canvas.fill(np.concatenate([upper, lower[::-1]]), (62, 18, 22))
    if gap > 0.16:
        tongue = _between(lower - min(0.4 * gap, 0.14) * DOWN, upper, lower)
        canvas.fill(np.concatenate([tongue, lower[::-1]]), (186, 84, 88))
    # The rows of teeth curve back into the mouth: long in the middle, gone at the corners.
    arch = np.sin(np.linspace(0.0, np.pi, len(upper)))[:, None] ** 0.7 * DOWN
    top = _between(upper + min(0.62 * gap, 0.10) * arch, upper, lower)
    canvas.fill(np.concatenate([upper, top[::-1]]), (243, 238, 228))
    bottom = _between(lower - min(0.25 * gap, 0.04) * arch**2, upper, lower)
    canvas.fill(np.concatenate([bottom, lower[::-1]]), (225, 216, 204), 0.8)


def _below(curve: Floats, upper: Floats) -> Floats:
    """Return the curve, pushed down where it would lie above the other."""
    return np.column_stack([curve[:, 0], np.maximum(curve[:, 1], upper[:, 1]), curve[:, 2]])


def _between(curve: Floats, upper: Floats, lower: Floats) -> Floats:
    """Return the curve, pushed back where it would leave the opening."""
    return np.column_stack([curve[:, 0], np.clip(curve[:, 1], upper[:, 1], lower[:, 1]), curve[:, 2]])
