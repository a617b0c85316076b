"""Light on a head: an ellipsoid whose normals are bent by smooth bumps for nose, cheeks, sockets and chin."""

import numpy as np
from numpy.typing import NDArray

from eac_lightning.faces.synthetic.action_units import Floats

_CENTER = np.array([0.0, -0.02, -0.15])
_SHOULDER = np.float32(190)
_RADII = np.array([1.04, 1.38, 1.08])


def bumps(points: Floats, cheek: tuple[float, float], age: float) -> Floats:
    """Return the bumps (B, 6) of a face: x, y, width, height on the face, elevation, and tint (darker < 0).

    Args:
        points: Landmarks (68, 3), already moved by the expression.
        cheek: How far the right and the left cheek is pushed up, in [0, 1].
        age: In [0, 1]; deepens the sockets and hollows the cheeks.
    """
    x, y = points[:, 0], points[:, 1]
    rows = [
        (0.0, (y[27] + y[29]) / 2, 0.10, 0.24, 0.10, 0.0),
        (x[30], y[30], 0.12, 0.10, 0.13, 0.03),
        (0.0, y[33] + 0.11, 0.12, 0.05, -0.02, -0.10),
        (x[51], y[51] + 0.02, 0.22, 0.06, 0.03, 0.0),
        (x[57], y[57] - 0.05, 0.18, 0.06, 0.03, 0.0),
        (x[57], y[57] + 0.07, 0.20, 0.05, -0.03, -0.13),
        (x[8], y[8] - 0.13, 0.20, 0.13, 0.08, 0.0),
    ]
    for side, outer, inner, brow, wing, corner in ((-1, 36, 39, 19, 31, 48), (1, 45, 42, 24, 35, 54)):
        push = cheek[0 if side < 0 else 1]
        eye = (x[outer] + x[inner]) / 2
        rows += [
            (x[wing] * 0.95, y[wing], 0.07, 0.07, 0.05, -0.02),
            (x[brow], y[brow] + 0.02, 0.28, 0.09, 0.03, 0.03),
            (eye, (y[brow] + y[outer]) / 2 + 0.06, 0.20, 0.09, -0.04 - 0.02 * age, -0.10),
            (x[inner] * 0.85, y[inner], 0.08, 0.12, -0.04, -0.12),
            (eye, y[outer] + 0.15, 0.16, 0.05, 0.0, -0.04 - 0.10 * age),
            (eye * 1.15, 0.33 - 0.08 * push, 0.20, 0.17, 0.06 + 0.09 * push, 0.03 + 0.03 * push),
            (side * 0.62, 0.66, 0.16, 0.22, -0.03 - 0.04 * age, -0.04 - 0.05 * age),
            (x[corner] * 1.10, y[corner] + 0.02, 0.06, 0.07, -0.02, -0.10),
        ]
    return np.array(rows)


def head_normals(
    pixels: tuple[Floats, Floats], turn: Floats, relief: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit normals (3, H, W) in the head's frame and the tint (H, W) of each pixel.

    Args:
        pixels: Picture coordinates in head units, origin at the head's: x (W,) and y (H,).
        turn: Rotation of the head (3, 3).
        relief: What :func:`bumps` returns.
    """
    middle = turn @ _CENTER
    form = ((turn / np.square(_RADII)) @ turn.T).astype(np.float32)
    u = (pixels[0] - middle[0]).astype(np.float32)[None, :]
    v = (pixels[1] - middle[1]).astype(np.float32)[:, None]
    # The ray of a pixel meets the ellipsoid q'Aq = 1 where a z² + 2 b z + c = 0; outside, take the limb.
    a, b = form[2, 2], form[0, 2] * u + form[1, 2] * v
    c = form[0, 0] * u**2 + 2 * form[0, 1] * u * v + form[1, 1] * v**2 - 1
    z = (-b + np.sqrt(np.maximum(b**2 - a * c, 0.0))) / a
    seen = np.stack(np.broadcast_arrays(u, v, z)).reshape(3, -1)
    local = turn.T.astype(np.float32) @ seen
    normals = _unit(local / np.square(_RADII).astype(np.float32)[:, None])

    x, y = local[0] + np.float32(_CENTER[0]), local[1] + np.float32(_CENTER[1])
    slope_x, slope_y, tint = _relief(x, y, relief.astype(np.float32))
    # The relief is that of the front; it fades where the head turns away.
    front = np.clip(normals[2], 0.0, 1.0)
    normals[0] -= slope_x * front
    normals[1] -= slope_y * front
    return _unit(normals).reshape(3, *z.shape), (tint * front).reshape(z.shape)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.sqrt(np.einsum("ij,ij->j", vectors, vectors)))


def _relief(
    x: NDArray[np.float32], y: NDArray[np.float32], relief: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the slopes and the tint of a sum of Gaussians at the points; exponents by one product."""
    cx, cy, sx, sy, height, tint = relief.T
    px, py = 1 / sx**2, 1 / sy**2
    weights = np.stack([-px / 2, px * cx, -py / 2, py * cy, -(px * cx**2 + py * cy**2) / 2], axis=1)
    features = np.stack([x**2, x, y**2, y, np.ones_like(x)])
    waves = np.exp(weights @ features)
    sums = np.stack([height * px * cx, height * px, height * py * cy, height * py, tint]) @ waves
    return sums[0] - x * sums[1], sums[2] - y * sums[3], sums[4]


def light_direction(azimuth: float, elevation: float, turn: Floats) -> Floats:
    """Return the unit vector to the light in the head's frame; degrees, positive to the right and above."""
    a, e = np.radians([azimuth, elevation])
    return np.asarray(np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)]) @ turn)


def lit(
    picture: NDArray[np.float32],
    body: NDArray[np.float32],
    normals: NDArray[np.float32],
    tint: NDArray[np.float32],
    light: Floats,
    view: Floats,
    strength: float,
) -> NDArray[np.float32]:
    """Return the picture (H, W, 3) with the person lit: Lambert with a soft terminator, and a little gloss.

    Args:
        picture: Flat colours in [0, 255].
        body: Share of each pixel (H, W) that is person.
        normals: Unit normals (3, H, W).
        tint: Local darkening or brightening (H, W).
        light: Unit vector to the light.
        view: Unit vector to the viewer.
        strength: Share of the light that has a direction, in [0, 1].
    """
    soft = 0.25
    lambert = np.clip((np.tensordot(light.astype(np.float32), normals, 1) + soft) / (1 + soft), 0.0, None)
    gain = (1 - 0.85 * strength + 1.0 * strength * lambert) * (1 + tint)
    half = (light + view) / np.linalg.norm(light + view)
    gloss = 30.0 * strength * np.clip(np.tensordot(half.astype(np.float32), normals, 1), 0.0, None) ** 14
    # Light that went through skin is red: shadows lose blue first.
    channels = gain[..., None] ** np.array([0.9, 1.05, 1.15], dtype=np.float32)
    shaded = picture * channels + gloss[..., None]
    # Film's shoulder: highlights roll off instead of clipping.
    over = np.maximum(shaded - _SHOULDER, 0.0)
    shaded += (255 - _SHOULDER) * np.tanh(over / (255 - _SHOULDER)) - over
    return np.asarray(picture + (shaded - picture) * body[..., None], dtype=np.float32)
