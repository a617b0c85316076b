from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eac_lightning.data import perceptual_hash as module
from eac_lightning.data.perceptual_hash import near_pairs, perceptual_hash, thumbnail

Picture = NDArray[np.uint8]


def photograph(seed: int, size: int = 48) -> Picture:
    """A picture whose detail falls with its frequency, as that of a photograph does."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(0, 2 * 48 / side, (side, side)) for side in (3, 6, 12, 24)]
    sums = sum(np.asarray(Image.fromarray(layer).resize((size, size), Image.Resampling.BICUBIC)) for layer in layers)
    return (128 + np.asarray(sums)).clip(0, 255).astype(np.uint8)


def compressed(pixels: Picture, quality: int) -> Picture:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def cropped(pixels: Picture, box: tuple[int, int, int, int]) -> Picture:
    return np.asarray(Image.fromarray(pixels).resize(pixels.shape[:2], Image.Resampling.BILINEAR, box=box))


CHANGES = {
    "brighter": lambda x: (x.astype(int) + 20).clip(0, 255).astype(np.uint8),
    "less contrast": lambda x: (64 + 0.5 * x).astype(np.uint8),
    "JPEG 75": lambda x: compressed(x, 75),
    "JPEG 50": lambda x: compressed(x, 50),
    "moved by a pixel": lambda x: np.pad(x, 1, mode="edge")[2:, :-2],
    "cropped by a pixel": lambda x: cropped(x, (1, 1, 47, 47)),
    "enlarged": lambda x: np.asarray(Image.fromarray(x).resize((112, 112), Image.Resampling.BICUBIC)),
    "in colour": lambda x: np.stack([x, x, x], 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copies_are_found_and_nothing_else(change: Callable[[Picture], Picture]) -> None:
    pictures = [photograph(seed) for seed in range(40)]
    copies = [change(picture) for picture in pictures]
    pairs = near_pairs(np.stack([thumbnail(picture) for picture in (*pictures, *copies)]))
    assert pairs.tolist() == [[i, i + 40] for i in range(40)]


def test_the_hash_is_that_of_a_naive_cosine_transform() -> None:
    small = thumbnail(photograph(3))
    naive = []
    for down in range(13):
        for across in range(13 - down):
            wave = [
                np.cos(np.pi * (y + 0.5) * down / 32) * np.cos(np.pi * (x + 0.5) * across / 32) * float(small[y, x])
                for y in range(32)
                for x in range(32)
            ]
            scale = np.sqrt(0.5) ** ((down == 0) + (across == 0))
            naive.append(sum(wave) * scale * np.sqrt(down**2 + across**2))
    expected = np.array(naive[1:])
    np.testing.assert_array_equal(perceptual_hash(small), np.rint(127 * expected / np.linalg.norm(expected)))


def test_alike_from_afar_is_not_the_same() -> None:
    """Two pictures that share their coarse layer alone pass the hash, not the comparison that follows."""
    rng = np.random.default_rng(0)
    coarse = np.asarray(Image.fromarray(rng.normal(0, 40, (8, 8))).resize((32, 32), Image.Resampling.BICUBIC))
    one, other = ((128 + coarse + rng.normal(0, 22, (32, 32))).clip(0, 255).astype(np.uint8) for _ in range(2))
    hashes = perceptual_hash(one).astype(int), perceptual_hash(other).astype(int)
    assert hashes[0] @ hashes[1] > module.ALIKE * 127**2
    assert near_pairs(np.stack([one, other])).tolist() == []
    assert near_pairs(np.stack([one, one])).tolist() == [[0, 1]]


def test_pairs_do_not_depend_on_how_much_is_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.stack([thumbnail(photograph(seed % 7)) for seed in range(30)])
    expected = [[i, j] for i in range(30) for j in range(i + 1, 30) if (j - i) % 7 == 0]
    assert near_pairs(pictures).tolist() == expected
    monkeypatch.setattr(module, "_ENTRIES", 100)
    monkeypatch.setattr(module, "_PAIRS", 2)
    assert near_pairs(pictures).tolist() == expected


def test_pictures_of_one_colour_and_none_at_all_have_no_pairs() -> None:
    flat = np.full((3, 32, 32), 90, np.uint8)
    assert not perceptual_hash(flat[0]).any()
    assert near_pairs(flat).shape == (0, 2)
    assert near_pairs(flat[:0]).shape == (0, 2)
