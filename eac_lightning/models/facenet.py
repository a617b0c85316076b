"""FaceNet's Inception-ResNet-v1, as facenet-pytorch has it, as a backbone.

Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, arXiv 1503.03832; Szegedy, Ioffe, Vanhoucke, Alemi,
"Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017, arXiv 1602.07261.
"""

from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError

_LAYERS = (
    "conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "conv2d_4b",
    "repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8",
)  # fmt: skip
_MINIMUM_SIZE = 75


class FaceNet(nn.Module):
    """The convolutional part of facenet-pytorch's ``InceptionResnetV1``; 22.6 million parameters.

    Parameter names are the library's, at the top level: its files load, and ``repeat_3`` (the last map after a
    ReLU; ``block8`` ends without) can be named as a teacher's layer. The embedding head (``last_linear``,
    ``last_bn``, ``logits``) is left out.

    Input (N, 3, H, W), RGB in [0, 1] normalised to (255·x − 127.5)/128, at least 75 px; its weights were trained at
    160 px. Output (N, 1792, h, w) with h = (H − 43) // 32, such as 3×3 at 160 px and 5×5 at 224 px. As nothing is
    padded on the way down, only sides of 75 + 32·k px (139, 171, 203 …) are covered to both edges: maps of a mirrored
    face are then mirrored exactly, and otherwise shifted by up to a cell (at 160 px by 21 px).
    """

    num_features = 1792
    input_size = 160  # of the faces that its weights come from
    output_stride = 32
    mean = (127.5 / 255,) * 3
    std = (128 / 255,) * 3
    unused_weights = ("last_linear.", "last_bn.", "logits.")

    def __init__(self) -> None:
        super().__init__()
        network = InceptionResnetV1()
        for name in _LAYERS:
            self.add_module(name, getattr(network, name))

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, 1792, h, w) feature map.

        Raises:
            ConfigurationError: If a side is below 75 px.
        """
        height, width = image.shape[-2:]
        if min(height, width) < _MINIMUM_SIZE:
            raise ConfigurationError(
                f"Expected images of at least {_MINIMUM_SIZE} px for facenet, whose convolutions are not padded, but "
                f"got {height}×{width}. Raise image_size (its weights were trained at 160 px)."
            )
        for layer in self.children():
            image = layer(image)
        return image
