"""timm's networks as backbones: one (N, C, h, w) map, whatever a network's own output looks like."""

import inspect
import math
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError
from eac_lightning.models.timm_weights import check_download, check_tag, load_timm_weights, no_download


class TimmBackbone(nn.Module):
    """A timm network under the backbone contract.

    ``forward_features`` gives (N, C, h, w), (N, h, w, C) (Swin) or (N, prefix + h·w, C) (ViT: class and register
    tokens in front); all become (N, C, h, w) with the tokens in front left out. What stands behind the map, such as
    the norm of a head, is frozen: nothing here uses it.

    Args:
        network: What ``timm.create_model`` has made.
        image_size: Side of the images in pixels; what the network was built or made for if left out.

    Raises:
        ConfigurationError: If the network does not keep the contract, or its cells do not cover images of this size.
    """

    def __init__(self, network: Any, image_size: int | None = None) -> None:
        super().__init__()
        self.network = network
        config: dict[str, Any] = network.pretrained_cfg
        self.name: str = config["architecture"]
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])
        self.num_features = int(network.num_features)
        # Some embed patches of what a stem makes of the image (Visformer), and several times (CoaT).
        embeds = [part for part in network.modules() if isinstance(part, PatchEmbed) and part.proj.in_channels == 3]
        patches = embeds[0] if embeds else None
        built_for = patches.img_size if patches is not None and patches.strict_img_size else None
        self._built_for = None if built_for is None else tuple(built_for)
        default = tuple(config["input_size"][-2:])
        size = (image_size, image_size) if image_size else self._built_for or default
        # Some were made to cut off an edge: SigLIP at 384 px in patches of 14, Inception.
        if patches is not None and not patches.dynamic_img_pad and size != default:
            self._check_covered(size, patches.patch_size)
        grid = self._probe(size)
        stride = _declared_stride(network)
        if grid == (1, 1) and stride is not None and size[0] // stride > 1:
            raise ConfigurationError(
                f"timm/{self.name} gives one vector of a picture of {size[0]} px, not a map of it: "
                "there is nothing to draw a class activation map from. Take another network: timm/vit_tiny_patch16_224."
            )
        if stride is None or grid[1] not in (size[1] // stride, -(-size[1] // stride)):
            stride = max(1, size[1] // grid[1])
        elif default[1] % stride == 0:
            self._check_covered(size, (stride, stride), grid)
        self.output_stride = stride

    def _check_covered(self, size: Sequence[int], cell: Sequence[int], grid: Sequence[int] | None = None) -> None:
        """Refuse a size of which ``grid`` cells, or as many as fit, leave out an edge: maps would not lie on faces."""
        for axis, (side, pixels) in enumerate(zip(size, cell, strict=True)):
            cells = side // pixels if grid is None else grid[axis]
            if cells * pixels < side:
                below = side // pixels * pixels
                fitting = " or ".join(str(fits) for fits in (below, below + pixels) if fits)
                raise ConfigurationError(
                    f"Expected an image_size that is a multiple of {pixels} for timm/{self.name}, but got {side}: "
                    f"{side - cells * pixels} px on the right and below would have no cell. Take {fitting}."
                )

    def _probe(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Check the map of one picture, freeze what it does not depend on, and return its rows and columns."""
        modes = self.training
        self.eval()
        try:
            with torch.enable_grad():
                features = self.forward_features(torch.zeros(1, 3, *size))
        except (AssertionError, RuntimeError) as error:
            made_for = "×".join(map(str, self.network.pretrained_cfg["input_size"][-2:]))
            said = f" ({error})" if str(error) else ""
            raise ConfigurationError(
                f"timm/{self.name} cannot take images of {'×'.join(map(str, size))} px{said}. It was made for those of "
                f"{made_for}: give that as image_size."
            ) from error
        self.train(modes)
        if features.shape[1] != self.num_features:
            raise ConfigurationError(
                f"timm/{self.name} declares num_features={self.num_features}, but its feature map has "
                f"{features.shape[1]} channels; a linear classifier cannot stand on it."
            )
        if features.requires_grad:
            parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
            with torch.enable_grad():
                gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.requires_grad_(gradient is not None)  # several processes would wait for its gradient
        return int(features.shape[2]), int(features.shape[3])

    def forward_features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, C, h, w) feature map.

        Raises:
            ConfigurationError: If the network was built for images of another size.
        """
        height, width = image.shape[-2:]
        if self._built_for is not None and (height, width) != self._built_for:
            raise ConfigurationError(
                f"timm/{self.name} was built for images of {'×'.join(map(str, self._built_for))} px, but got "
                f"{height}×{width}. Give the module the images' image_size, or backbone_options "
                "{dynamic_img_size: true} where the network has that."
            )
        features = self.network.forward_features(image)
        if not isinstance(features, Tensor):
            raise ConfigurationError(
                f"timm/{self.name} gives a {type(features).__name__} of several maps, and a class activation map is "
                "that of one. Take a network with one, such as timm/vit_tiny_patch16_224 or timm/coat_lite_tiny."
            )
        if features.ndim == 3:
            features = _fold_tokens(features, getattr(self.network, "num_prefix_tokens", None), height, width)
        elif getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return features


def _fold_tokens(tokens: Tensor, prefix: int | None, height: int, width: int) -> Tensor:
    """Fold (N, prefix + h·w, C) tokens of pictures of height × width to an (N, C, h, w) map of their proportions."""
    count = tokens.shape[1] - (prefix or 0)
    rows = math.isqrt(count * height // width)
    columns = rows * width // height
    # Some networks (CoaT) prepend tokens without declaring them; a grid leaves only one number over.
    prefix = count - rows * columns if prefix is None else prefix
    if rows * columns != tokens.shape[1] - prefix:
        raise ConfigurationError(
            f"Expected {count} tokens of a picture of {height}×{width} px to be a grid of its proportions, but "
            "they are none. Take another network, or leave out the backbone_options that drop or merge tokens."
        )
    return tokens[:, prefix:].transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def _declared_stride(network: Any) -> int | None:
    """Return the pixels per cell of the last map that timm says a network has."""
    info = getattr(network, "feature_info", None)
    return int(info[-1]["reduction"]) if info else None


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
        options: Further arguments of ``timm.create_model``, such as ``{"patch_size": 8}``.

    Raises:
        CheckpointError: If the weights cannot be downloaded, or a file does not fit.
        ConfigurationError: If the network's feature map does not keep the contract, or the size does not fit it.
    """
    options = options or {}
    own = inspect.signature(timm.create_model).parameters
    for option in options:
        # What says where weights come from would have timm read or fetch whatever a checkpoint names.
        if option in own:
            raise ConfigurationError(
                f"Expected backbone_options of timm/{name} to be arguments of the network, but {option!r} is one of "
                "timm.create_model itself. Give weights by the module's weights argument."
            )
    architecture = name.partition(".")[0]
    family = sys.modules[timm.model_entrypoint(architecture).__module__]
    from_file = weights is not None and Path(weights).suffix != ""
    download = weights is not None and not from_file
    tagged = name if weights in (None, "pretrained") or from_file else f"{architecture}.{weights}"
    if download:
        check_tag(tagged)
        check_download(tagged)
    config = timm.get_pretrained_cfg(architecture)
    sized = {"img_size": image_size} if image_size and config is not None and config.fixed_input_size else {}
    try:
        network = timm.create_model(tagged, pretrained=download, num_classes=0, **(sized | options))
    except Exception as error:
        # Weights that were had and do not fit this size are no lack of a network.
        if not download or isinstance(error, AssertionError | RuntimeError | TypeError | ValueError):
            raise ConfigurationError(f"timm could not build {tagged}: {error}.") from error
        raise no_download(tagged, error) from error
    if from_file and weights is not None:
        load_timm_weights(network, family, weights)
    return TimmBackbone(network, None if "img_size" in options else image_size)
