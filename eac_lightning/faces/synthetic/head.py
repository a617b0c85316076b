"""Everything around the features: head, ears, neck, hair, beard."""

import numpy as np

from eac_lightning.faces.synthetic.action_units import Floats
from eac_lightning.faces.synthetic.canvas import Canvas, bilateral, mix, smooth
from eac_lightning.faces.synthetic.identity import Identity

_SKULL = ((0.0, -0.16, -0.12), (0.975, 1.10, 0.98))
_HAIR = ((0.0, -0.24, -0.22), (1.08, 1.22, 1.12))

# Hairlines from the person's right temple to the left one, (x, y); the depth follows from the skull.
_HAIRLINES: dict[str, Floats] = {
    "short": bilateral([(-0.98, 0.02), (-0.90, -0.30), (-0.80, -0.66), (-0.45, -0.84), (0.0, -0.80)]),
    "fringe": bilateral([(-0.98, 0.10), (-0.88, -0.25), (-0.74, -0.55), (-0.47, -0.58), (-0.2, -0.66), (0, -0.6)]),
    "bob": bilateral([(-1.0, 0.25), (-0.92, -0.10), (-0.80, -0.50), (-0.45, -0.84), (0.0, -1.02)]),
}
_HAIRLINES["curly"] = _HAIRLINES["short"]
_HAIRLINES["side_part"] = _HAIRLINES["short"] + np.outer([0, 0, 0, -1, -0.6, 0.9, 1.2, 0.5, 0], (0.06, 0.12))
_HAIRLINES["long"] = _HAIRLINES["bob"] + np.outer([0, 0.2, 0.4, 0.7, 1, 0.7, 0.4, 0.2, 0], (0.12, 0.0))
# Hair to the shoulders: how far down it reaches and how wide it falls.
_FALL = {"bob": (1.02, 1.16), "long": (1.9, 1.22)}


def draw_behind(canvas: Canvas, points: Floats, person: Identity, clothing: Floats) -> None:
    """Draw what the head covers: hair at the back, neck and shoulders."""
    if person.hair_style in _FALL:
        bottom, width = _FALL[person.hair_style]
        down = [
            (-0.7, bottom),
            (0.05 - width, bottom - 0.1),
            (-width, 0.4),
            (0.05 - width, -0.2),
            (-0.8, -0.9),
        ]
        curtain = bilateral([(x, y, -0.3) for x, y in [*down, (0.0, -1.2)]])
        canvas.fill(smooth(curtain), mix(person.hair, (0, 0, 0), 0.3), body=True)
    if person.hair_style != "bald":
        canvas.fill(_hair_outline(canvas, person), mix(person.hair, (0, 0, 0), 0.25), body=True)
    half = 0.52 + 0.05 * person.shape.get("jaw_width", 0.0)
    low = float(points[8, 1]) + 0.22
    neck = bilateral([(-half - 0.04, 2.2, -0.4), (-half, 0.5, -0.25), (0.0, 0.5, -0.25)])
    shadow = bilateral([(-half, 0.5, -0.25), (-half, low - 0.2, -0.25), (0.0, low, -0.1)])
    shoulders = bilateral([(-2.2, 2.4, -0.4), (-1.7, 1.85, -0.4), (-0.6, 1.52, -0.4), (0.0, 1.72, -0.1)])
    canvas.fill(neck, mix(person.skin, (40, 10, 0), 0.24), body=True)
    canvas.fill(smooth(shadow), mix(person.skin, (40, 10, 0), 0.45))
    canvas.fill(smooth(shoulders), clothing, body=True)


def draw_head(canvas: Canvas, points: Floats, person: Identity) -> None:
    """Draw ears and bare head."""
    turned_right = canvas.turn[0, 2] > 0
    _ear(canvas, person, 1 if turned_right else -1)
    center, radii = _SKULL
    canvas.fill(canvas.silhouette(center, (radii[0] * person.width, *radii[1:])), person.skin, body=True)
    canvas.fill(smooth(points[:17]), person.skin, body=True)
    _ear(canvas, person, -1 if turned_right else 1)


def draw_hair(canvas: Canvas, person: Identity, rng: np.random.Generator) -> None:
    """Draw the hair that frames the face, with strands from crown to hairline."""
    if person.hair_style == "bald":
        return
    line = _HAIRLINES[person.hair_style].copy()
    line[:, 1] -= 0.14 * max(person.age - 0.4, 0.0) * (np.abs(line[:, 0]) < 0.8)
    hairline = canvas.project(smooth(_on_skull(line)))
    outline = _hair_outline(canvas, person)
    first, last = (int(np.argmin(np.sum((outline - end) ** 2, axis=1))) for end in (hairline[0], hairline[-1]))
    over_the_top = np.arange(last, last - ((last - first) % len(outline)) - 1, -1)
    arc = outline[over_the_top % len(outline)][::-1]
    canvas.fill(np.concatenate([hairline, arc[::-1]]), person.hair, body=True)
    if person.hair_style in _FALL:
        bottom = _FALL[person.hair_style][0]
        for side in (-1.0, 1.0):
            lock = np.array([(0.86, -0.55, 0.2), (1.02, -0.1, -0.1), (1.06, 0.4, -0.15), (1.0, bottom, -0.15)])
            canvas.stroke(smooth(lock * (side, 1, 1)), 0.26, person.hair, taper=0.35)
    _strands(canvas, person, hairline, arc, rng)


def draw_beard(canvas: Canvas, points: Floats, person: Identity) -> None:
    """Draw stubble, moustache or beard, under the lips."""
    dark = mix(person.hair, person.skin, 0.15)
    if person.facial_hair in ("stubble", "beard"):
        cheek = points[2:15] * (0.985, 1.0, 1.0)
        dense = 0.13 if person.facial_hair == "stubble" else 0.6
        for soft in (0.0, 0.08, 0.16):
            upper = bilateral([(-0.86, 0.42, 0.2), (-0.66, 0.62, 0.55), (-0.40, 0.55, 0.8), (0.0, 0.47, 1.0)])
            edge = smooth(upper)[::-1] + np.array([0.0, soft, 0.0])
            canvas.fill(np.concatenate([smooth(cheek), edge]), dark, dense)
    if person.facial_hair in ("moustache", "beard"):
        over_lip = points[48:55] + np.array([0.0, -0.045, 0.02])
        canvas.stroke(smooth(over_lip), 0.13, dark, 0.95, taper=0.5)


def _on_skull(line: Floats) -> Floats:
    center, radii = _SKULL
    rest = 1 - np.square(line[:, 0] / radii[0]) - np.square((line[:, 1] - center[1]) / radii[1])
    depth = center[2] + radii[2] * np.sqrt(np.maximum(rest, 0.0))
    return np.column_stack([line, depth])


def _hair_outline(canvas: Canvas, person: Identity) -> Floats:
    center, radii = _HAIR
    grown = {"curly": 1.13, "bob": 1.04, "long": 1.04}.get(person.hair_style, 1.0)
    outline = canvas.silhouette(center, (radii[0] * grown, radii[1] * grown, radii[2] * grown))
    if person.hair_style == "curly":
        middle = outline.mean(axis=0)
        wave = 1 + 0.045 * np.abs(np.sin(np.arange(len(outline)) * np.pi / 4))
        outline = middle + (outline - middle) * wave[:, None]
    return outline


def _ear(canvas: Canvas, person: Identity, side: int) -> None:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    radius = 1 + 0.15 * np.sin(-angles)
    ring = np.stack([np.cos(angles) * 0.13 * radius, np.sin(angles) * 0.24, -0.1 * np.cos(angles)], axis=1)
    middle = np.array([side * person.width, 0.08, -0.30])
    canvas.fill(middle + ring, mix(person.skin, (170, 60, 40), 0.12), body=True)
    canvas.stroke(middle + ring[[12, 14, 0, 2, 3]] * 0.6, 0.05, mix(person.skin, (90, 20, 10), 0.4), 0.7)


def _strands(canvas: Canvas, person: Identity, hairline: Floats, arc: Floats, rng: np.random.Generator) -> None:
    starts, ends = rng.random((2, 11))
    middle = hairline.mean(axis=0)
    for start, jitter in zip(starts, ends, strict=True):
        low = hairline[int(start * (len(hairline) - 1))]
        high = arc[int(np.clip(start + 0.12 * (jitter - 0.5), 0, 1) * (len(arc) - 1))]
        high = high + (middle - high) * 0.08
        bend = (low + high) / 2 + (high - middle) * 0.08 * jitter
        shade = mix(person.hair, (255, 240, 215), 0.16) if jitter > 0.5 else mix(person.hair, (0, 0, 0), 0.35)
        canvas.stroke(smooth(np.array([low, bend, high])), 0.035, shade, 0.5, taper=1.0)
