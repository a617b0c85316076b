"""What a network's answers say about a given label: one number a sample, pure functions of a batch.

Loss and margin are of the training set itself, in an evaluation pass without augmentation. Area under the
margin: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020, arXiv
2001.10528. Ranking by the loss of a network trained with EAC: Zhang et al., arXiv 2401.12507.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from eac_lightning.errors import ConfigurationError


def label_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the (N,) cross-entropy ≥ 0 of (N, K) logits and (N,) given labels; high is suspect."""
    return F.cross_entropy(logits, label, reduction="none")


def label_margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the (N,) logit of the given label less the highest other one; low is suspect.

    Its mean over epochs is the area under the margin.

    Raises:
        ConfigurationError: If there is one class only.
    """
    if logits.shape[1] < 2:
        raise ConfigurationError("A margin needs at least two classes, but the logits have one.")
    others = logits.scatter(1, label[:, None], -torch.inf)
    return logits.gather(1, label[:, None])[:, 0] - others.amax(1)


def flip_consistency(maps: Tensor, mirrored: Tensor, label: Tensor) -> Tensor:
    """Return how well the given class's map of a face agrees with that of its mirror image.

    The cosine of the angle between both maps, the second one mirrored back, which does not depend on their scale: a
    map that is small everywhere is not thereby consistent.

    Args:
        maps: (N, K, h, w) maps of the faces.
        mirrored: (N, K, h, w) maps of their mirror images.
        label: (N,) given labels.

    Returns:
        (N,) in [-1, 1]; 1 for a mirrored pair. Low is suspect.
    """
    rows = torch.arange(len(label), device=label.device)
    return F.cosine_similarity(maps[rows, label].flatten(1), mirrored.flip(-1)[rows, label].flatten(1), dim=1)


def view_agreement(logits: Tensor, mirrored: Tensor) -> Tensor:
    """Return how much the predictions for a face and for its mirror image overlap: Σ √(p q), in [0, 1].

    Args:
        logits: (N, K) of the faces.
        mirrored: (N, K) of their mirror images.
    """
    return (0.5 * (logits.log_softmax(1) + mirrored.log_softmax(1))).exp().sum(1)
