"""What a network does with labels that are known to be wrong."""

import torch
from torch import Tensor
from torchmetrics import Metric

from eac_lightning.errors import unknown_name

PREDICTED_AS = ("given", "clean")


class WrongLabelShare(Metric):
    """Share of the wrongly labelled samples that are predicted as labelled, or as they truly are.

    Only samples with a known clean label that differs from the given one count.

    Args:
        predicted_as: ``"given"`` (the wrong label is memorised) or ``"clean"`` (it is recovered).

    Raises:
        ConfigurationError: If ``predicted_as`` is neither.
    """

    wrong: Tensor
    hits: Tensor
    full_state_update = False

    def __init__(self, predicted_as: str) -> None:
        super().__init__()
        if predicted_as not in PREDICTED_AS:
            raise unknown_name("predicted_as", predicted_as, PREDICTED_AS)
        self.predicted_as = predicted_as
        self.add_state("wrong", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, label: Tensor, clean_label: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (N, K).
            label: (N,) given labels.
            clean_label: (N,) true labels, or ``UNKNOWN_LABEL``.
        """
        wrong = (clean_label >= 0) & (clean_label != label)
        target = label if self.predicted_as == "given" else clean_label
        self.wrong += wrong.sum()
        self.hits += (wrong & (logits.argmax(1) == target)).sum()

    def compute(self) -> Tensor:
        """Return the share in [0, 1]; NaN where no label is known to be wrong."""
        return self.hits / self.wrong
