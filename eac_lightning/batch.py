"""Any batch that a loader may yield, brought to the one form that modules work on."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.types import Batch

TUPLE_KEYS = ("image", "label", "index")
MOST_SAMPLES = 2**27
"""What is kept by sample index grows to the largest: beyond this it is no number of a sample."""


def unpack_batch(batch: Any, num_classes: int, device: torch.device | None = None, labelled: bool = True) -> Batch:
    """Return the batch as a dict with float RGB images.

    Args:
        batch: A dict (see :class:`~eac_lightning.types.Batch`), ``(image, label)`` or ``(image, label, index)``.
        num_classes: K; labels are checked to lie in [0, K), and become int64.
        device: Where the tensors shall be; where they are, if None.
        labelled: Whether to look at the labels; otherwise they may be unknown (-1). An accelerator is waited for.

    Raises:
        DataError: If the batch has another form, a label lies outside the classes, or soft labels are no
            distributions over them.
    """
    if isinstance(batch, Mapping):
        fields = dict(batch)
    elif isinstance(batch, Sequence) and 2 <= len(batch) <= 3:
        fields = dict(zip(TUPLE_KEYS, batch, strict=False))
    else:
        raise DataError(
            "Expected a batch as a dict with image and label, as (image, label) or as (image, label, index), but got "
            f"{_describe(batch)}. Let your dataset return one of these."
        )
    if not isinstance(fields.get("image"), Tensor) or not isinstance(fields.get("label"), Tensor):
        raise DataError(
            f"Expected the batch's image and label to be tensors, but got {_describe(batch)}. "
            "Let your dataset return one of the documented forms."
        )
    if device is not None:
        fields = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in fields.items()}
    fields["image"] = to_float_rgb(fields["image"])
    if labelled:
        check_labels(fields["label"], num_classes)
        if "soft_label" in fields:
            check_soft_labels(fields["soft_label"], len(fields["label"]), num_classes)
    fields["label"] = fields["label"].long()
    return cast(Batch, fields)


def sample_index(batch: Batch, who: str) -> Tensor:
    """Return the (N,) int64 indexes of an unpacked batch's samples.

    Args:
        batch: As :func:`unpack_batch` returns it.
        who: Who needs them, for the error.

    Raises:
        ConfigurationError: If the batch has none.
        DataError: If they are not (N,) integers of at least 0, or too large to be numbers of samples.
    """
    if "index" not in batch:
        raise ConfigurationError(
            f"{who} keeps what it learns of each sample by its index, but the batch has none. Let the dataset return "
            "(image, label, index), or a dict with index: the sample's number from 0, in every epoch the same."
        )
    index: Any = batch["index"]
    if not isinstance(index, Tensor) or index.shape != batch["label"].shape or index.is_floating_point():
        found = f"{tuple(index.shape)} of {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
        raise DataError(
            f"Expected the batch's index to be a tensor of {len(batch['label'])} integers, the numbers of its samples, "
            f"but got {found}."
        )
    index = index.long()
    check_sample_index(index)
    return cast(Tensor, index)


def check_sample_index(index: Tensor) -> None:
    """Refuse indexes that are no numbers of samples.

    Raises:
        DataError: If one is below 0, or so large that a memory by index would not fit.
    """
    if not len(index):
        return
    low, high = _bounds(index)
    if low < 0 or high >= MOST_SAMPLES:
        raise DataError(
            f"Expected sample indexes from 0 to {MOST_SAMPLES - 1}, but found {low if low < 0 else high}. Number the "
            "samples of the training set from 0."
        )


def to_float_rgb(image: Tensor) -> Tensor:
    """Return (N, 3, H, W) float images: uint8 divided by 255, grey repeated, float left as it is.

    Raises:
        DataError: If the images are not (N, 1 or 3, H, W), or of an integer type other than uint8.
    """
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise DataError(
            f"Expected images of shape (N, 3, H, W) or (N, 1, H, W), but got {tuple(image.shape)}. "
            "Add a batch dimension, and put the channels first."
        )
    if image.dtype == torch.uint8:
        image = image.to(torch.get_default_dtype()).div_(255)
    elif not image.is_floating_point():
        raise DataError(f"Expected uint8 or float images, but got {image.dtype}. Convert them to one of the two.")
    return image.expand(-1, 3, -1, -1)


def check_labels(label: Tensor, num_classes: int) -> None:
    """Refuse labels that lie outside the classes, which metrics would silently miscount.

    Raises:
        DataError: If a label is below 0 or not below ``num_classes``, or labels are not (N,) integers.
    """
    if label.ndim != 1 or label.is_floating_point():
        raise DataError(
            f"Expected labels of shape (N,) and an integer type, but got {tuple(label.shape)} of {label.dtype}. "
            "Soft labels go into the batch as soft_label, beside label."
        )
    if label.numel():
        low, high = _bounds(label)
        if low < 0 or high >= num_classes:
            found = low if low < 0 else high
            raise DataError(
                f"Expected labels from 0 to {num_classes - 1} ({num_classes} classes), but found {found}. "
                "Number the classes from 0, or give the module the number of classes that the data has."
            )


def check_soft_labels(soft: Any, samples: int, num_classes: int) -> None:
    """Refuse soft labels that are not one distribution over the classes for each sample.

    Raises:
        DataError: If they are not (N, K) floats of at least 0 whose rows sum to 1.
    """
    if not isinstance(soft, Tensor) or soft.shape != (samples, num_classes) or not soft.is_floating_point():
        found = f"{tuple(soft.shape)} of {soft.dtype}" if isinstance(soft, Tensor) else type(soft).__name__
        raise DataError(
            f"Expected soft_label to be floats of shape ({samples}, {num_classes}), a distribution over the classes "
            f"for each face, but got {found}."
        )
    # Sums in half precision are out by some thousandths.
    if not bool(((soft >= 0).all(1) & ((soft.sum(1) - 1).abs() < 0.02)).all()):
        raise DataError(
            f"Expected each row of soft_label to be at least 0 and sum to 1, but found {soft.min():g} as the least "
            f"value and sums from {soft.sum(1).min():g} to {soft.sum(1).max():g}. Divide votes by their number."
        )


def _bounds(values: Tensor) -> tuple[int, int]:
    """Return the least and the greatest of some integers, for which the device is waited for once."""
    low, high = torch.stack(values.aminmax()).tolist()
    return low, high


def check_image_range(image: Tensor) -> None:
    """Refuse images that are not in [0, 1], which would be normalised twice or not at all.

    Raises:
        ConfigurationError: If a value of the (N, 3, H, W) images lies outside.
    """
    low, high = (float(bound) for bound in image.aminmax())
    if low < -0.01 or high > 1.01:
        raise ConfigurationError(
            f"Expected images in [0, 1], but this batch reaches from {low:.2f} to {high:.2f}. If your DataModule "
            "normalises, say normalize=False; if it yields 0 to 255, yield uint8 or divide by 255."
        )


def _describe(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return "a dict with " + ", ".join(f"{key} ({type(value).__name__})" for key, value in batch.items())
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return f"{type(batch).__name__} of {len(batch)} ({', '.join(type(item).__name__ for item in batch)})"
    return type(batch).__name__
