"""MobileFaceNet: a face-recognition network of one million parameters.

Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", CCBR 2018, arXiv 1804.07573.
"""

from torch import Tensor, nn


class MobileFaceNet(nn.Module):
    """The convolutional part of MobileFaceNet, up to the map that its embedding is pooled from.

    Parameter names are those of the public ``foamliu/MobileFaceNet`` checkpoints (trained on refined
    MS-Celeb-1M, RGB in [0, 1] normalised with ImageNet's mean and standard deviation). Their embedding head
    (``gdconv``, ``conv3``, ``bn``) is left out: it is tied to 112 px and says who it is, not what they feel.

    Input (N, 3, H, W); output (N, 512, H/16, W/16), such as 7×7 at 112 px and 4×4 at 64 px.
    """

    num_features = 512
    input_size = 112  # of the faces that its weights come from
    output_stride = 16
    unused_weights = ("gdconv.", "conv3.", "bn.")

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv_bn_relu6(3, 64, kernel=3, stride=2)
        self.dw_conv = DepthwiseSeparable(64, 64)
        self.features = nn.Sequential(
            InvertedResidual(64, 64, stride=2, expansion=2),
            *(InvertedResidual(64, 64, stride=1, expansion=2) for _ in range(4)),
            InvertedResidual(64, 128, stride=2, expansion=4),
            *(InvertedResidual(128, 128, stride=1, expansion=2) for _ in range(6)),
            InvertedResidual(128, 128, stride=2, expansion=4),
            *(InvertedResidual(128, 128, stride=1, expansion=2) for _ in range(2)),
        )
        self.conv2 = _conv_bn_relu6(128, 512, kernel=1)

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, 512, H/16, W/16) feature map."""
        features: Tensor = self.conv2(self.features(self.dw_conv(self.conv1(image))))
        return features


class DepthwiseSeparable(nn.Module):
    """A 3×3 depthwise and a 1×1 convolution, each with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W)."""
        x = self.relu(self.bn1(self.depthwise(x)))
        out: Tensor = self.relu(self.bn2(self.pointwise(x)))
        return out


class InvertedResidual(nn.Module):
    """Widen by ``expansion``, convolve depthwise, narrow again; add the input where the shapes match."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            _conv_bn_relu6(in_channels, hidden, kernel=1),
            _conv_bn_relu6(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


def _conv_bn_relu6(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )
