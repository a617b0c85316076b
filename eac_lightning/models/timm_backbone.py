"""timm's networks as backbones: one (N, C, h, w) map, whatever a network's own output looks like."""

import inspect
import math
import sys
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models.weights import load_weights


class TimmBackbone(nn.Module):
    """A timm network under the backbone contract.

    ``forward_features`` gives (N, C, h, w), (N, h, w, C) (Swin) or (N, prefix + h·w, C) (ViT: class and register
    tokens in front); all become (N, C, h, w) with the tokens in front left out.
    """

    def __init__(self, network: Any, image_size: int | None = None) -> None:
        super().__init__()
        self.network = network
        config: dict[str, Any] = network.pretrained_cfg
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])
        self.num_features = int(network.num_features)
        size = image_size or int(config["input_size"][-1])
        probed = self._probe(size)
        if probed.shape[1] != self.num_features:
            raise ConfigurationError(
                f"timm's {config['architecture']} declares num_features={self.num_features}, but its feature map "
                f"has {probed.shape[1]} channels; a linear classifier cannot stand on it."
            )
        self.output_stride = max(1, size // int(probed.shape[-1]))

    def _probe(self, size: int) -> Tensor:
        training = self.training
        self.eval()
        with torch.no_grad():
            probed = self.forward_features(torch.zeros(1, 3, size, size))
        self.train(training)
        return probed

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, C, h, w) feature map."""
        features: Tensor = self.network.forward_features(image)
        if features.ndim == 4:
            nhwc = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if nhwc else features
        return _fold_tokens(features, getattr(self.network, "num_prefix_tokens", None))


def _fold_tokens(tokens: Tensor, prefix: int | None) -> Tensor:
    """Fold (N, prefix + h·h, C) tokens to a square (N, C, h, h) map."""
    if prefix is None:
        # Some networks (CoaT) prepend tokens without declaring them; a square map leaves only one number over.
        prefix = tokens.shape[1] - math.isqrt(tokens.shape[1]) ** 2
    patches = tokens[:, prefix:].transpose(1, 2)
    side = math.isqrt(patches.shape[-1])
    return patches.reshape(*patches.shape[:2], side, side)


@cache
def list_timm_backbones() -> tuple[str, ...]:
    """Return the names of timm's networks, without the tags of their weights."""
    return tuple(timm.list_models())


def create_timm_backbone(
    name: str, weights: str | None, image_size: int | None, options: dict[str, Any] | None = None
) -> nn.Module:
    """Build a timm network without its head.

    Args:
        name: timm's name, with or without the tag of its weights.
        weights: ``None``, ``"pretrained"``, a tag, or a file with timm's key names.
        image_size: Side of the input; position embeddings are resampled to it.
        options: Further arguments of ``timm.create_model``.

    Raises:
        CheckpointError: If the weights cannot be downloaded, or a file does not fit.
        ConfigurationError: If the network's feature map does not keep the contract.
    """
    own = inspect.signature(timm.create_model).parameters
    for option in options or {}:
        # What says where weights come from would have timm read or fetch whatever a checkpoint names.
        if option in own:
            raise ConfigurationError(
                f"Expected backbone_options of timm/{name} to be arguments of the network, but {option!r} is one of "
                "timm.create_model itself. Give weights by the module's weights argument."
            )
    from_file = weights is not None and Path(weights).suffix != ""
    download = weights is not None and not from_file
    tagged = name if weights in (None, "pretrained") or from_file else f"{name.partition('.')[0]}.{weights}"
    sized: dict[str, Any] = {"img_size": image_size} if image_size and _takes_image_size(name) else {}
    try:
        network = timm.create_model(tagged, pretrained=download, num_classes=0, **sized, **(options or {}))
    except Exception as error:
        if not download:
            raise ConfigurationError(f"timm could not build {tagged}: {error}.") from error
        source = timm.get_pretrained_cfg(tagged)
        raise CheckpointError(
            f"timm/{tagged} takes a download ({getattr(source, 'hf_hub_id', None) or tagged}), and it failed: "
            f"{type(error).__name__}: {str(error).splitlines()[0]}. Get the file where there is a network, and give "
            "its path as weights."
        ) from error
    if from_file and weights is not None:
        load_weights(network, weights)
    return TimmBackbone(network, image_size if sized else None)


def _takes_image_size(name: str) -> bool:
    family = sys.modules[timm.model_entrypoint(name.partition(".")[0]).__module__]
    classes = [kind for kind in vars(family).values() if inspect.isclass(kind) and kind.__module__ == family.__name__]
    return any("img_size" in inspect.signature(kind.__init__).parameters for kind in classes)
