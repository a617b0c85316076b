import pytest
import torch

from eac_lightning.data.transforms import augmentation
from eac_lightning.errors import ConfigurationError
from eac_lightning.seeding import seeded


def test_none_is_nothing() -> None:
    assert augmentation("none") is None


def test_flip_mirrors_about_half_of_the_faces() -> None:
    flip = augmentation("flip")
    assert flip is not None
    image = torch.rand(200, 3, 4, 4)
    with seeded(0):
        flipped = flip(image)
    mirrored = (flipped == image.flip(-1)).all(dim=(1, 2, 3))
    same = (flipped == image).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < int(mirrored.sum()) < 130


def test_standard_is_drawn_per_face_and_replayed_by_a_seed() -> None:
    standard = augmentation("standard")
    assert standard is not None
    image = torch.rand(1, 3, 16, 16).expand(8, -1, -1, -1)
    with seeded(1):
        first = standard(image)
    with seeded(1):
        again = standard(image)
    with seeded(2):
        other = standard(image)
    assert first.shape == image.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


def test_standard_erases_with_mid_grey() -> None:
    standard = augmentation("standard")
    assert standard is not None
    with seeded(0):
        erased = standard(torch.ones(64, 3, 16, 16)) == 0.5
    touched = erased.flatten(1).any(1)
    assert 16 < int(touched.sum()) < 48
    assert float(erased[touched].float().mean()) < 0.3


def test_an_unknown_augmentation_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'standard'"):
        augmentation("standart")
