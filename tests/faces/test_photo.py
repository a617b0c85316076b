from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces.photo import Picture, load_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)


def test_every_form_of_a_picture_is_the_same_photograph(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    tensor = torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())
    forms: list[Picture] = [path, str(path), Image.fromarray(PIXELS), PIXELS, tensor, tensor / 255]
    for form in forms:
        photo = load_photo(form)
        assert photo.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(photo), PIXELS)


def test_grey_becomes_rgb() -> None:
    grey = np.repeat(PIXELS[..., :1], 3, axis=2)
    for form in (PIXELS[..., 0], torch.from_numpy(PIXELS[..., 0])[None], Image.fromarray(PIXELS[..., 0])):
        np.testing.assert_array_equal(np.asarray(load_photo(form)), grey)


def test_photographs_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, as telephones say it
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(PIXELS, -1)
    np.testing.assert_array_equal(np.asarray(load_photo(tmp_path / "turned.png")), upright)
    np.testing.assert_array_equal(np.asarray(load_photo(Image.open(tmp_path / "turned.png"))), upright)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    for path, message in (
        (tmp_path, "a folder"),
        (tmp_path / "x.png", "no such file"),
        (tmp_path / "notes.png", "not a picture"),
    ):
        with pytest.raises(DataError, match=message):
            load_photo(path)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (7, "path, PIL image, array or tensor, but got int"),
        (PIXELS / 255, r"uint8 array .* but got \(6, 4, 3\) of float64"),
        (PIXELS[None], r"but got \(1, 6, 4, 3\) of uint8. Give several pictures as a list"),
        (PIXELS[..., :2], r"but got \(6, 4, 2\)"),
        (PIXELS[:0], r"but got \(0, 4, 3\)"),
        (torch.zeros(2, 3, 8, 8), r"as a tensor \(3, H, W\), but got \(2, 3, 8, 8\)"),
        (torch.zeros(8, 8, 3), r"but got \(8, 8, 3\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "of torch.int64"),
        (torch.zeros(3, 0, 4), r"as a tensor \(3, H, W\), but got \(3, 0, 4\) of torch.float32"),
        (torch.full((3, 8, 8), 200.0), r"floats in \[0, 1\], but got 200.00 to 200.00. Give uint8 if it is 0 to 255"),
        (torch.full((3, 8, 8), torch.nan), r"floats in \[0, 1\], but got nan to nan"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(picture: Picture, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_photo(picture)
