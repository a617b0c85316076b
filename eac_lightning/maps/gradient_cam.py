"""Grad-CAM and LayerCAM through torchcam, for networks whose attention maps are not in their architecture."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.maps.undisturbed import undisturbed

_EXTRACTORS = {"grad_cam": "GradCAM", "layer_cam": "LayerCAM"}


def gradient_cam(
    module: nn.Module,
    image: Tensor,
    class_index: int | Tensor,
    method: Literal["grad_cam", "layer_cam"] = "grad_cam",
    layer: str | nn.Module | None = None,
) -> Tensor:
    """Return class activation maps by the gradient of a class's logit with respect to a feature map.

    Grad-CAM (Selvaraju et al., ICCV 2017, eq. 2) weighs the layer's channels by their mean gradient; LayerCAM
    (Jiang et al., TIP 2021, eq. 6) weighs every position by its own positive gradient. Both keep what is
    positive. Modes, gradients, hooks and random state of the module are left as they were.

    Args:
        module: Any classifier: ``module(image)`` gives (N, K) logits.
        image: (N, 3, H, W), as the module takes it; float.
        class_index: The class of the maps, one for all images or (N,).
        method: ``grad_cam`` or ``layer_cam``.
        layer: The part whose (N, C, h, w) output is looked at, or its name; if left out, the last one with a
            map of more than one cell.

    Returns:
        (N, h, w), not negative, not normalised.

    Raises:
        ConfigurationError: If torchcam is missing, the method or the layer is unknown, or the layer has no
            map.
    """
    extractor_class = load_extractor(method)
    with undisturbed(module), torch.inference_mode(False), torch.enable_grad():
        # Cloned outside inference mode, and with a gradient, so that a frozen network has maps too.
        image = image.detach().clone().requires_grad_(True)
        target = _find_layer(module, image, layer)
        with extractor_class(module, target) as extractor:
            logits = module(image)
            classes = torch.as_tensor(class_index).expand(len(image)).tolist()
            maps: Tensor = extractor(classes, logits, normalized=False)[0]
    return maps.detach()


def load_extractor(method: str) -> Any:
    """Return torchcam's class for a method.

    Raises:
        ConfigurationError: If the method is unknown or torchcam is not installed.
    """
    if method not in _EXTRACTORS:
        raise unknown_name("gradient CAM method", method, _EXTRACTORS)
    try:
        methods = importlib.import_module("torchcam.methods")
    except ImportError as error:
        raise ConfigurationError(
            f"{method} needs torchcam, which is not installed: pip install 'eac-lightning[cam]'. "
            "The method 'cam' needs nothing, where a network ends in pooling and a linear layer."
        ) from error
    return getattr(methods, _EXTRACTORS[method])


def _find_layer(module: nn.Module, image: Tensor, layer: str | nn.Module | None) -> str:
    """Return the name of ``layer``, or of the last part whose output is a map of more than one cell."""
    names = {name: part for name, part in module.named_modules() if name}
    if isinstance(layer, str) and layer not in names:
        raise unknown_name("layer", layer, names)
    mapping: list[str] = []
    with torch.no_grad(), _watching(names, mapping):
        module(image[:1])
    if layer is not None:
        mapping = [name for name in mapping if layer in (name, names[name])]
    if not mapping:
        looked_at = type(module).__name__ if layer is None else f"Layer {layer!r}"
        raise ConfigurationError(
            "Expected a layer whose output is a map: (N, C, h, w) with more than one cell. "
            f"{looked_at} has none for images of shape {tuple(image.shape[1:])}. Name a layer before the "
            "pooling, or take larger images."
        )
    return mapping[-1]


@contextmanager
def _watching(names: Mapping[str, nn.Module], mapping: list[str]) -> Iterator[None]:
    """Append to ``mapping`` the name of every part that puts a map out while the block runs."""

    def watch(name: str) -> Any:
        def note(_part: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                mapping.append(name)

        return note

    handles = [part.register_forward_hook(watch(name)) for name, part in names.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
