"""What a checkpoint says of the module in it, so that nothing else is needed to use it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from eac_lightning.answering import Answering
from eac_lightning.errors import CheckpointError

if TYPE_CHECKING:
    from eac_lightning.modules.base import FERModule

CHECKPOINT_KEY = "eac_lightning"
ANSWERING = "answering"
"""Where in that entry stands what is known of the module's answers."""


def describe(module: "FERModule", checkpoint: dict[str, Any]) -> None:
    """Add class, classes, input and origin of ``module`` to ``checkpoint``, in plain types."""
    data = getattr(module._trainer, "datamodule", None)
    checkpoint[CHECKPOINT_KEY] = {
        "class_path": f"{type(module).__module__}.{type(module).__qualname__}",
        "class_names": list(module.class_names),
        "image_size": module.image_size,
        "backbone": module.hparams["backbone"],
        "backbone_options": module.hparams["backbone_options"],
        "weights": module.hparams["weights"],
        # A subclass may have a model of its own kind.
        "mean": _listed(getattr(module.model, "mean", None)),
        "std": _listed(getattr(module.model, "std", None)),
        "alignment": getattr(data, "alignment", None),
        ANSWERING: None if module.answers is None else module.answers.to_dict(),
    }
    # The trained weights are in the checkpoint: the file that they began from must not be needed again.
    if "hyper_parameters" in checkpoint:
        checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], "weights": None}


def _listed(values: Tensor | None) -> list[float] | None:
    return None if values is None else values.flatten().float().tolist()


def restored_answers(about: Mapping[str, Any]) -> Answering | None:
    """Return what :func:`describe` wrote of a module's answers, None if nothing.

    Raises:
        CheckpointError: If it cannot be read.
    """
    stored = about.get(ANSWERING)
    return None if stored is None else Answering.from_dict(stored)


def check_fit(module: "FERModule", about: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of a module with another backbone or other classes, or the same in another order.

    Raises:
        CheckpointError: If ``about``, what :func:`describe` wrote, is not of such a module as this.
    """
    backbone = about.get("backbone", module.hparams["backbone"])
    if backbone != module.hparams["backbone"]:
        raise CheckpointError(
            f"The checkpoint holds the backbone {backbone}, but this module has {module.hparams['backbone']}. Give the "
            f"module the same one (--model.backbone {backbone}), or start without the checkpoint."
        )
    options = about.get("backbone_options", module.hparams["backbone_options"])
    if options != module.hparams["backbone_options"]:
        raise CheckpointError(
            f"The checkpoint's {backbone} was built with {options}, but this module's with "
            f"{module.hparams['backbone_options']}. Give the module the same, or start without the checkpoint."
        )
    names = about.get("class_names", module.class_names)
    if tuple(names) != module.class_names:
        raise CheckpointError(
            f"The checkpoint was trained on {len(names)} classes ({', '.join(names)}), but this module has "
            f"{module.num_classes} ({', '.join(module.class_names)}). Give the data the checkpoint's classes, in "
            "its order (--data.classes), or start without the checkpoint."
        )
