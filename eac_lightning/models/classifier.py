"""A backbone, average pooling and one linear layer: the classifier whose attention maps are exact."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.attention_consistency import class_activation_maps

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class CAMClassifier(nn.Module):
    """Logits, and for every class the map that they are the mean of.

    Args:
        backbone: ``forward_features(image) -> (N, C, h, w)`` and ``num_features == C``.
        num_classes: K ≥ 2.
        normalize: Whether images arrive as RGB in [0, 1] and are normalised here, with the backbone's ``mean``
            and ``std`` (ImageNet's unless it has its own). False takes them as normalised.
        compile_backbone: Whether ``torch.compile`` compiles the backbone's pass in training mode, when it is first
            used; in eval mode, where others hook into it, it runs as it is. Parameters keep their names.

    Raises:
        ConfigurationError: If ``num_classes`` is below 2.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, num_classes: int, normalize: bool = True, compile_backbone: bool = False
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigurationError(f"Expected at least two classes to tell apart, but got {num_classes}.")
        self.backbone = backbone
        self.compile_backbone = compile_backbone
        self._compiled: Callable[[Tensor], Tensor] | None = None
        # Its output is the map: whoever looks for one by hooks would find heads × tokens in a transformer.
        self.last_map = nn.Identity()
        self.classifier = nn.Linear(int(backbone.num_features), num_classes)  # type: ignore[arg-type]
        mean = getattr(backbone, "mean", IMAGENET_MEAN) if normalize else (0.0, 0.0, 0.0)
        std = getattr(backbone, "std", IMAGENET_STD) if normalize else (1.0, 1.0, 1.0)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.to(memory_format=torch.channels_last)

    def normalize(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB in [0, 1] to what the backbone was made for."""
        # In true half or double precision the network's type decides, not the loader's.
        normalized = (image.to(self.mean.dtype) - self.mean).div_(self.std)
        # Laid out for the network here, it need not be copied while a training step still holds the original.
        return normalized.contiguous(memory_format=torch.channels_last)

    def feature_map(self, normalized: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, C, h, w) feature map.

        Raises:
            ConfigurationError: If the image is smaller than one cell of the map.
        """
        stride = getattr(self.backbone, "output_stride", 1)
        if min(normalized.shape[-2:]) < stride:
            height, width = normalized.shape[-2:]
            raise ConfigurationError(
                f"Expected images of at least {stride} px for {type(self.backbone).__name__}, whose map has one "
                f"cell every {stride} px, but got {height}×{width}. Raise image_size, or take another backbone."
            )
        mapped: Tensor = self.last_map(self._backbone_pass(normalized.contiguous(memory_format=torch.channels_last)))
        return mapped

    def _backbone_pass(self, image: Tensor) -> Tensor:
        forward_features: Callable[[Tensor], Tensor] = self.backbone.forward_features  # type: ignore[assignment]
        if not (self.compile_backbone and self.training):
            return forward_features(image)
        if self._compiled is None:
            self._compiled = torch.compile(forward_features)
        return self._compiled(image)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled pass: a copy's is that of its own backbone, not of this one."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "_compiled": None}

    def logits_and_maps(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, K) logits and (N, K, h, w) maps of a feature map, from one contraction.

        The maps pass no gradient to the classifier (EAC trains the features with them, never the classifier);
        the logits do.
        """
        maps = self.maps(feature_map)
        logits = maps.mean((2, 3)) + self.classifier.bias
        if torch.is_grad_enabled():
            # Adds exactly zero, and gives the classifier the gradient that the detached contraction cannot.
            weight = self.classifier.weight
            logits = logits + F.linear(feature_map.detach().mean((2, 3)), weight - weight.detach())
        return _at_least_float32(logits), maps

    def maps(self, feature_map: Tensor) -> Tensor:
        """Return the (N, K, h, w) maps of every class, without gradient to the classifier."""
        return _at_least_float32(class_activation_maps(feature_map, self.classifier.weight.detach()))

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB in [0, 1] to (N, K) logits."""
        return self.logits_and_maps(self.feature_map(self.normalize(image)))[0]


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Leave autocast's half precision behind: losses and means are taken in float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
