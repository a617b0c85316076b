"""A photograph, in whatever form it comes."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from eac_lightning.data.decoding import decode_image, to_grey_or_rgb
from eac_lightning.errors import ConfigurationError, DataError

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A file, a PIL image, an (H, W, 3) or (H, W) uint8 array, or a (3, H, W) or (1, H, W) tensor: uint8, or float in
[0, 1]. Colours are RGB."""


def load_photo(picture: Picture) -> Image.Image:
    """Return a picture in RGB, upright as its EXIF orientation says.

    Raises:
        DataError: With the reason, if it cannot be read.
        ConfigurationError: If it is no :data:`Picture`.
    """
    if isinstance(picture, str | Path):
        if Path(picture).is_dir():
            raise DataError("a folder, but a picture was expected")
        return Image.fromarray(decode_image(picture)).convert("RGB")
    if isinstance(picture, Image.Image):
        return to_grey_or_rgb(ImageOps.exif_transpose(picture)).convert("RGB")
    if not isinstance(picture, np.ndarray | Tensor):
        raise ConfigurationError(
            f"Expected a picture as path, PIL image, array or tensor, but got {type(picture).__name__}."
        )
    pixels = _channels_last(picture) if isinstance(picture, Tensor) else picture
    grey_or_rgb = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not grey_or_rgb or pixels.dtype != np.uint8 or not pixels.size:
        raise ConfigurationError(
            "Expected a picture as a uint8 array (H, W, 3) or (H, W), or as a tensor (3, H, W), but got "
            f"{tuple(picture.shape)} of {picture.dtype}. Give several pictures as a list."
        )
    return Image.fromarray(pixels).convert("RGB")


def _channels_last(picture: Tensor) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 where the tensor is what it should be, and else something that is refused."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.numel():
        return np.empty(0, np.uint8)
    if picture.is_floating_point():
        low, high = (float(bound) for bound in picture.aminmax())
        if not (low >= -0.01 and high <= 1.01):  # NaN neither
            raise ConfigurationError(
                f"Expected a picture of floats in [0, 1], but got {low:.2f} to {high:.2f}. Give uint8 if it is 0 to "
                "255, and no picture that is normalised."
            )
        picture = (picture * 255).round().clamp(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = picture.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels
