"""Masks for FMix: the brightest parts of a random grey image of low frequency.

Harris, Marcu, Painter, Niranjan, Prügel-Bennett, Hare, "FMix: Enhancing Mixed Sample Data Augmentation",
arXiv 2002.12047.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.errors import ConfigurationError

Floats = NDArray[np.float32]

NEGLECTED = 1e-5
"""Share of a grey image's power that may be left out: of a mask of 224 px a thousandth of the pixels, at its edges."""


def fmix_mask(
    height: int, width: int, lam: float, decay: float = 3.0, generator: torch.Generator | None = None
) -> Tensor:
    """Return an (H, W) mask of 0 and 1; see :func:`fmix_masks`, which makes many at once."""
    device = None if generator is None else generator.device
    only = torch.tensor([float(lam)], dtype=torch.float64, device=device)
    return fmix_masks(only, height, width, decay, generator)[0]


def fmix_masks(
    lam: Tensor,
    height: int,
    width: int,
    decay: float = 3.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return (N, H, W) float32 masks, 1 where a random grey image is brightest and 0 elsewhere.

    Args:
        lam: (N,), each in [0, 1]: mask i has ``round(lam[i] · H · W)`` ones, exactly.
        height: H ≥ 1.
        width: W ≥ 1.
        decay: δ ≥ 0 of :func:`grey_images`; the higher, the larger and smoother the shapes. 3 is the paper's.
        generator: What the grey images are drawn from; torch's own if None.
        device: Where the masks shall be; where ``lam`` is, if None.

    Raises:
        ConfigurationError: If an argument lies outside its range.
    """
    if lam.ndim != 1 or not bool(((lam >= 0) & (lam <= 1)).all()):
        raise ConfigurationError(f"Expected lam to be shares from 0 to 1, one a mask, but got {lam.tolist()}.")
    device = device or lam.device
    grey = grey_images(len(lam), height, width, decay, generator, device)
    counts = (lam.double() * (height * width)).round().long()
    if grey.device.type != "cpu":
        return brightest_by_sorting(grey, counts.to(device))
    # One after the other: a selection takes a fraction of a sort's time, and torch selects one rank for all.
    for values, count in zip(grey.flatten(1).numpy(), counts.tolist(), strict=True):
        _keep_brightest(values, count)
    return grey


def grey_images(
    count: int,
    height: int,
    width: int,
    decay: float = 3.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return (N, H, W) float32 images of normal noise whose amplitude falls as ``1 / f ** decay``.

    ``f = √(f_y² + f_x²)`` is in cycles a pixel on both axes: no direction is preferred, nor is one in pictures that
    are not square. White noise is white in every orthonormal basis, so it is drawn as coefficients of the Fourier
    basis; what holds less than :data:`NEGLECTED` of the power together is not drawn at all. The constant is 0, and
    the greatest amplitude 1.

    Args:
        count: N.
        height: H ≥ 1.
        width: W ≥ 1.
        decay: δ ≥ 0.
        generator: What is drawn from, on its own device; torch's own on the CPU if None, whatever the device.
        device: Where the images shall be; the CPU if None.

    Raises:
        ConfigurationError: If an argument lies outside its range.
    """
    if height < 1 or width < 1:
        raise ConfigurationError(f"Expected a height and a width of at least 1 pixel, but got {height} × {width}.")
    if not decay >= 0:
        raise ConfigurationError(f"Expected decay to be at least 0, but got {decay}; 3 is usual.")
    where = torch.device(device or "cpu")
    rows, amplitude, columns = (torch.from_numpy(part).to(where) for part in _spectrum(height, width, float(decay)))
    drawn_on = "cpu" if generator is None else generator.device
    noise = torch.randn(count, *amplitude.shape, generator=generator, device=drawn_on, dtype=torch.float32)
    with torch.autocast(where.type, enabled=False):  # half precision would give many pixels one value
        return rows @ (noise.to(where) * amplitude) @ columns


@lru_cache(maxsize=16)
def _spectrum(height: int, width: int, decay: float) -> tuple[Floats, Floats, Floats]:
    """Return the (H, A) and (B, W) basis of both axes, and the (A, B) amplitudes between them."""
    (rows, vertical), (columns, horizontal) = _fourier_basis(height), _fourier_basis(width)
    frequency = np.hypot(vertical[:, None], horizontal)
    frequency[0, 0] = np.inf
    lowest = frequency.min() if frequency.size > 1 else 1.0
    amplitude = (frequency / lowest) ** -decay
    frequency[0, 0] = amplitude[0, 0] = 0
    order = np.argsort(frequency, axis=None)[::-1]
    tail = np.cumsum(amplitude.ravel()[order] ** 2)
    # Frequencies of one length go or stay together: otherwise a direction would be preferred after all.
    highest = frequency.ravel()[order][np.searchsorted(tail, NEGLECTED * tail[-1])] * (1 + 1e-9)
    amplitude[frequency > highest] = 0
    high, wide = vertical <= highest, horizontal <= highest
    parts = rows[:, high], amplitude[np.ix_(high, wide)], columns[:, wide].T
    narrow, scale, broad = (np.ascontiguousarray(part, dtype=np.float32) for part in parts)
    return narrow, scale, broad


def _fourier_basis(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (S, S) orthonormal real Fourier basis, and the (S,) frequencies of its columns in cycles a pixel."""
    cycles = np.concatenate([np.arange(size // 2 + 1), np.arange(1, (size + 1) // 2)])
    phase = np.arange(size)[:, None] * cycles * (2 * np.pi / size)
    basis = np.where(np.arange(size) <= size // 2, np.cos(phase), np.sin(phase))
    return basis / np.linalg.norm(basis, axis=0), cycles / size


def _keep_brightest(values: Floats, count: int) -> None:
    """Make the ``count`` brightest of (H · W,) pixels 1 and the others 0, in place."""
    if count == 0:
        values[:] = 0
        return
    rank = values.size - count
    threshold = np.partition(values, rank)[rank]
    chosen = values >= threshold
    surplus = np.count_nonzero(chosen) - count
    if surplus:  # pixels of one value
        chosen[np.flatnonzero(values == threshold)[:surplus]] = False
    values[:] = chosen


def brightest_by_sorting(grey: Tensor, counts: Tensor) -> Tensor:
    """Return (N, H, W) masks of the ``counts`` (N,) brightest pixels of each image, all of them at once."""
    order = grey.flatten(1).argsort(1, descending=True)
    chosen = torch.arange(order.shape[1], device=grey.device) < counts[:, None]
    return torch.zeros_like(grey).flatten(1).scatter_(1, order, chosen.to(grey.dtype)).view_as(grey)
