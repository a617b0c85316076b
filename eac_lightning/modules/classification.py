"""Plain training with cross-entropy: what every method is compared with."""

from typing import Any

from eac_lightning.modules.base import FERModule
from eac_lightning.types import StepOutput


class ClassificationModule(FERModule):
    """One pass, one cross-entropy. Arguments are those of :class:`~eac_lightning.modules.base.FERModule`."""

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return the cross-entropy of a batch against its soft labels where it has them, else its labels."""
        unpacked = self.unpack(batch)
        logits = self(unpacked["image"])
        return StepOutput(self.classification_loss(logits, unpacked.get("soft_label", unpacked["label"])), logits, {})
