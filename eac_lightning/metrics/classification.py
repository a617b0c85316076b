"""Overall accuracy, mean-class accuracy, macro-F1 and recall, all from one confusion matrix."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix


class ClassificationReport(MulticlassConfusionMatrix):
    """The field's figures, exact over batches and ranks because counts are what is summed.

    Update with (N, K) logits or (N,) predictions, and (N,) labels. Classes that no label names count in neither
    mean.
    """

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        """Return ``accuracy``, ``mean_class_accuracy``, ``macro_f1`` (scalars in [0, 1]) and ``recall`` (K,).

        The recall of a class without a sample is NaN.
        """
        return classification_report(self.confmat)


def classification_report(confusion: Tensor) -> dict[str, Tensor]:
    """Return the figures of a confusion matrix.

    Args:
        confusion: (K, K) counts; rows are true labels, columns predictions.

    Returns:
        ``accuracy``: correct / all. ``recall`` (K,): correct / all of a class, NaN where it has none.
        ``mean_class_accuracy``: mean recall. ``macro_f1``: mean of 2·TP / (2·TP + FP + FN). Both means are over
        the classes that have a sample.
    """
    counts = confusion.cpu().double()  # float64 is not to be had on every accelerator
    correct, support, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    recall = correct / support  # 0 / 0 is NaN
    f1 = 2 * correct / (support + predicted)
    present = support > 0
    return {
        "accuracy": (correct.sum() / support.sum()).float(),
        "mean_class_accuracy": recall[present].mean().float(),
        "macro_f1": f1[present].mean().float(),
        "recall": recall.to(torch.float32),
    }
