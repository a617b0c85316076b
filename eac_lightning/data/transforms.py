"""Training augmentation of a whole batch on the device, each face drawn on its own."""

import kornia.augmentation as K
from torch import nn

from eac_lightning.errors import unknown_name

AUGMENTATIONS = ("none", "flip", "standard")


def augmentation(name: str) -> nn.Module | None:
    """Return the augmentation ``name``.

    Args:
        name: ``"none"``; ``"flip"``: a horizontal flip with probability 0.5; ``"standard"``: the flip, a
            rotation of at most 10 degrees, a shift of at most 6 %, a scale of 0.9 to 1.1, brightness and
            contrast of 0.8 to 1.2, and with probability 0.5 a rectangle of 2 to 25 % erased with mid grey.

    Returns:
        A module from (N, 3, H, W) in [0, 1] to the same, or None for ``"none"``.

    Raises:
        ConfigurationError: If the name is unknown.
    """
    if name == "none":
        return None
    flip = K.RandomHorizontalFlip(p=0.5)
    if name == "flip":
        return nn.Sequential(flip)
    if name != "standard":
        raise unknown_name("augmentation", name, AUGMENTATIONS)
    return nn.Sequential(
        flip,
        K.RandomAffine(degrees=10, translate=(0.06, 0.06), scale=(0.9, 1.1), padding_mode="border", p=1.0),
        K.RandomBrightness((0.8, 1.2), p=1.0),
        K.RandomContrast((0.8, 1.2), p=1.0),
        K.RandomErasing(p=0.5, scale=(0.02, 0.25), ratio=(0.3, 3.3), value=0.5),
    )
