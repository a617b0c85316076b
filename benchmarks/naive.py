"""Erasing Attention Consistency as one writes it down from the paper: what the package's speed is compared with.

Nothing here is slow on purpose: it is the formulas, term by term, with the tools that come to hand. Maps are products
of every channel with every class's weight, summed up; mirroring them is a resampling on a grid; a sample's two views
are transformed by the loader's workers and cross to the device as floats; everything is float32.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NaiveEAC(nn.Module):
    """A backbone, average pooling and a linear classifier, with the maps beside the logits.

    Args:
        backbone: ``forward_features(image) -> (N, C, h, w)`` and ``num_features == C``.
        num_classes: K.
    """

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.contiguous_format)
        self.classifier = nn.Linear(int(backbone.num_features), num_classes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 3, H, W) normalised images to (N, K) logits and (N, K, h, w) maps."""
        features = self.backbone.forward_features(image)
        logits = self.classifier(features.mean((2, 3)))
        weight = self.classifier.weight.detach()
        products = features[:, None] * weight[None, :, :, None, None]  # (N, K, C, h, w)
        return logits, products.sum(2)


def mirrored(maps: Tensor) -> Tensor:
    """Mirror (N, K, h, w) maps by sampling them on a grid that runs from right to left."""
    samples, _, height, width = maps.shape
    down, across = torch.linspace(-1, 1, height), torch.linspace(1, -1, width)
    grid = torch.stack([across.expand(height, width), down[:, None].expand(height, width)], -1)
    grid = grid.to(maps.device).expand(samples, -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)


def naive_loss(model: nn.Module, view1: Tensor, view2: Tensor, label: Tensor, weight: float = 5.0) -> Tensor:
    """Return CE(logits of view 1) + weight · MSE(maps of view 1, mirrored maps of view 2)."""
    logits, maps1 = model(view1)
    _, maps2 = model(view2)
    return F.cross_entropy(logits, label) + weight * F.mse_loss(maps1, mirrored(maps2))


class TwoViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Two float views of every picture file, each transformed on its own: noise, size, normalisation, erasing.

    Args:
        files: One a sample.
        labels: One a sample.
        size: Side of the views in pixels.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int], size: int) -> None:
        self.files = files
        self.labels = labels
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
                transforms.RandomErasing(p=0.5, scale=(0.02, 0.25)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, int]:
        with Image.open(self.files[position]) as file:
            image = file.convert("RGB")
        view2 = self.transform(ImageOps.mirror(image))
        if torch.rand(()) < 0.5:
            noisy = np.asarray(image) + 30**0.5 * torch.randn(image.height, image.width, 3).numpy()
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        return self.transform(image), view2, self.labels[position]
