"""A backbone of your own: any network that ends in a feature map becomes a name like ``resnet18``.

Modules, recipes and the command line take the name; maps and checkpoints come with it. Run it with

    python examples/own_backbone.py
"""

from pathlib import Path

import pytorch_lightning as L
import torch
from torch import Tensor, nn

from eac_lightning import ClassificationModule, SyntheticFERDataModule, register_backbone


@register_backbone("separable")
class Separable(nn.Module):
    """Three depthwise-separable convolutions, with a twentieth of the parameters of plain ones."""

    num_features = 128  # channels of the feature map: the one attribute that is required
    output_stride = 8  # pixels per cell of the map; too small images are then refused with a clear error
    mean = std = (0.5, 0.5, 0.5)  # what faces are normalised with; ImageNet's if left out

    def __init__(self) -> None:  # add weights= or image_size= to be given them
        super().__init__()
        self.layers = nn.Sequential(self.block(3, 32), self.block(32, 64), self.block(64, 128))

    def block(self, narrow: int, wide: int) -> nn.Module:
        each_channel = nn.Conv2d(narrow, narrow, kernel_size=5, stride=2, padding=2, groups=narrow, bias=False)
        across_channels = nn.Conv2d(narrow, wide, kernel_size=1, bias=False)
        return nn.Sequential(each_channel, across_channels, nn.BatchNorm2d(wide), nn.ReLU())

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to (N, 128, H/8, W/8)."""
        features: Tensor = self.layers(image)
        return features


def main(root: Path = Path("runs/examples"), epochs: int = 12, faces: int = 1200) -> None:
    L.seed_everything(0)
    data = SyntheticFERDataModule(
        root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=["happiness", "surprise"]
    )
    module = ClassificationModule(backbone="separable", lr=5e-3)
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=root / "own_backbone", logger=False)
    trainer.fit(module, data)

    maps = module.attention_maps(torch.rand(1, 3, 48, 48))
    print(f"Parameters: {sum(weight.numel() for weight in module.parameters()):,}")
    print(f"Maps of a 48 px face: {maps.shape[1]} classes, {maps.shape[2]}×{maps.shape[3]} cells")
    print(f"Validation accuracy: {trainer.callback_metrics['val/accuracy']:.1%}")


if __name__ == "__main__":
    main()
