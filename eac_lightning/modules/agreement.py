"""What a DataModule tells a module, and whether the two agree."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.classification import missing_class_counts

_log = logging.getLogger("eac_lightning")


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of ``count`` classes of which only the number is known."""
    return tuple(str(label) for label in range(count))


def told_class_names(data: object) -> list[str]:
    """Return the classes that a DataModule tells of, as names or as a number; empty if it does not."""
    names = getattr(data, "class_names", None)
    if names:
        return [str(name) for name in names]
    count = getattr(data, "num_classes", None)
    return list(numbered(count)) if isinstance(count, int) else []


def told_image_size(data: object) -> int | None:
    """Return the side in pixels of the images that a DataModule says it yields."""
    size = getattr(data, "image_size", None)
    return size if isinstance(size, int) else None


def check_agreement(
    class_names: Sequence[str], image_size: int | None, data_names: Sequence[str], data_size: int | None
) -> None:
    """Refuse data of other classes, of the same in another order, or of another size than the module's.

    Args:
        class_names: The module's classes; empty where unknown, mere numbers where only their number is.
        image_size: The module's image side in pixels, if it has one.
        data_names: The data's classes; empty where unknown.
        data_size: The data's image side in pixels, where known.

    Raises:
        ConfigurationError: If they differ.
    """
    own, told = tuple(class_names), tuple(data_names)
    comparable = numbered(len(told)) if own == numbered(len(own)) else told
    if own and told and own != comparable:
        raise ConfigurationError(
            f"The module has {len(own)} classes ({', '.join(own)}), the data {len(told)} ({', '.join(told)}). Give "
            "both the same classes in the same order: --data.classes on the data, or leave the module's "
            "num_classes and class_names out."
        )
    if data_size is not None and image_size not in (None, data_size):
        raise ConfigurationError(
            f"The module was built for images of {image_size} px, but the data yields {data_size} px. Give the data "
            "the module's image_size, or leave the module's out."
        )


def with_class_counts(loss: str, options: Mapping[str, Any] | None, data: object) -> dict[str, Any]:
    """Return a loss's options with the faces of each class, as they were given or else as the DataModule tells.

    Args:
        loss: A loss that follows from them.
        options: Its options.
        data: The DataModule; ``class_counts`` are those of its training split.

    Raises:
        ConfigurationError: If neither says them, or the DataModule in another form.
    """
    given = (options or {}).get("class_counts")
    told = _told_class_counts(data)
    if given is None and told is None:
        raise ConfigurationError(missing_class_counts(loss))
    if getattr(data, "sampler", None) == "balanced":
        _log.warning("sampler='balanced' shows all classes equally often, and the loss %s makes up for it again.", loss)
    if given is not None and told not in (None, list(given)):
        _log.warning(
            "The loss %s was given class_counts %s, and the training faces have %s: it keeps to what it was given. "
            "Set class_counts to None in loss_options to have them counted.",
            loss,
            list(given),
            told,
        )
    return {**(options or {}), "class_counts": told if given is None else list(given)}


def _told_class_counts(data: object) -> list[int] | None:
    found = getattr(data, "class_counts", None)
    if found is None:
        return None
    counts = np.asarray(found)  # of a dict: itself, whose keys would pass for counts
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ConfigurationError(
            f"Expected the DataModule's class_counts to be a whole number for each class, but got {found!r}. Give a "
            "list, in the order of the classes."
        )
    return [int(count) for count in counts]
