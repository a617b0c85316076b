"""ExpNet: the small expression network that a face-recognition network teaches.

Ding, Zhou, Chellappa, "FaceNet2ExpNet", FG 2017, arXiv 1609.06591, section III-A: plain 3×3 convolutions with
max pooling. Ours adds batch normalisation, which the paper's time had to do without, and ends in the map
that the teacher is matched on and the attention maps are drawn from, instead of in fully connected layers.
"""

from typing import Any

from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError


class ExpNet(nn.Module):
    """``depth`` blocks of convolution, batch normalisation and ReLU; the first ones pool by 2, the last one never.

    Input (N, 3, H, W); output (N, num_features, H/stride, W/stride).

    Args:
        width: Channels of the first block; each block doubles them, up to ``num_features``.
        depth: Number of blocks, at least 2.
        num_features: Channels of the last block: those of the teacher's layer.
        stride: Pixels per cell of the map, a power of 2; at most 2^(depth − 1).
        signed: Leave the last ReLU out, for a teacher's layer that has none either.

    Raises:
        ConfigurationError: If ``width`` or ``num_features`` is below 1, ``depth`` below 2, or ``stride`` not possible.
    """

    def __init__(
        self, width: int = 32, depth: int = 5, num_features: int = 512, stride: int = 8, signed: bool = False
    ) -> None:
        super().__init__()
        if depth < 2 or width < 1 or num_features < 1:
            raise ConfigurationError(
                "Expected an ExpNet of at least 2 blocks, 1 channel and 1 feature, but got "
                f"depth={depth}, width={width} and num_features={num_features}."
            )
        if stride not in [2**power for power in range(depth)]:
            raise ConfigurationError(
                f"Expected stride to be a power of 2 of at most {2 ** (depth - 1)}, since each of {depth} blocks but "
                f"the last may pool by 2, but got {stride}."
            )
        self.options: dict[str, Any] = {
            "width": width, "depth": depth, "num_features": num_features, "stride": stride, "signed": signed,
        }  # fmt: skip
        self.num_features = num_features
        self.output_stride = stride
        channels = [3, *(min(width * 2**block, num_features) for block in range(depth - 1)), num_features]
        self.blocks = nn.Sequential(
            *(
                _block(
                    channels[block],
                    channels[block + 1],
                    pool=2**block < stride,
                    relu=not (signed and block == depth - 1),
                )
                for block in range(depth)
            )
        )

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, num_features, h, w) feature map."""
        features: Tensor = self.blocks(image)
        return features


def _block(in_channels: int, out_channels: int, pool: bool, relu: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False), nn.BatchNorm2d(out_channels)]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
