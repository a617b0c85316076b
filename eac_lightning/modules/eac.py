"""Erasing Attention Consistency.

Zhang, Wang, Ling, Deng, "Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression
Recognition", ECCV 2022, arXiv 2207.10299.
"""

import logging
from typing import Any

import torch
from kornia.augmentation import RandomErasing
from torch import Tensor

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.losses.attention_consistency import attention_consistency
from eac_lightning.modules.arguments import check_range
from eac_lightning.modules.base import FERModule
from eac_lightning.types import StepOutput

VIEW_ORDERS = ("flip_then_erase", "erase_then_flip")


class EACModule(FERModule):
    """Cross-entropy on one view, and maps that must agree with those of its mirror image.

    ``loss = CE(logits(view 1), label) + consistency_weight · MSE(CAM(view 1), mirror(CAM(view 2)))``

    Rectangles are erased with the mean colour (0 after normalisation). A network that memorises a wrong label
    attends to whatever tells this one picture apart, which rarely mirrors or survives the erasing.

    Args:
        num_classes: See :class:`~eac_lightning.modules.base.FERModule`, likewise ``class_names``, ``backbone``,
            ``weights``, ``normalize``, ``image_size``, ``lr``, ``weight_decay``, ``lr_decay``,
            ``seed``, ``backbone_options``, ``loss``, ``loss_options``, ``fused_optimizer``,
            ``compile_backbone``, ``mixing``, ``mixing_options`` and ``force_mixing``.
        consistency_weight: λ ≥ 0. The paper's 5 is for a pretrained network.
        consistency_warmup_epochs: λ grows evenly over that many epochs before it is whole. From random weights a
            whole λ flattens the maps before there is anything in them, and the network stays at chance for many
            epochs; a pretrained one needs no warm-up. Without a Trainer there are no epochs, and λ is whole.
        view_order: ``"flip_then_erase"``: each view draws its own mask (the paper's runs under label noise).
            ``"erase_then_flip"``: view 2 is the mirror image of the finished view 1 (its run on clean labels).
        joint_forward: Whether both views go through the network in one pass, which shares the statistics of batch
            normalisation between them; two passes are the paper's.
        erasing_probability: Share of the views that are erased, in [0, 1].
        erasing_scale: Least and greatest erased share of the area, in [0, 1].
        erasing_ratio: Least and greatest height-to-width ratio, > 0.
        gaussian_noise_std: Standard deviation of the noise on view 1, on the scale of the images (√30 / 255).
        gaussian_noise_probability: Share of the samples whose view 1 is noisy, in [0, 1].

    Raises:
        ConfigurationError: If an argument lies outside its range, or mixing does not go with the method.
    """

    mixing_conflict = (
        "its two views of a mixture show two expressions each, and the maps of one label have nothing to agree about."
    )
    cutout_conflict = "EAC leaves out parts of both views itself (erasing_probability, erasing_scale)."

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        normalize: bool = True,
        consistency_weight: float = 5.0,
        view_order: str = "flip_then_erase",
        joint_forward: bool = False,
        erasing_probability: float = 0.5,
        erasing_scale: tuple[float, float] = (0.02, 0.25),
        erasing_ratio: tuple[float, float] = (0.3, 3.3),
        gaussian_noise_std: float = 0.0215,
        gaussian_noise_probability: float = 0.5,
        lr: float = 1e-4,
        weight_decay: float = 1e-4,
        lr_decay: float = 0.9,
        consistency_warmup_epochs: int = 0,
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
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            backbone=backbone,
            weights=weights,
            normalize=normalize,
            image_size=image_size,
            lr=lr,
            weight_decay=weight_decay,
            lr_decay=lr_decay,
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
        if view_order not in VIEW_ORDERS:
            raise unknown_name("view_order", view_order, VIEW_ORDERS)
        for name, value, high in (
            ("consistency_weight", consistency_weight, None),
            ("consistency_warmup_epochs", consistency_warmup_epochs, None),
            ("gaussian_noise_std", gaussian_noise_std, None),
            ("erasing_probability", erasing_probability, 1.0),
            ("gaussian_noise_probability", gaussian_noise_probability, 1.0),
        ):
            check_range(name, value, high)
        _check_pair("erasing_scale", erasing_scale, 1.0)
        _check_pair("erasing_ratio", erasing_ratio, None)
        # Zero after normalisation is the mean colour; kornia fills with one number, so it must come after.
        self._erase = RandomErasing(
            scale=tuple(erasing_scale), ratio=tuple(erasing_ratio), value=0.0, p=erasing_probability
        )

    def on_fit_start(self) -> None:
        """Warn of the one start that this method is known to fail from."""
        whole = self.hparams["consistency_weight"] >= 2 and not self.hparams["consistency_warmup_epochs"]
        if whole and self.hparams["weights"] is None and self.trainer.ckpt_path is None:
            logging.getLogger("eac_lightning").warning(
                "EAC begins from random weights with consistency_weight %g and no warm-up, and may stay at chance for "
                "many epochs. Give pretrained weights (--model.weights FILE), or consistency_weight 1 and "
                "consistency_warmup_epochs 8.",
                self.hparams["consistency_weight"],
            )

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return EAC's loss, the logits of view 1, and both terms as logs."""
        unpacked = self.unpack(batch)
        view1, view2 = self.views(unpacked["image"])
        if self.hparams["joint_forward"]:
            features1, features2 = self.model.feature_map(torch.cat([view1, view2])).chunk(2)
        else:
            features1, features2 = self.model.feature_map(view1), self.model.feature_map(view2)
        logits, maps1 = self.model.logits_and_maps(features1)
        classification = self.classification_loss(logits, unpacked.get("soft_label", unpacked["label"]))
        consistency = attention_consistency(maps1, self.model.maps(features2))
        loss = classification + self.current_consistency_weight() * consistency
        return StepOutput(
            loss, logits, {"classification": classification.detach(), "consistency": consistency.detach()}
        )

    def current_consistency_weight(self) -> float:
        """Return λ of the current epoch."""
        weight: float = self.hparams["consistency_weight"]
        warmup = self.hparams["consistency_warmup_epochs"]
        share = 1.0 if self._trainer is None else min(1.0, (self.current_epoch + 1) / (warmup + 1))
        return weight * share

    def views(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return both normalised views of (N, 3, H, W) images; the second shows the faces mirrored."""
        view1 = self._erased(self.model.normalize(self._add_noise(image)))
        if self.hparams["view_order"] == "erase_then_flip":
            return view1, view1.flip(-1)
        return view1, self._erased(self.model.normalize(image.flip(-1)))

    def _erased(self, view: Tensor) -> Tensor:
        """Erase rectangles that kornia draws, in place; kornia itself would blend several copies of the batch."""
        drawn = self._erase.forward_parameters(view.shape)
        names = ("batch_prob", "ys", "xs", "heights", "widths")
        for i, (chosen, *rectangle) in enumerate(zip(*(drawn[name].tolist() for name in names), strict=True)):
            if chosen > 0.5:
                y, x, height, width = map(int, rectangle)
                view[i, :, y : y + height, x : x + width] = 0
        return view

    def _add_noise(self, image: Tensor) -> Tensor:
        probability, std = self.hparams["gaussian_noise_probability"], self.hparams["gaussian_noise_std"]
        if not probability or not std:
            return image
        chosen = torch.rand(len(image), 1, 1, 1, device=image.device) < probability
        noisy: Tensor = torch.randn_like(image).mul_(std).mul_(chosen).add_(image)  # one copy of the batch, not four
        # A picture that comes normalised has no bounds to keep to.
        return noisy.clamp_(0, 1) if self.hparams["normalize"] else noisy


def _check_pair(name: str, pair: tuple[float, float], high: float | None) -> None:
    if len(pair) != 2 or not 0 < pair[0] <= pair[1] or (high is not None and pair[1] > high):
        below = f" and at most {high:g}" if high is not None else ""
        raise ConfigurationError(
            f"Expected {name} to be two numbers, the smaller first, above 0{below}, but got {list(pair)}."
        )
