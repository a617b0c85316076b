"""Relative uncertainty learning.

Zhang, Wang, Deng, "Relative Uncertainty Learning for Facial Expression Recognition", NeurIPS 2021.
"""

from typing import Any

import torch
from torch import Tensor, nn

from eac_lightning.batch import to_float_rgb
from eac_lightning.errors import ConfigurationError
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules.base import FERModule
from eac_lightning.types import StepOutput


class UncertainClassifier(CAMClassifier):
    """A :class:`CAMClassifier` on a projection of the backbone's map, and a branch that tells how hard a face is.

    A 1×1 convolution commutes with average pooling: the projected map pools to the feature that the classifier reads,
    so that attention maps stay exact.

    Args:
        backbone: ``forward_features(image) -> (N, C, h, w)`` and ``num_features == C``.
        num_classes: K ≥ 2.
        normalize: See :class:`CAMClassifier`.
        feature_size: D, channels of the projected map.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, normalize: bool = True, feature_size: int = 64) -> None:
        super().__init__(backbone, num_classes, normalize)
        channels = self.classifier.in_features
        self.projection = nn.Conv2d(channels, feature_size, 1)
        self.uncertainty = nn.Linear(channels, 1)
        self.classifier = nn.Linear(feature_size, num_classes)
        self.to(memory_format=torch.channels_last)

    def feature_map(self, normalized: Tensor) -> Tensor:
        """Map (N, 3, H, W) normalised faces to the (N, D, h, w) projected map."""
        return self.branches(normalized)[0]

    def branches(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 3, H, W) normalised faces to the (N, D, h, w) map of the feature μ, and to (N,) log σ."""
        features = super().feature_map(normalized)
        log_sigma: Tensor = self.uncertainty(features.mean((2, 3)))
        return self.projection(features), log_sigma.squeeze(1).to(self.uncertainty.weight.dtype)


class RULModule(FERModule):
    """Each face is mixed with another of its batch, by how uncertain both are, and must be recognised as both.

    Two branches on the backbone give a feature μ of D numbers and an uncertainty σ > 0. With a random partner j,

    ``μ_mix = (σ_i · μ_i + σ_j · μ_j) / (σ_i + σ_j)`` and ``loss = CE(μ_mix, label_i) + CE(μ_mix, label_j)``.

    What is easy to recognise shows even in a small share, so that the sum falls where the harder face of the two gets
    the larger one: σ becomes how hard a face is beside others, with no distribution assumed. Validation reads the
    logits of μ alone.

    Args:
        num_classes: See :class:`~eac_lightning.modules.base.FERModule`, likewise ``class_names``, ``backbone``,
            ``weights``, ``normalize``, ``lr``, ``weight_decay``, ``lr_decay``, ``image_size``, ``seed``,
            ``backbone_options``, ``loss``, ``loss_options``, ``fused_optimizer``,
            ``compile_backbone``, ``mixing``, ``mixing_options`` and ``force_mixing``.
        feature_size: D ≥ 1; 64 is the paper's.

    Raises:
        ConfigurationError: If ``feature_size`` is below 1, or mixing does not go with the method.
    """

    model: UncertainClassifier
    mixing_conflict = "it mixes the features of faces itself, and how hard a face is it could not tell of a mixture."

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        normalize: bool = True,
        feature_size: int = 64,
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
        if feature_size < 1:
            raise ConfigurationError(f"Expected feature_size to be at least 1, but got {feature_size}.")
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
        """Build the network with both branches."""
        super().configure_models()
        self.model = UncertainClassifier(
            self.model.backbone, self.num_classes, self.hparams["normalize"], self.hparams["feature_size"]
        )

    def uncertainty(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to their (N,) log σ, which means something only beside that of other images."""
        return self._branches(image)[1]

    def _branches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.branches(self.model.normalize(to_float_rgb(image).to(self.device)))

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return the add-up loss under partners drawn from torch's generator, and the logits of μ."""
        unpacked = self.unpack(batch)
        feature_map, log_sigma = self._branches(unpacked["image"])
        logits, _ = self.model.logits_and_maps(feature_map)
        partner = torch.randperm(len(logits), device=logits.device)
        # The shares sum to 1 and the classifier is linear: to mix its answers is to mix the features.
        share = (log_sigma - log_sigma[partner]).sigmoid()[:, None]
        mixed = share * logits + (1 - share) * logits[partner]
        target = unpacked.get("soft_label", unpacked["label"])
        loss = self.classification_loss(mixed, target) + self.classification_loss(mixed, target[partner])
        return StepOutput(loss, logits, {})
