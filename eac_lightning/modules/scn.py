"""The self-cure network.

Wang, Peng, Yang, Lu, Qiao, "Suppressing Uncertainties for Large-Scale Facial Expression Recognition", CVPR 2020,
arXiv 2002.10392, equations 1 to 5.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eac_lightning.batch import sample_index
from eac_lightning.losses.rank_regularization import rank_regularization, split_by_importance
from eac_lightning.modules.arguments import check_range
from eac_lightning.modules.sample_memory import RememberingModule, SampleMemory
from eac_lightning.types import UNKNOWN_LABEL, Batch, StepOutput


class SCNModule(RememberingModule):
    """Faces of little importance weigh less, are ranked apart from the others, and get new labels.

    A linear layer on the pooled features gives each face an importance α in (0, 1).

    ``loss = (1 − rank_weight) · CE(α · logits) + rank_weight · max(0, rank_margin − (mean α of the important ones −
    mean α of the others))``, where the important ones are the ``importance_share`` of the batch with the highest α.

    From ``relabel_epoch`` on each of the others is trained as what the network takes it for, if that class is more
    probable than the given one by ``relabel_margin``, and as given if not. Such labels are the module's, by the
    sample's index, saved with it; the data set keeps its own. Validation reads plain logits, on which α has no say,
    and so does the new label. Each process ranks its own part of a batch.

    Args:
        num_classes: See :class:`~eac_lightning.modules.base.FERModule`, likewise ``class_names``, ``backbone``,
            ``weights``, ``normalize``, ``lr``, ``weight_decay``, ``lr_decay``, ``image_size``, ``seed``,
            ``backbone_options``, ``loss``, ``loss_options``, ``fused_optimizer``,
            ``compile_backbone``, ``mixing``, ``mixing_options`` and ``force_mixing``.
        importance_share: β, in [0, 1]; both groups have at least one face.
        rank_margin: δ1, in [0, 1].
        relabel_margin: δ2, in [0, 1]; 1 relabels nobody.
        relabel_epoch: The first epoch, from 0, that relabels. Without a Trainer there are no epochs, and the loop that
            calls :meth:`remember` relabels.
        rank_weight: γ, in [0, 1].

    Raises:
        ConfigurationError: If an argument lies outside its range, or mixing does not go with the method.
    """

    mixing_conflict = "the importance and the new label that it gives to a face would be those of a mixture."

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        normalize: bool = True,
        importance_share: float = 0.7,
        rank_margin: float = 0.15,
        relabel_margin: float = 0.2,
        relabel_epoch: int = 10,
        rank_weight: float = 0.5,
        lr: float = 1e-4,
        weight_decay: float = 1e-4,
        lr_decay: float = 0.9,
        image_size: int | None = None,
        seed: int | None = None,
        backbone_options: dict[str, Any] | None = None,
        loss: str = "cross_entropy",
        loss_options: dict[str, Any] | None = None,
        fused_optimizer: bool = True,
        compile_backbone: bool = False,
        mixing: str | None = None,
        mixing_options: dict[str, Any] | None = None,
        force_mixing: bool = False,
    ) -> None:
        for name, value in (
            ("importance_share", importance_share),
            ("rank_margin", rank_margin),
            ("relabel_margin", relabel_margin),
            ("rank_weight", rank_weight),
        ):
            check_range(name, value, 1.0)
        check_range("relabel_epoch", relabel_epoch)
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            backbone=backbone,
            weights=weights,
            normalize=normalize,
            lr=lr,
            weight_decay=weight_decay,
            lr_decay=lr_decay,
            image_size=image_size,
            seed=seed,
            backbone_options=backbone_options,
            loss=loss,
            loss_options=loss_options,
            fused_optimizer=fused_optimizer,
            compile_backbone=compile_backbone,
            mixing=mixing,
            mixing_options=mixing_options,
            force_mixing=force_mixing,
        )

    def configure_models(self) -> None:
        """Build the network, the layer that tells the importance, and the memory of the new labels."""
        super().configure_models()
        self.importance_layer = nn.Linear(self.model.classifier.in_features, 1)
        self.memory = SampleMemory(default=UNKNOWN_LABEL)

    def importance(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to their (N,) importance in (0, 1)."""
        return self._importance(self._feature_map(image))

    def _importance(self, feature_map: Tensor) -> Tensor:
        alpha: Tensor = self.importance_layer(feature_map.mean((2, 3)))
        return alpha.squeeze(1).to(self.importance_layer.weight.dtype).sigmoid()

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return the loss, plain logits, both terms and the share of new labels, and the (N,) new labels to keep."""
        unpacked = self.unpack(batch)
        kept = self.memory.get(sample_index(unpacked, type(self).__name__))
        feature_map = self._feature_map(unpacked["image"])
        logits, _ = self.model.logits_and_maps(feature_map)
        alpha = self._importance(feature_map)
        classification = self.classification_loss(alpha[:, None] * logits, self._target(unpacked, kept))
        share, weight = self.hparams["importance_share"], self.hparams["rank_weight"]
        rank = rank_regularization(alpha, share, self.hparams["rank_margin"])
        logs = {
            "classification": classification.detach(),
            "rank": rank.detach(),
            "relabelled": (kept != UNKNOWN_LABEL).float().mean(),
        }
        _, low = split_by_importance(alpha.detach(), share)
        memory = kept.index_copy(0, low, self._relabel(logits.detach()[low], unpacked["label"][low]))
        return StepOutput((1 - weight) * classification + weight * rank, logits, logs, memory)

    def _target(self, batch: Batch, kept: Tensor) -> Tensor:
        """Return labels or distributions, in which new labels stand for the given ones."""
        relabelled = kept != UNKNOWN_LABEL
        label = torch.where(relabelled, kept, batch["label"])
        if "soft_label" not in batch:
            return label
        soft = batch["soft_label"]
        return torch.where(relabelled[:, None], F.one_hot(label, self.num_classes).to(soft), soft)

    def _relabel(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the new labels of faces of little importance; ``UNKNOWN_LABEL`` where the given one stays."""
        probabilities = logits.softmax(1)
        highest, predicted = probabilities.max(1)
        given = probabilities.gather(1, label[:, None]).squeeze(1)
        return torch.where(highest - given > self.hparams["relabel_margin"], predicted, UNKNOWN_LABEL)

    def remember(self, batch: Any, output: StepOutput) -> None:
        """Write the new labels, from ``relabel_epoch`` on."""
        if self._trainer is None or self.current_epoch >= self.hparams["relabel_epoch"]:
            super().remember(batch, output)
