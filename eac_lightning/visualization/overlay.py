"""A class activation map laid over its face."""

from typing import Literal

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from eac_lightning.errors import ConfigurationError

_FACE_BRIGHTNESS = 0.68
_LUMA = np.array([0.299, 0.587, 0.114])


def _light(colors: Colormap) -> Colormap:
    """Dim a colormap at its weak end: faint evidence would lie over the face as a haze."""
    steps = np.linspace(0.0, 1.0, 256)
    return ListedColormap(colors(steps)[:, :3] * np.sqrt(steps)[:, None] * 0.92)


_TEAL = LinearSegmentedColormap.from_list("teal", ["#000000", "#083d4f", "#0f8a9d", "#5fd3d6", "#effffb"])
PALETTES = {"evidence": _light(colormaps["inferno"]), "disagreement": _light(_TEAL)}
"""The light that a map of 0 to 1 adds to a face."""


def to_rgb(image: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Return a (H, W, 3) picture in [0, 1] from (H, W, 3), (3, H, W) or (1, H, W) in [0, 1] or uint8.

    Raises:
        ConfigurationError: If the array is none of these.
    """
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim == 3 and array.shape[-1] != 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise ConfigurationError(f"Expected an image (H, W, 3) or (3, H, W), but got shape {array.shape}.")
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    rgb = np.clip(array.astype(np.float64) / scale, 0.0, 1.0)
    return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb


def strength(attention_map: Tensor | ArrayLike, peak: float | None = None) -> NDArray[np.float64]:
    """Return the positive evidence of a map in [0, 1]: what speaks for the class, scaled by its own range.

    Negative values speak against the class and count as none. Without ``peak`` the rest is stretched from its
    minimum to its maximum, so a picture shows *where* the evidence is and says nothing of how much there is;
    a map without positive values, or of one value everywhere, has no place to show and is 0.

    Args:
        attention_map: (h, w), any finite range.
        peak: The value that becomes 1, where several maps must be comparable; the minimum is then 0.

    Raises:
        ConfigurationError: If the map is not two-dimensional.
    """
    values = torch.as_tensor(np.array(attention_map) if not isinstance(attention_map, Tensor) else attention_map)
    if values.ndim != 2:
        raise ConfigurationError(f"Expected an attention map (h, w), but got shape {tuple(values.shape)}.")
    evidence = values.detach().double().cpu().clamp(min=0.0).numpy()
    low, high = (evidence.min(), evidence.max()) if peak is None else (0.0, peak)
    if high - low <= 1e-6 * high:
        return np.zeros_like(evidence)
    return np.clip((evidence - low) / (high - low), 0.0, 1.0)


def overlay(
    image: Tensor | ArrayLike,
    attention_map: Tensor | ArrayLike,
    *,
    peak: float | None = None,
    palette: Literal["evidence", "disagreement"] = "evidence",
) -> NDArray[np.uint8]:
    """Return the face in dimmed grey, lit by the map in colour.

    The face loses its colour so that the same evidence looks the same on every skin and in every light; the
    map is scaled by :func:`strength`, enlarged bilinearly, and added as light (a *screen* blend), so that
    nothing of the face is hidden where there is no evidence.

    Args:
        image: (3, H, W) or (H, W, 3) in [0, 1], or uint8.
        attention_map: (h, w) in any range.
        peak: The value drawn at full strength; without it, the map's own range (per map min-max).
        palette: Which colours: warm for evidence, cool for the disagreement of two views.

    Returns:
        (H, W, 3) uint8.
    """
    rgb = to_rgb(image)
    weight = torch.from_numpy(strength(attention_map, peak))[None, None]
    enlarged = interpolate(weight, size=rgb.shape[:2], mode="bilinear", align_corners=False)[0, 0].numpy()
    light = PALETTES[palette](enlarged)[..., :3]
    grey = (rgb @ _LUMA)[..., None] * _FACE_BRIGHTNESS
    blended = 1.0 - (1.0 - grey) * (1.0 - light)
    return np.asarray(np.rint(blended * 255.0), dtype=np.uint8)
