"""From a picture file, whatever its kind, to eight-bit grey or RGB."""

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from eac_lightning.errors import DataError

BACKGROUND = 128
"""What shows through transparent pixels: mid grey, near the mean of a face, so that it adds no contrast."""

MAX_PIXELS = 2**26
"""Pictures of more are refused before they are decoded: 67 million, 8192 by 8192.

Decoding that many takes about 0.5 GB of memory in 16-bit grey, 0.9 GB as RGB, and 1.3 GB where there is transparency.
"""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""What the endings in ``PICTURE_ENDINGS`` stand for. Pillow knows more, and runs Ghostscript for one of them."""

_GREY_MODES = ("1", "L", "LA", "La")
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def decode_image(source: str | Path | bytes) -> NDArray[np.uint8]:
    """Decode a picture to eight bits per channel, upright as its EXIF orientation says.

    Palette, CMYK and YCbCr pictures become RGB; 16-bit ones keep their upper eight bits; transparent pixels
    are composited on mid grey (``BACKGROUND``); of an animation the first frame is taken. Where the EXIF data are
    damaged, the picture stays as it is stored.

    Args:
        source: A file, or the bytes of one, in one of ``FORMATS``, whatever its name.

    Returns:
        (H, W) for a grey picture, else (H, W, 3) RGB.

    Raises:
        DataError: With the reason, if the source cannot be read as a picture, or has more than ``MAX_PIXELS``.
    """
    try:
        with _open(source) as file, Image.open(file, formats=FORMATS) as image:
            _check_size(*image.size)
            image.load()
            return np.asarray(to_grey_or_rgb(_upright(image)))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("no such file") from None
    except UnidentifiedImageError:
        raise DataError("not a picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"more than {MAX_PIXELS} pixels; scale it down first") from None
    except Exception as error:  # a decoder raises whatever a broken file makes it stumble over
        raise DataError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _open(source: str | Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    # A pipe that is called like a picture would be waited for, were it opened in the usual way.
    file = open(source, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise DataError("not an ordinary file")


def _check_size(width: int, height: int) -> None:
    if not width * height:
        raise DataError(f"{width} by {height} are no pixels")
    if width * height > MAX_PIXELS:
        raise DataError(f"{width} by {height} are more than {MAX_PIXELS} pixels; scale it down first")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data raise anything, and the pixels were read
        return image


def to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as L or RGB; see :func:`decode_image`."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise DataError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    mode = "L" if image.mode in _GREY_MODES else "RGB"
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        canvas = Image.new("RGBA", opaque.size, (BACKGROUND,) * 3 + (255,))
        image = Image.alpha_composite(canvas, opaque)
    return image.convert(mode)


def resize_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a picture to ``size`` x ``size``, antialiased.

    Args:
        pixels: (H, W) or (H, W, 3).
        size: Side of the result in pixels; the aspect ratio is not kept.

    Returns:
        (size, size) or (size, size, 3), as the input.
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
