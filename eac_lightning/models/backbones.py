"""Backbones by name: the registry, and the contract that every one of them keeps.

A backbone is an ``nn.Module`` with ``forward_features(image) -> (N, C, h, w)`` and ``num_features == C``. It may
declare ``mean`` and ``std`` (of RGB in [0, 1]; ImageNet's otherwise), ``output_stride`` (pixels per cell),
``input_size`` (side in pixels of the faces that its weights come from) and ``options`` (arguments that build it again).
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.models.expnet import ExpNet
from eac_lightning.models.facenet import FaceNet
from eac_lightning.models.mobilefacenet import MobileFaceNet
from eac_lightning.models.published import find_weights
from eac_lightning.models.resnet8 import ResNet8
from eac_lightning.models.resnet_face import MSCelebResNet18, VGGFace2ResNet50
from eac_lightning.models.timm_backbone import create_timm_backbone, list_timm_backbones
from eac_lightning.models.torchvision_backbone import create_torchvision_backbone, list_torchvision_backbones
from eac_lightning.models.weights import load_weights, stored_options

BackboneFactory = Callable[..., nn.Module]
Factory = TypeVar("Factory", bound=BackboneFactory)

_TIMM = "timm/"
_registry: dict[str, BackboneFactory] = {
    "mobilefacenet": MobileFaceNet,
    "resnet8": ResNet8,
    "expnet": ExpNet,
    "facenet": FaceNet,
    "resnet50_vggface2": VGGFace2ResNet50,
    "resnet18_msceleb": MSCelebResNet18,
}


def register_backbone(name: str) -> Callable[[Factory], Factory]:
    """Make a callable that returns a backbone known as ``name``.

    It is called with ``weights=`` and ``image_size=`` if it takes them, and with the options that a user gives it;
    where it takes no ``weights``, a file of weights is loaded into what it returns.

    Raises:
        ConfigurationError: If the name is taken already.
    """
    if name in list_backbones():
        raise ConfigurationError(f"A backbone named {name!r} is registered already; choose another name.")

    def register(factory: Factory) -> Factory:
        _registry[name] = factory
        return factory

    return register


def list_backbones() -> list[str]:
    """Return the names that ``create_backbone`` knows, registered ones first."""
    return [
        *_registry,
        *list_torchvision_backbones(),
        *(_TIMM + name for name in list_timm_backbones()),
    ]


def create_backbone(
    name: str, weights: str | None = None, image_size: int | None = None, options: dict[str, Any] | None = None
) -> nn.Module:
    """Return the backbone of that name.

    Args:
        name: A registered name, a torchvision name such as ``resnet18``, or ``timm/NAME``.
        weights: ``None`` for random weights, a name of published ones (torchvision: ``DEFAULT``, ``IMAGENET1K_V1``;
            timm: ``pretrained`` or a tag; face backbones: what ``eac weights list`` shows), or the path of a file.
        image_size: Side of the input in pixels, for networks that are built for one size.
        options: Further arguments of the network, by name; before those that a file of weights says of itself.

    Raises:
        ConfigurationError: If the name is unknown, or what it returns does not keep the contract.
        CheckpointError: If the weights cannot be had or do not fit.
    """
    weights = find_weights(name, weights) if weights is not None else None
    # What a file says of itself is trusted for networks of this registry alone: timm would open what it names.
    known = stored_options(weights, name) if weights is not None and name in _registry else {}
    backbone = _factory(name)(weights, image_size, known | (options or {}))
    if not callable(getattr(backbone, "forward_features", None)) or not hasattr(backbone, "num_features"):
        raise ConfigurationError(
            f"Backbone {name!r} is a {type(backbone).__name__} without forward_features(image) -> (N, C, h, w) "
            "and num_features (= C). Wrap it in a module that has both."
        )
    return backbone


def _factory(name: str) -> BackboneFactory:
    if name in _registry:
        return partial(_call_registered, _registry[name])
    if name in list_torchvision_backbones():
        return partial(_call_torchvision, name)
    if name.startswith(_TIMM) and name.removeprefix(_TIMM).partition(".")[0] in list_timm_backbones():
        return partial(create_timm_backbone, name.removeprefix(_TIMM))
    raise unknown_name("backbone", name, list_backbones())


def _call_torchvision(name: str, weights: str | None, image_size: int | None, options: dict[str, Any]) -> nn.Module:  # noqa: ARG001 any size will do
    if options:
        raise ConfigurationError(
            f"Expected no backbone_options for torchvision's {name}, but got {', '.join(options)}. Leave them out, or "
            "take timm/NAME or a backbone of your own."
        )
    return create_torchvision_backbone(name, weights)


def _call_registered(
    factory: BackboneFactory, weights: str | None, image_size: int | None, options: dict[str, Any]
) -> nn.Module:
    parameters = inspect.signature(factory).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    for option in options:
        if not takes_any and option not in names:
            raise unknown_name("backbone option", option, names - {"weights", "image_size"})
    given = {"weights": weights, "image_size": image_size}
    backbone = factory(**{key: value for key, value in given.items() if takes_any or key in names}, **options)
    if weights is not None and not takes_any and "weights" not in names:
        load_weights(backbone, weights)
    return backbone
