"""Augmentations that leave out a part of a face or mix it with another one, batched and on the device.

Cutout: DeVries and Taylor, arXiv 1708.04552. MixUp: Zhang et al., arXiv 1710.09412. CutMix: Yun et al., arXiv
1905.04899. FMix: Harris et al., arXiv 2002.12047. Random numbers come from torch's generator of the CPU, so that they
are the same on every device.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from eac_lightning.data.fmix import fmix_mask, fmix_masks, grey_images
from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.types import Batch

__all__ = [
    "MIXINGS",
    "Cutout",
    "FMix",
    "Mixing",
    "PairMixing",
    "create_mixing",
    "fmix_mask",
    "fmix_masks",
    "grey_images",
]

Pairing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Mixing(nn.Module):
    """Makes another batch of an unpacked one, which stays as it is, for a training step."""

    mixes_labels = True
    """Whether a face of the new batch has the labels of two, in ``soft_label``."""

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with other images, and where labels are mixed with ``soft_label``; all else as it was."""
        raise NotImplementedError


class Cutout(Mixing):
    """A square of each face is filled with the batch's mean colour; its label stays whole.

    Args:
        side: Of the square, as a share of the picture's shorter side, in (0, 1]. Its centre is any pixel with equal
            probability, so that a part of the square may lie outside. The paper's is 0.5 for 10 classes.

    Raises:
        ConfigurationError: If ``side`` lies outside its range.
    """

    mixes_labels = False

    def __init__(self, side: float = 0.5) -> None:
        super().__init__()
        if not 0 < side <= 1:
            raise ConfigurationError(f"Expected side of cutout to be above 0 and at most 1, but got {side}.")
        self.side = side

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with a square of each image left out."""
        image = batch["image"]
        height, width = image.shape[2:]
        side = max(1, round(self.side * min(height, width)))
        rows, columns = (_stretch(size, side, len(image)).to(image.device) for size in (height, width))
        square = rows[:, None, :, None] & columns[:, None, None, :]
        # Right for pictures in [0, 1] and for those that come normalised.
        mean = image.mean((0, 2, 3), keepdim=True)
        return cast(Batch, {**batch, "image": torch.where(square, mean, image)})


def _stretch(size: int, length: int, count: int) -> Tensor:
    """Return (N, S) which pixels of an axis lie in a stretch around a random one."""
    first = torch.randint(size, (count, 1)) - length // 2
    pixel = torch.arange(size)
    return (pixel >= first) & (pixel < first + length)


class FMix(nn.Module):
    """Mixes each face of a batch with the one before it, by a mask of its own; see :func:`fmix_masks`.

    Args:
        alpha: λ ~ Beta(alpha, alpha) for each face, > 0.
        decay: δ of the masks.
    """

    def __init__(self, alpha: float = 1.0, decay: float = 3.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.decay = decay

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mix (N, C, H, W) images and their (N, K) distributions, these by the share of pixels."""
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        lam = torch.distributions.Beta(alpha, alpha).sample((len(image),))
        mask = fmix_masks(lam, image.shape[2], image.shape[3], self.decay, device=image.device)
        share = mask.mean((1, 2))[:, None].to(label.dtype)
        mixed = torch.where(mask[:, None] > 0, image, image.roll(1, 0))
        return mixed, share * label + (1 - share) * label.roll(1, 0)


class PairMixing(Mixing):
    """Mixes each face of a batch with another one, in any order of the batch.

    Args:
        pairing: Mixes (N, C, H, W) images and (N, K) distributions, each with the one before it.
        num_classes: K.
    """

    def __init__(self, pairing: Pairing, num_classes: int) -> None:
        super().__init__()
        self.pairing = pairing
        self.num_classes = num_classes

    def forward(self, batch: Batch) -> Batch:
        """Return the batch mixed; face i is still the one that ``label``, ``index`` and all else tell of.

        A face that is alone stays as it is, with its own label in ``soft_label``.
        """
        image = batch["image"]
        label = batch["soft_label"] if "soft_label" in batch else self._one_hot(batch["label"])
        if len(image) < 2:
            return cast(Batch, {**batch, "soft_label": label})
        # Neighbours of a loader that does not shuffle may be of one class, or of one person.
        order = torch.randperm(len(image))
        mixed, label = self.pairing(image[order], label[order])
        back = order.argsort()
        return cast(Batch, {**batch, "image": mixed[back], "soft_label": label[back]})

    def _one_hot(self, label: Tensor) -> Tensor:
        return F.one_hot(label, self.num_classes).float()


MIXINGS: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    "cutout": (Cutout, ("side",)),
    "mixup": (v2.MixUp, ("alpha",)),
    "cutmix": (v2.CutMix, ("alpha",)),
    "fmix": (FMix, ("alpha", "decay")),
}
"""The mixings and the options of each."""


def create_mixing(name: str, num_classes: int, options: Mapping[str, Any] | None = None) -> Mixing:
    """Return the mixing of that name, which maps an unpacked batch to a new one.

    Args:
        name: One of :data:`MIXINGS`.
        num_classes: K.
        options: Its options by name, each a number: ``side`` of ``cutout`` (0.5); ``alpha`` of the others (1), of
            Beta(alpha, alpha) that the share of a face is drawn from, for each batch or with ``fmix`` for each face;
            ``decay`` of ``fmix`` (3).

    Raises:
        ConfigurationError: If the name or an option is unknown, or an option's value is not possible.
    """
    if name not in MIXINGS:
        raise unknown_name("mixing", name, MIXINGS)
    made, known = MIXINGS[name]
    options = options or {}
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
        if not isinstance(value, int | float):
            raise ConfigurationError(f"Expected {option} of {name} to be a number, but got {value!r}.")
    if not 0 < options.get("alpha", 1) < math.inf:
        given = options["alpha"]
        raise ConfigurationError(f"Expected alpha of {name} to be above 0 and finite, but got {given}; 1 is usual.")
    if not options.get("decay", 3) >= 0:
        raise ConfigurationError(f"Expected decay of {name} to be at least 0, but got {options['decay']}; 3 is usual.")
    mixing = made(**options)
    return mixing if isinstance(mixing, Mixing) else PairMixing(mixing, num_classes)
