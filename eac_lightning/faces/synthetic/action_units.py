"""How facial action units move the landmarks of a face, and which of them make an expression.

Action units (AU) are those of the Facial Action Coding System (Ekman and Friesen 1978). A head lives in a
frame of its own: x to the right of the picture, y down, z towards the viewer, one unit = half a face's width.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXPRESSIONS: dict[str, tuple[int, ...]] = {
    "anger": (4, 5, 7, 23),
    "contempt": (12, 14),
    "disgust": (9, 15, 16),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "happiness": (6, 12),
    "neutral": (),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
}
"""Canonical class name -> the action units that make it; contempt moves one side of the face only."""

LANDMARKS: dict[str, slice] = {
    "jaw": slice(0, 17),
    "right_brow": slice(17, 22),
    "left_brow": slice(22, 27),
    "nose": slice(27, 36),
    "right_eye": slice(36, 42),
    "left_eye": slice(42, 48),
    "mouth": slice(48, 68),
}
"""Named groups of the 68 landmarks in the order of iBUG 300-W; the person's right is the picture's left."""

NUM_LANDMARKS = 68

# A landmark's partner on the other side of the face; those on the midline are their own.
MIRROR = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)

_RIGHT_HALF: dict[int, tuple[float, float, float]] = {
    **{0: (-0.97, -0.12, -0.30), 1: (-0.96, 0.14, -0.24), 2: (-0.92, 0.40, -0.16), 3: (-0.85, 0.64, -0.04)},
    **{4: (-0.73, 0.85, 0.10), 5: (-0.57, 1.02, 0.26), 6: (-0.39, 1.14, 0.42), 7: (-0.19, 1.20, 0.54)},
    **{8: (0.0, 1.22, 0.58)},
    **{17: (-0.70, -0.37, 0.50), 18: (-0.60, -0.46, 0.66), 19: (-0.46, -0.48, 0.78)},
    **{20: (-0.31, -0.45, 0.87), 21: (-0.17, -0.40, 0.93)},
    **{27: (0.0, -0.16, 0.92), 28: (0.0, 0.00, 1.02), 29: (0.0, 0.15, 1.12), 30: (0.0, 0.28, 1.22)},
    **{31: (-0.17, 0.30, 0.94), 32: (-0.09, 0.36, 1.02), 33: (0.0, 0.385, 1.06)},
    **{36: (-0.62, -0.10, 0.58), 37: (-0.51, -0.205, 0.71), 38: (-0.34, -0.21, 0.79)},
    **{39: (-0.21, -0.07, 0.80), 40: (-0.33, -0.015, 0.79), 41: (-0.50, -0.015, 0.71)},
    **{48: (-0.34, 0.685, 0.78), 49: (-0.22, 0.62, 0.90), 50: (-0.08, 0.58, 0.98), 51: (0.0, 0.60, 0.99)},
    **{59: (-0.21, 0.765, 0.88), 58: (-0.09, 0.80, 0.95), 57: (0.0, 0.81, 0.96)},
    **{60: (-0.30, 0.685, 0.79), 61: (-0.12, 0.672, 0.94), 62: (0.0, 0.685, 0.96)},
    **{67: (-0.12, 0.676, 0.93), 66: (0.0, 0.688, 0.95)},
}

# What one fully contracted muscle does to the person's right half: landmark -> (dx, dy[, dz]).
_PULLS: dict[int, dict[int, tuple[float, ...]]] = {
    1: {21: (0.02, -0.24), 20: (0.01, -0.17), 19: (0.0, -0.06), 38: (0.0, -0.02)},
    2: {17: (0.0, -0.06), 18: (0.0, -0.11), 19: (0.0, -0.12), 20: (0.0, -0.06), 37: (0.0, -0.01)},
    4: {21: (0.07, 0.10), 20: (0.05, 0.10), 19: (0.03, 0.07), 18: (0.01, 0.03), 27: (0.0, 0.02)},
    5: {37: (0.0, -0.07), 38: (0.0, -0.075), 36: (0.0, -0.005)},
    6: {41: (0.0, -0.06), 40: (0.0, -0.05), 37: (0.0, 0.02), 38: (0.0, 0.01), 36: (0.0, 0.015)},
    7: {41: (0.0, -0.045), 40: (0.0, -0.045), 37: (0.0, 0.03), 38: (0.0, 0.03)},
    9: {
        **{31: (-0.03, -0.06), 32: (-0.01, -0.05), 33: (0.0, -0.04), 30: (0.0, -0.04), 29: (0.0, -0.03)},
        **{49: (-0.02, -0.09), 50: (0.0, -0.11), 51: (0.0, -0.10), 61: (-0.02, -0.08), 62: (0.0, -0.08)},
        **{20: (0.03, 0.06), 21: (0.04, 0.08), 40: (0.0, -0.035), 41: (0.0, -0.035), 38: (0.0, 0.035)},
        **{37: (0.0, 0.03)},
    },
    12: {
        **{48: (-0.14, -0.14, -0.16), 60: (-0.14, -0.135, -0.16), 49: (-0.09, -0.04, -0.03)},
        **{50: (-0.03, 0.015), 51: (0.0, 0.03), 61: (-0.06, 0.0), 62: (0.0, 0.03)},
        **{
            59: (-0.09, -0.01, -0.03),
            58: (-0.03, 0.01),
            57: (0.0, 0.015),
            67: (-0.06, 0.01),
            66: (0.0, 0.035),
        },
        **{31: (-0.02, -0.01), 2: (-0.02, -0.02), 3: (-0.03, -0.02)},
    },
    14: {48: (-0.07, -0.035, -0.08), 60: (-0.06, -0.035, -0.08), 49: (-0.03, 0.01), 59: (-0.03, -0.02)},
    15: {
        **{48: (-0.01, 0.16), 60: (-0.01, 0.155), 49: (0.0, 0.05), 59: (0.0, 0.055), 61: (0.0, 0.02)},
        **{67: (0.0, 0.02), 57: (0.0, -0.02), 58: (0.0, -0.015)},
    },
    16: {
        **{59: (-0.04, 0.08), 58: (-0.03, 0.13), 57: (0.0, 0.13), 67: (-0.04, 0.11), 66: (0.0, 0.11)},
        **{7: (0.0, 0.02), 8: (0.0, 0.02)},
    },
    20: {
        **{48: (-0.15, 0.05, -0.10), 60: (-0.15, 0.05, -0.10), 49: (-0.09, 0.02, -0.03), 50: (-0.03, 0.01)},
        **{59: (-0.10, 0.015, -0.03), 58: (-0.04, 0.0), 61: (-0.08, 0.0), 67: (-0.08, 0.02), 66: (0.0, 0.02)},
    },
    23: {
        **{48: (0.05, 0.0), 60: (0.05, 0.0), 49: (0.02, 0.03), 50: (0.0, 0.055), 51: (0.0, 0.05)},
        **{59: (0.02, -0.03), 58: (0.0, -0.055), 57: (0.0, -0.055)},
    },
    25: {
        **{61: (0.0, -0.03), 62: (0.0, -0.03), 50: (0.0, -0.02), 51: (0.0, -0.02), 49: (0.0, -0.01)},
        **{67: (0.0, 0.075), 66: (0.0, 0.08), 58: (0.0, 0.075), 57: (0.0, 0.08), 59: (0.0, 0.05)},
    },
    26: {
        **{48: (0.08, 0.12), 60: (0.08, 0.12), 49: (0.04, 0.0), 61: (-0.03, -0.005), 62: (0.0, -0.01)},
        **{67: (-0.03, 0.25), 66: (0.0, 0.27), 58: (0.0, 0.26), 57: (0.0, 0.27), 59: (0.02, 0.23)},
        **{
            3: (0.01, 0.04),
            4: (0.02, 0.10),
            5: (0.02, 0.17),
            6: (0.01, 0.21),
            7: (0.0, 0.22),
            8: (0.0, 0.22),
        },
    },
}

ACTION_UNITS: tuple[int, ...] = tuple(_PULLS)
"""Every action unit that the faces have; 25 (lips part) belongs to no expression and is a habit of some."""


def mirrored(points: Floats) -> Floats:
    """Return landmarks or displacements (68, 3) as seen in a mirror."""
    return np.asarray(points[MIRROR] * (-1.0, 1.0, 1.0))


def _neutral() -> Floats:
    points = np.zeros((NUM_LANDMARKS, 3))
    for index, position in _RIGHT_HALF.items():
        points[index] = position
        points[MIRROR[index]] = np.multiply(position, (-1.0, 1.0, 1.0))
    return points


def symmetric(moves: Mapping[int, tuple[float, ...]]) -> Floats:
    """Return the displacements (68, 3) that do to both halves what ``moves`` says of the right one."""
    right = right_half(moves)
    return right + mirrored(right)


def right_half(moves: Mapping[int, tuple[float, ...]]) -> Floats:
    """Return displacements (68, 3) of the right half; the midline goes half the way, the left the rest."""
    out = np.zeros((NUM_LANDMARKS, 3))
    for index, move in moves.items():
        share = 0.5 if MIRROR[index] == index else 1.0
        out[index, : len(move)] = np.multiply(move, share)
    return out


NEUTRAL: Floats = _neutral()
"""The mean face at rest, (68, 3)."""

_RIGHT = {unit: right_half(moves) for unit, moves in _PULLS.items()}
_LEFT = {unit: mirrored(pull) for unit, pull in _RIGHT.items()}


def displacement(right: Mapping[int, float], left: Mapping[int, float]) -> Floats:
    """Return how far (68, 3) the landmarks move under action units of the given intensities in [0, 1].

    Args:
        right: Action unit -> intensity on the person's right side (the picture's left).
        left: The same for the person's left side.
    """
    out = np.zeros((NUM_LANDMARKS, 3))
    for pulls, intensities in ((_RIGHT, right), (_LEFT, left)):
        for unit, intensity in intensities.items():
            out += intensity * pulls[unit]
    return out
