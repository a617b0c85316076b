"""ResNets in the layouts of the face-recognition weights that EAC and its relatives begin from.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385.
"""

from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

_LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


class _FaceResNet(nn.Module):
    output_stride = 32
    input_size = 224  # of the faces that its weights come from
    unused_weights = ("fc.",)

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        for name in _LAYERS:
            self.add_module(name, getattr(network, name))

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, C, h, w) feature map."""
        for layer in self.children():
            image = layer(image)
        return image


class MSCelebResNet18(_FaceResNet):
    """ResNet-18 as ``resnet18_msceleb.pth`` has it, from which DACL, RUL and DAN begin.

    The file is a torch checkpoint with torchvision's key names under ``state_dict``, trained on MS-Celeb-1M. Those
    methods give it RGB normalised with ImageNet's mean and standard deviation at 224 px, and so does this.
    Output (N, 512, ⌈H/32⌉, ⌈W/32⌉), 7×7 at 224 px.
    """

    num_features = 512

    def __init__(self) -> None:
        super().__init__(resnet18())


class VGGFace2ResNet50(_FaceResNet):
    """ResNet-50 of VGGFace2 (Cao et al., FG 2018, arXiv 1710.08092), from which EAC's published figures begin.

    The layout of Caffe's ResNet: each stage strides in its first 1×1 convolution (torchvision: in the 3×3), and
    max pooling rounds up instead of padding. Its files (``resnet50_ft_weight.pkl``, ``resnet50_scratch_weight.pkl``)
    are pickles of arrays. Output (N, 2048, ⌈H/32⌉, ⌈W/32⌉), 7×7 at 224 px.

    The weights were trained on BGR in [0, 255] less the mean colour. This takes RGB in [0, 1]: ``mean`` and ``std``
    give RGB in [0, 255] less the mean, and ``forward_features`` swaps the channels. EAC's published code feeds the
    same weights RGB normalised with ImageNet's mean and standard deviation instead; what that changes after
    fine-tuning was not measured here.
    """

    num_features = 2048
    mean = (131.0912 / 255, 103.8827 / 255, 91.4953 / 255)
    std = (1 / 255,) * 3

    def __init__(self) -> None:
        network = resnet50()
        network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        for stage in (network.layer2, network.layer3, network.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        super().__init__(network)

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces, RGB, to the (N, 2048, h, w) feature map."""
        return super().forward_features(image.flip(1))
