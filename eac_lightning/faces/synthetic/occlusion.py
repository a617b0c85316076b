"""What hides a part of a face: glasses, a hand, a mask, a lock of hair."""

from collections.abc import Callable

import numpy as np

from eac_lightning.faces.synthetic.action_units import Floats
from eac_lightning.faces.synthetic.canvas import Canvas, bilateral, mix, smooth
from eac_lightning.faces.synthetic.identity import Identity

_RING = np.linspace(0, 2 * np.pi, 25)
_FRAMES = np.array([(30, 28, 32), (96, 52, 30), (150, 30, 40), (150, 140, 120)], dtype=float)
_FABRICS = np.array([(150, 196, 214), (236, 238, 240), (46, 48, 54), (190, 214, 190)], dtype=float)


def _glasses(canvas: Canvas, points: Floats, _person: Identity, rng: np.random.Generator) -> None:
    frame = _FRAMES[rng.integers(len(_FRAMES))]
    # A superellipse: the smaller the power, the squarer the lens.
    wave = np.stack([np.cos(_RING), np.sin(_RING), 0 * _RING], axis=1)
    shape = np.sign(wave) * np.abs(wave) ** rng.uniform(0.55, 1.0) * (0.30, 0.235, 0.0)
    for eye in (slice(36, 42), slice(42, 48)):
        lens = points[eye].mean(axis=0) + np.array([0.0, 0.04, 0.16]) + shape
        canvas.fill(lens, (205, 225, 240), 0.16)
        canvas.stroke(lens, 0.05, frame, taper=0.0)
    bridge = points[[39, 27, 42]] + np.array([(0.06, 0.0, 0.16), (0, 0.06, 0.12), (-0.06, 0.0, 0.16)])
    canvas.stroke(smooth(bridge), 0.05, frame, taper=0.0)
    for outer, side in ((36, -1), (45, 1)):
        arm = np.array([points[outer] + (side * 0.12, -0.02, 0.12), (side * 1.04, -0.12, -0.25)])
        canvas.stroke(arm, 0.05, frame, taper=0.0)


def _mask(canvas: Canvas, points: Floats, _person: Identity, rng: np.random.Generator) -> None:
    color = _FABRICS[rng.integers(len(_FABRICS))]
    top = bilateral([(-0.94, points[1, 1] + 0.05, -0.2), (-0.50, 0.22, 0.75), (0.0, points[29, 1] - 0.02, 1.2)])
    bottom = points[14:1:-1] + np.array([0.0, 0.03, 0.0])
    canvas.fill(np.concatenate([smooth(top), smooth(bottom)]), color, body=True)
    for height in (0.45, 0.62, 0.80):
        pleat = bilateral([(-0.72, height - 0.03, 0.35), (0.0, height + 0.03, 1.1)])
        canvas.stroke(smooth(pleat, 8), 0.03, color * 0.72, 0.7)
    canvas.stroke(smooth(top), 0.04, mix(color, (255, 255, 255), 0.4), 0.8, taper=0.2)


def _hand(canvas: Canvas, _points: Floats, person: Identity, rng: np.random.Generator) -> None:
    side = 1.0 if rng.random() < 0.5 else -1.0
    skin = mix(person.skin, (180, 80, 50), 0.10)
    edge = mix(person.skin * 0.55, (70, 20, 10), 0.3)
    # The palm rests on the jaw and the fingers point at the mouth, the cheek or the eye.
    wrist = np.array([side * rng.uniform(0.7, 1.1), rng.uniform(1.2, 1.5)])
    target = np.array([side * rng.uniform(0.05, 0.7), rng.uniform(0.15, 0.6)])
    along = (target - wrist) / np.hypot(*(target - wrist))
    across = np.array([-along[1], along[0]])
    for finger in range(4):
        start = wrist + across * (finger - 1.5) * 0.17 + along * 0.25
        tip = target + across * (finger - 1.5) * 0.19 + along * (0.06 - 0.05 * abs(finger - 1.4))
        path = np.column_stack([np.linspace(start, tip, 8), np.full(8, 1.1)])
        canvas.stroke(path, 0.235, edge, 0.85, taper=0.22)
        canvas.stroke(path, 0.20, skin, taper=0.22)
    palm = np.array([(-0.9, -0.30), (0.42, -0.36), (0.42, 0.36), (-0.9, 0.30)]) @ np.stack([along, across])
    canvas.fill(np.column_stack([wrist + palm, np.ones(4)]), skin, body=True)


def _lock(canvas: Canvas, _points: Floats, person: Identity, rng: np.random.Generator) -> None:
    side = 1.0 if rng.random() < 0.5 else -1.0
    reach = rng.uniform(0.1, 0.45)
    for strand in range(9):
        out = strand / 8
        x = side * np.array([0.05 + 0.5 * out, 0.05 + 0.5 * out, 0.18 + 0.6 * out, 0.32 + 0.58 * out, 0.35 + 0.6 * out])
        y = [-1.25, -0.95, -0.45, 0.0, reach + 0.25 * out + rng.uniform(-0.1, 0.1)]
        path = np.column_stack([x, y, (0.5, 0.85, 0.95, 0.85, 0.7)])
        color = mix(person.hair, (255, 240, 215) if strand % 2 else (0, 0, 0), 0.07)
        canvas.stroke(smooth(path), 0.26, color, taper=0.8)


OCCLUSIONS: dict[str, Callable[[Canvas, Floats, Identity, np.random.Generator], None]] = {
    "glasses": _glasses,
    "hand": _hand,
    "mask": _mask,
    "hair": _lock,
}
"""Name -> what draws it; ``"none"`` is not one of them."""
