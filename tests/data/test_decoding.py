from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eac_lightning.data import decoding
from eac_lightning.data.decoding import BACKGROUND, decode_image, resize_square
from eac_lightning.errors import DataError


def encode(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_stays_one_channel() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    decoded = decode_image(encode(Image.fromarray(pixels)))
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "YCbCr"])
def test_colours_become_rgb(mode: str) -> None:
    red = Image.new("RGB", (4, 3), (204, 51, 51)).convert(mode)
    decoded = decode_image(encode(red, "jpeg" if mode in ("CMYK", "YCbCr") else "png"))
    assert decoded.shape == (3, 4, 3)
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded[1, 1], (204, 51, 51), atol=4)


def test_one_bit_becomes_grey() -> None:
    decoded = decode_image(encode(Image.new("1", (2, 2), 1)))
    np.testing.assert_array_equal(decoded, np.full((2, 2), 255))


def test_sixteen_bits_keep_the_upper_eight() -> None:
    pixels = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(pixels))), [[0, 0, 1], [128, 255, 255]])


def test_alpha_is_composited_on_mid_grey() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    np.testing.assert_array_equal(decode_image(encode(image)), [[[255, 0, 0], [BACKGROUND] * 3]])


def test_grey_alpha_stays_one_channel() -> None:
    image = Image.new("LA", (2, 1), (200, 255))
    image.putpixel((1, 0), (200, 0))
    np.testing.assert_array_equal(decode_image(encode(image)), [[200, BACKGROUND]])


def test_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 250, 240, 230])
    image.putpixel((1, 0), 1)
    decoded = decode_image(encode(image, transparency=1))
    np.testing.assert_array_equal(decoded, [[[10, 20, 30], [BACKGROUND] * 3]])


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter turn clockwise
    np.testing.assert_array_equal(decode_image(encode(image, exif=exif)), [[3, 0], [4, 1], [5, 2]])


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    (tmp_path / "half.jpg").write_bytes(encode(Image.fromarray(noise), "jpeg")[:1000])
    with pytest.raises(DataError, match="truncated"):
        decode_image(tmp_path / "half.jpg")


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_something_else_says_so(content: bytes) -> None:
    with pytest.raises(DataError, match="not a picture"):
        decode_image(content)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        decode_image(tmp_path / "none.png")


def test_floating_point_is_refused() -> None:
    with pytest.raises(DataError, match="floating-point"):
        decode_image(encode(Image.new("F", (2, 2), 0.5), "tiff"))


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.new("L", (30, 30)))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 899)
    with pytest.raises(DataError, match="30 by 30 are more than 899 pixels; scale it down first"):
        decode_image(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="^more than 899 pixels"):
        decode_image(content)


def test_resizing_is_antialiased_and_square() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 32))
    resized = resize_square(stripes, 8)
    assert resized.shape == (8, 8)
    assert np.abs(resized.astype(int) - 127).max() < 20
    assert resize_square(resized, 8) is resized
    assert resize_square(np.zeros((5, 9, 3), np.uint8), 4).shape == (4, 4, 3)
