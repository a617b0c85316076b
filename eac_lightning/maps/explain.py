"""From faces and a trained module to what a panel shows: predictions, maps, and the maps of the twins."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning.answering import Answering
from eac_lightning.batch import to_float_rgb
from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.maps.gradient_cam import gradient_cam, load_extractor
from eac_lightning.maps.undisturbed import undisturbed
from eac_lightning.modules.base import FERModule
from eac_lightning.types import UNKNOWN_LABEL
from eac_lightning.visualization import CAMSample

METHODS = ("cam", "grad_cam", "layer_cam")
"""``cam``: the maps that the classifier itself sums up; the others need torchcam and fit any network."""


def check_method(module: FERModule, method: str) -> None:
    """Refuse a method that this module or this installation cannot serve, before anything is computed.

    Raises:
        ConfigurationError: If the method is unknown, needs torchcam where it is not installed, or needs maps
            that the module's network does not define.
    """
    if method not in METHODS:
        raise unknown_name("CAM method", method, METHODS)
    if method != "cam":
        load_extractor(method)
        return
    inherited = type(module).logits_and_maps is FERModule.logits_and_maps
    network = getattr(module, "model", None)  # absent until the module knows its classes
    if inherited and network is not None and not hasattr(network, "logits_and_maps"):
        raise ConfigurationError(
            f"{type(module).__name__}.model is a {type(network).__name__}, which defines no class activation "
            "maps (no logits_and_maps). Override the module's logits_and_maps, or take method='grad_cam' or "
            "'layer_cam'."
        )


def explain(
    module: FERModule,
    image: Tensor,
    given: Tensor | None = None,
    clean: Tensor | None = None,
    *,
    method: str = "cam",
) -> list[CAMSample]:
    """Return, for each face, what the module predicts and where it looks, there and in its flipped twin.

    The module's modes, gradients, hooks and random state stay as they are.

    Args:
        module: A module that knows its classes, on any device.
        image: (N, 1 or 3, H, W), as the module takes it.
        given: (N,) given labels, ``UNKNOWN_LABEL`` where there is none.
        clean: (N,) clean labels, likewise.
        method: One of :data:`METHODS`.

    Raises:
        ConfigurationError: See :func:`check_method`.
    """
    check_method(module, method)
    unknown = torch.full((len(image),), UNKNOWN_LABEL)
    given = unknown if given is None else given.cpu()
    clean = unknown if clean is None else clean.cpu()
    image = to_float_rgb(image).to(module.device, module.dtype)  # type: ignore[arg-type]
    with undisturbed(module), torch.no_grad():
        logits = module(image)
    confidence, predicted = (module.answers or Answering()).probabilities(logits.float()).max(1)
    asked = torch.where(given == UNKNOWN_LABEL, predicted.cpu(), given)
    face_maps, given_maps = _maps(module, image, (predicted.cpu(), asked), method)
    (twin_maps,) = _maps(module, image.flip(-1), (predicted.cpu(),), method)
    return [
        CAMSample(
            image=_displayable(image[index]),
            predicted=int(predicted[index]),
            confidence=float(confidence[index]),
            predicted_map=face_maps[index],
            twin_map=twin_maps[index, :, ::-1],
            given=int(given[index]),
            clean=int(clean[index]),
            given_map=given_maps[index] if given[index] != UNKNOWN_LABEL else None,
        )
        for index in range(len(image))
    ]


def _maps(module: FERModule, image: Tensor, classes: tuple[Tensor, ...], method: str) -> list[NDArray[np.float32]]:
    """Return an (N, h, w) array for each of ``classes``, which are (N,)."""
    if method == "cam":
        with undisturbed(module), torch.no_grad():
            every = module.attention_maps(image)
        chosen = [every[torch.arange(len(image)), index] for index in classes]
    else:
        chosen = [gradient_cam(module, image, index, method) for index in classes]  # type: ignore[arg-type]
    return [maps.float().cpu().numpy() for maps in chosen]


def _displayable(image: Tensor) -> NDArray[np.float32]:
    """Return (H, W, 3) in [0, 1]; a face that came normalised is stretched to its own range."""
    face = image.float().cpu()
    low, high = face.aminmax()
    if low < -0.01 or high > 1.01:
        face = (face - low) / (high - low)
    pixels: NDArray[np.float32] = face.clamp(0, 1).permute(1, 2, 0).numpy()
    return pixels
