"""What passes between the rooms: a batch, and what a training step computed."""

from typing import NamedTuple, NotRequired, TypedDict

from torch import Tensor

UNKNOWN_LABEL = -1
"""The clean label of a sample whose clean label nobody knows: unknown is not wrong."""

LEFT_OUT = "left out"
"""The split of a picture that is used for nothing, but keeps its row, so that all others keep their index."""


class Batch(TypedDict):
    """A batch of N faces.

    Keys:
        image: (N, 3, H, W) float RGB in [0, 1]; a loader may yield (N, 1 or 3, H, W) uint8.
        label: (N,) int64, the given label, in [0, K).
        index: (N,) int64, the sample's stable id in its data set.
        clean_label: (N,) int64, the true label, or ``UNKNOWN_LABEL``.
        soft_label: (N, K) float, a distribution over the classes that sums to 1.
    """

    image: Tensor
    label: Tensor
    index: NotRequired[Tensor]
    clean_label: NotRequired[Tensor]
    soft_label: NotRequired[Tensor]


class StepOutput(NamedTuple):
    """What ``compute_loss`` returns.

    Attributes:
        loss: The scalar to minimise.
        logits: (N, K), the prediction that training metrics are computed from; None where the step uses no labels.
        logs: Scalars to log as ``train/<name>``.
        memory: (N, …), what a method with a memory of samples keeps of each until it sees it again; None otherwise.
    """

    loss: Tensor
    logits: Tensor | None
    logs: dict[str, Tensor]
    memory: Tensor | None = None
