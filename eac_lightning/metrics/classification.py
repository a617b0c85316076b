"""Accuracy, mean-class accuracy, macro-F1 and precision, recall and calibration, all from two tables of counts."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from eac_lightning.metrics.calibration import BINS, calibration_error, count_by_confidence


class ClassificationReport(MulticlassConfusionMatrix):
    """The field's figures, exact over batches and ranks because counts are what is summed.

    Update with (N, K) logits or (N,) predictions, and (N,) labels. Classes that no label names count in no mean.
    """

    calibration: Tensor

    def __init__(self, num_classes: int, validate_args: bool = True) -> None:
        super().__init__(num_classes, validate_args=validate_args)
        self.add_state("calibration", torch.zeros(3, BINS, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch; how confident a prediction is can be told from logits alone."""
        super().update(preds, target)
        if preds.is_floating_point():
            # The maximum of rounded probabilities may be another class than that of the logits.
            correct = preds.argmax(1) == target
            self.calibration += count_by_confidence(preds.float().softmax(1).amax(1), correct)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        """Return what :func:`classification_report` does, and ``ece`` in [0, 1] where logits were given.

        ``ece`` is the expected calibration error in 15 bins, see
        :func:`~eac_lightning.metrics.calibration.calibration_error`.
        """
        report = classification_report(self.confmat)
        if self.calibration.any():
            report["ece"] = calibration_error(self.calibration).float()
        return report


def classification_report(confusion: Tensor) -> dict[str, Tensor]:
    """Return the figures of a confusion matrix.

    Args:
        confusion: (K, K) counts; rows are true labels, columns predictions.

    Returns:
        ``accuracy``: correct / all. ``recall`` (K,): correct / all of a class, NaN where it has none.
        ``mean_class_accuracy``: mean recall. ``macro_f1``: mean of 2·TP / (2·TP + FP + FN). ``macro_precision``: mean
        of TP / (TP + FP), which is 0 for a class that is never predicted. The means are over the classes that have a
        sample; all but ``recall`` are scalars in [0, 1].
    """
    counts = confusion.cpu().double()  # float64 is not to be had on every accelerator
    correct, support, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    recall = correct / support  # 0 / 0 is NaN
    f1 = 2 * correct / (support + predicted)
    precision = correct / predicted.clamp(min=1)
    present = support > 0
    return {
        "accuracy": (correct.sum() / support.sum()).float(),
        "mean_class_accuracy": recall[present].mean().float(),
        "macro_f1": f1[present].mean().float(),
        "macro_precision": precision[present].mean().float(),
        "recall": recall.to(torch.float32),
    }
