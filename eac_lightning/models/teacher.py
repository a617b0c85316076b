"""A network that only answers: what a student learns from."""

from typing import Any

import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.losses.feature_regression import resample
from eac_lightning.models.classifier import IMAGENET_MEAN, IMAGENET_STD

_PROBE = 224


class FrozenTeacher:
    """The feature map of one layer of a backbone, without gradient and always in eval mode.

    It is no ``nn.Module``, so that the module that asks it neither trains nor saves nor moves it by accident.

    Args:
        backbone: A network under the backbone contract; it is set to eval mode and frozen.
        layer: Name of one of its submodules, such as ``"repeat_3"``; None is the backbone's own feature map.
        size: Side in pixels that faces are resized to before the network sees them; None is the size that the
            network was trained on (its attribute ``input_size``), or theirs where it has none. A face network's
            last layers hardly answer to faces of half its size.

    Attributes:
        num_features: C, the channels of that layer.

    Raises:
        ConfigurationError: If there is no such layer, or its output is no (N, C, h, w) map.
    """

    def __init__(self, backbone: nn.Module, layer: str | None = None, size: int | None = None) -> None:
        self.backbone = backbone.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.layer = layer
        self.size: int | None = size or getattr(backbone, "input_size", None)
        if layer is not None and layer not in dict(backbone.named_modules()):
            raise unknown_name(f"layer of {type(backbone).__name__}", layer, _layers(backbone))
        self._mean = torch.tensor(getattr(backbone, "mean", IMAGENET_MEAN)).view(1, 3, 1, 1)
        self._std = torch.tensor(getattr(backbone, "std", IMAGENET_STD)).view(1, 3, 1, 1)
        side = self.size or _PROBE
        self.num_features = int(self(torch.zeros(1, 3, side, side)).shape[1])

    def __call__(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB in [0, 1], on any device, to the layer's (N, C, h, w) map."""
        if image.device != self._mean.device:
            self.backbone.to(image.device)
            self._mean, self._std = self._mean.to(image.device), self._std.to(image.device)
        with torch.no_grad():
            if self.size is not None:
                image = resample(image, (self.size, self.size))
            normalized = (image.to(self._mean.dtype) - self._mean) / self._std
            return _answer(self.backbone, self.layer, normalized.contiguous(memory_format=torch.channels_last))


def _layers(backbone: nn.Module) -> list[str]:
    """Return the names that a person may mean: two levels of the network."""
    return [name for name, _ in backbone.named_modules() if name and name.count(".") < 2]


def _answer(backbone: nn.Module, layer: str | None, image: Tensor) -> Tensor:
    caught: list[Any] = []
    handle = None
    if layer is not None:
        # A clone, since the layer that follows may work in place.
        handle = backbone.get_submodule(layer).register_forward_hook(lambda _, __, output: caught.append(_copy(output)))
    try:
        answer: Any = backbone.forward_features(image)  # type: ignore[operator]
    finally:
        if handle is not None:
            handle.remove()
    if layer is not None:
        if not caught:
            raise ConfigurationError(
                f"Expected teacher_layer {layer!r} to be on the way to the feature map of {type(backbone).__name__}, "
                f"but it is never run. Name one of {', '.join(_layers(backbone)[:20])}."
            )
        answer = caught[-1]
    if not isinstance(answer, Tensor) or answer.ndim != 4:
        shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise ConfigurationError(
            f"Expected teacher_layer {layer!r} to give a feature map (N, C, h, w), but it gives {shape}. Name a "
            f"convolutional layer of {type(backbone).__name__}: {', '.join(_layers(backbone)[:20])}."
        )
    return answer


def _copy(output: Any) -> Any:
    return output.clone() if isinstance(output, Tensor) else output
