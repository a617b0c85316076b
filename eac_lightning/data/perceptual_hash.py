"""Pictures that are nearly the same: alike by a perceptual hash, and when laid over each other."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Side of the thumbnails that are compared."""

ALIKE = 0.84
"""Cosine of two hashes from which on the thumbnails themselves are compared."""

SAME = 0.90
"""Correlation of two thumbnails from which on they count as nearly the same. Both were chosen on FER2013."""

_LENGTH = 127
_REACH = SIDE // 8  # how far one thumbnail may be shifted against the other, each way
_ENTRIES = 2**24  # of the product of hashes in memory at a time: 64 MB
_PAIRS = 1024  # laid over each other at a time
# A cosine transform up to the diagonal of frequency 12; what is dropped is mean brightness, fine detail and noise.
_FREQUENCIES = np.arange(13)
_COSINES = np.cos(np.pi * (np.arange(SIDE) + 0.5) * _FREQUENCIES[:, None] / SIDE)
_COSINES[0] /= np.sqrt(2)
_KEPT = np.isin(_FREQUENCIES[:, None] + _FREQUENCIES, _FREQUENCIES[1:])
# Coefficients of photographs fall as 1 / frequency; this makes all of them count alike.
_WEIGHTS = np.hypot(_FREQUENCIES[:, None], _FREQUENCIES)[_KEPT]

Picture = NDArray[np.uint8]


def thumbnail(pixels: Picture) -> Picture:
    """Return (H, W) or (H, W, 3) pixels in grey, (32, 32)."""
    return np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def perceptual_hash(thumbnail: Picture) -> NDArray[np.int8]:
    """Return the low frequencies of a cosine transform, whitened and brought to one length.

    Light, contrast, compression and size hardly change it, small crops change it little. The usual perceptual
    hash keeps only the signs of 64 of them. Faces are all alike, and the values tell copies from others better:
    of FER2013's faces, cropped by one of their 48 pixels on each side, 99 % are found instead of 59 %, when one
    in a hundred pairs may be false.

    Args:
        thumbnail: (32, 32).

    Returns:
        (90,) of Euclidean length 127; all zero for a picture of one colour, which is like no other.
    """
    coefficients = (_COSINES @ thumbnail @ _COSINES.T)[_KEPT] * _WEIGHTS
    length = np.linalg.norm(coefficients)
    if length < 1:  # the rounding of the transform itself; one pixel that differs by one gives more
        return np.zeros(len(coefficients), np.int8)
    hashed: NDArray[np.int8] = np.rint(coefficients / length * _LENGTH).astype(np.int8)
    return hashed


def near_pairs(thumbnails: Picture) -> NDArray[np.int64]:
    """Return all pairs of pictures that are nearly the same, up to light, compression, size and a small crop.

    All hashes are compared with all, in time that grows with N², and memory that does not; those that are
    ``ALIKE`` are laid over each other. All sums are of whole numbers, so exact: every process finds the same.

    Args:
        thumbnails: (N, 32, 32).

    Returns:
        (P, 2) positions, the lower one first, sorted.
    """
    hashes = np.array([perceptual_hash(each) for each in thumbnails], np.float32)
    step = max(1, _ENTRIES // max(1, len(hashes)))
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(hashes), step):
        alike = np.argwhere(hashes[start : start + step] @ hashes[start:].T >= ALIKE * _LENGTH**2)
        pairs = alike[alike[:, 0] < alike[:, 1]] + start
        for some in (pairs[i : i + _PAIRS] for i in range(0, len(pairs), _PAIRS)):
            found.append(some[_overlaid(*thumbnails[some.T].astype(np.float64)) >= SAME])
    return np.concatenate(found)


def _overlaid(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation, (P,), of the middle of ``one``, (P, 32, 32), with where it fits ``other`` best."""
    side = SIDE - 2 * _REACH
    middle, deviation = _centred(one[:, _REACH : _REACH + side, _REACH : _REACH + side])
    best = np.zeros(len(one))
    for top, left in np.ndindex(2 * _REACH + 1, 2 * _REACH + 1):
        window, spread = _centred(other[:, top : top + side, left : left + side])
        product = np.einsum("pij,pij->p", middle, window)
        best = np.maximum(best, product / np.maximum(deviation * spread, 1))
    return best


def _centred(windows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return windows, (P, h, w), times their area and less their sum, so still whole, and the norm of each."""
    centred = windows * windows[0].size - windows.sum((1, 2), keepdims=True)
    return centred, np.sqrt(np.einsum("pij,pij->p", centred, centred))
