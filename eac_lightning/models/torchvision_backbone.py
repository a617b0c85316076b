"""Torchvision's classifiers as backbones: everything before their pooling."""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from eac_lightning.errors import CheckpointError, ConfigurationError, unknown_name
from eac_lightning.models.probe import probe_feature_map
from eac_lightning.models.weights import load_weights


class TorchvisionBackbone(nn.Module):
    """A torchvision network without its pooling and head, under the backbone contract."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.num_features, self.output_stride = probe_feature_map(self)

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, C, h, w) feature map."""
        features: Tensor = self.body(image)
        return features


@cache
def list_torchvision_backbones() -> tuple[str, ...]:
    """Return the names of torchvision's classifiers."""
    return tuple(models.list_models(module=models))


def create_torchvision_backbone(name: str, weights: str | None) -> nn.Module:
    """Build a torchvision network, fill it, and cut it off before its pooling.

    Args:
        name: A name of ``torchvision.models.list_models``.
        weights: ``None``, the name of one of torchvision's weights, or a file with torchvision's key names.

    Raises:
        ConfigurationError: If the network ends in no feature map (torchvision's ViTs: take timm's).
        CheckpointError: If published weights cannot be downloaded, or a file does not fit.
    """
    from_file = weights is not None and Path(weights).suffix != ""
    published = None if weights is None or from_file else _published(name, weights)
    try:
        network = models.get_model(name, weights=published)
    except (URLError, OSError) as error:
        raise CheckpointError(
            f"{name} with weights {weights!r} is a download ({published and published.url}), and it failed: {error}. "
            f"Put that file into {Path(torch.hub.get_dir()) / 'checkpoints'}, or give its path as weights."
        ) from error
    if from_file and weights is not None:
        load_weights(network, weights)
    return TorchvisionBackbone(_body(name, network))


def _published(name: str, weights: str) -> models.Weights:
    known = models.get_model_weights(name)
    if weights not in ("DEFAULT", *known.__members__):
        raise unknown_name(f"weights of {name} (a file ends in .pt, .pth or .safetensors)", weights, known.__members__)
    return known[weights] if weights in known.__members__ else known.DEFAULT


def _body(name: str, network: Any) -> nn.Module:
    if hasattr(network, "layer4"):
        stem = [network.conv1, network.bn1, network.relu, network.maxpool]
        return nn.Sequential(*stem, network.layer1, network.layer2, network.layer3, network.layer4)
    if name.startswith("swin"):
        return nn.Sequential(network.features, network.norm, network.permute)
    if name.startswith("densenet"):
        return nn.Sequential(network.features, nn.ReLU(inplace=True))
    if isinstance(getattr(network, "features", None), nn.Module):
        features: nn.Module = network.features
        return features
    raise ConfigurationError(
        f"torchvision's {name} has no feature map in front of a pooling, so there is nothing to draw a class "
        "activation map from. Take a ResNet, MobileNet, EfficientNet, ConvNeXt, Swin …, or timm/NAME."
    )
