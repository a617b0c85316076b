"""Backbones by name: the registry, and the contract that every one of them keeps.

A backbone is an ``nn.Module`` with ``forward_features(image) -> (N, C, h, w)`` and ``num_features == C``. It may
declare ``mean`` and ``std`` (of RGB in [0, 1]; ImageNet's otherwise) and ``output_stride`` (pixels per cell).
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from torch import nn

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.models.mobilefacenet import MobileFaceNet
from eac_lightning.models.resnet8 import ResNet8
from eac_lightning.models.timm_backbone import create_timm_backbone, list_timm_backbones
from eac_lightning.models.torchvision_backbone import create_torchvision_backbone, list_torchvision_backbones
from eac_lightning.models.weights import load_weights

BackboneFactory = Callable[..., nn.Module]
Factory = TypeVar("Factory", bound=BackboneFactory)

_TIMM = "timm/"
_registry: dict[str, BackboneFactory] = {"mobilefacenet": MobileFaceNet, "resnet8": ResNet8}


def register_backbone(name: str) -> Callable[[Factory], Factory]:
    """Make a callable that returns a backbone known as ``name``.

    It is called with ``weights=`` and ``image_size=`` if it takes them; where it takes no ``weights``, a file of
    weights is loaded into what it returns.

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


def create_backbone(name: str, weights: str | None = None, image_size: int | None = None) -> nn.Module:
    """Return the backbone of that name.

    Args:
        name: A registered name, a torchvision name such as ``resnet18``, or ``timm/NAME``.
        weights: ``None`` for random weights, a name that its publisher gave them (``DEFAULT``, ``IMAGENET1K_V1``;
            timm: ``pretrained`` or a tag), or the path of a file.
        image_size: Side of the input in pixels, for networks that are built for one size.

    Raises:
        ConfigurationError: If the name is unknown, or what it returns does not keep the contract.
        CheckpointError: If the weights cannot be had or do not fit.
    """
    backbone = _factory(name)(weights=weights, image_size=image_size)
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
        return lambda weights, image_size: create_torchvision_backbone(name, weights)  # noqa: ARG005 any size will do
    if name.startswith(_TIMM) and name.removeprefix(_TIMM).partition(".")[0] in list_timm_backbones():
        return partial(create_timm_backbone, name.removeprefix(_TIMM))
    raise unknown_name("backbone", name, list_backbones())


def _call_registered(factory: BackboneFactory, weights: str | None, image_size: int | None) -> nn.Module:
    parameters = inspect.signature(factory).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    given = {"weights": weights, "image_size": image_size}
    backbone = factory(**{key: value for key, value in given.items() if takes_any or key in names})
    if weights is not None and not takes_any and "weights" not in names:
        load_weights(backbone, weights)
    return backbone
