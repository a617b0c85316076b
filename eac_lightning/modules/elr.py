"""Early-learning regularisation.

Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy Labels",
NeurIPS 2020, arXiv 2007.00151, equations 6 and 9.
"""

from typing import Any

import torch
from torch import Tensor

from eac_lightning.batch import sample_index
from eac_lightning.modules.arguments import check_range
from eac_lightning.modules.sample_memory import RememberingModule, SampleMemory
from eac_lightning.types import StepOutput

_LEAST = 1e-4


class ELRModule(RememberingModule):
    """Cross-entropy, and a pull to what the network itself said of a face in earlier epochs.

    ``loss = CE + regularization_weight · mean_i log(1 − ⟨t_i, p_i⟩)`` with the running mean of a face's predictions
    ``t_i ← target_momentum · t_i + (1 − target_momentum) · p_i``. A network learns the right labels before it
    memorises the wrong ones: the second term keeps it at what it said then.

    Args:
        num_classes: See :class:`~eac_lightning.modules.base.FERModule`, likewise ``class_names``, ``backbone``,
            ``weights``, ``normalize``, ``lr``, ``weight_decay``, ``lr_decay``, ``image_size``, ``seed``,
            ``backbone_options``, ``loss``, ``loss_options``, ``fused_optimizer``,
            ``compile_backbone``, ``mixing``, ``mixing_options`` and ``force_mixing``.
        regularization_weight: λ ≥ 0; 3 is the paper's for 10 classes (7 for 100).
        target_momentum: β in [0, 1]; 0.7 is the paper's for 10 classes (0.9 for 100).

    Raises:
        ConfigurationError: If an argument lies outside its range, or mixing does not go with the method.
    """

    mixing_conflict = "what it remembers of a face would be what the network said of a mixture with another one."

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        normalize: bool = True,
        regularization_weight: float = 3.0,
        target_momentum: float = 0.7,
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
        check_range("regularization_weight", regularization_weight)
        check_range("target_momentum", target_momentum, 1.0)
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
        """Build the network, and the memory of the targets t."""
        super().configure_models()
        self.memory = SampleMemory((self.num_classes,))

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return the loss against this step's targets, both terms as logs, and the (N, K) targets to keep."""
        unpacked = self.unpack(batch)
        index = sample_index(unpacked, type(self).__name__)
        logits = self(unpacked["image"])
        # Where a prediction is as good as certain, the logarithm would have no end.
        p = logits.softmax(1).clamp(_LEAST, 1 - _LEAST)
        target = self._move_targets(self.memory.get(index).to(p), p.detach())
        classification = self.classification_loss(logits, unpacked.get("soft_label", unpacked["label"]))
        regularization = torch.log1p(-(target * p).sum(1)).mean()
        loss = classification + self.hparams["regularization_weight"] * regularization
        logs = {"classification": classification.detach(), "regularization": regularization.detach()}
        return StepOutput(loss, logits, logs, memory=target)

    def _move_targets(self, target: Tensor, p: Tensor) -> Tensor:
        momentum: float = self.hparams["target_momentum"]
        return momentum * target + (1 - momentum) * p / p.sum(1, keepdim=True)
