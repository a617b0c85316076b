"""FaceNet2ExpNet: a face-recognition network teaches a small expression network, which then learns the labels.

Ding, Zhou, Chellappa, "FaceNet2ExpNet: Regularizing a Deep Face Recognition Net for Expression Recognition",
FG 2017, arXiv 1609.06591.
"""

import logging
import math
from typing import Any

import torch
from torch import Tensor

from eac_lightning.batch import unpack_batch
from eac_lightning.callbacks._folder import run_folder, writes_files
from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.feature_regression import FeatureRegressionLoss
from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.teacher import FrozenTeacher
from eac_lightning.models.weights import save_weights
from eac_lightning.modules.checkpoint import CHECKPOINT_KEY
from eac_lightning.modules.classification import ClassificationModule
from eac_lightning.types import Batch, StepOutput

STUDENT_FILE = "student.safetensors"
_log = logging.getLogger("eac_lightning")


class FaceNet2ExpNetModule(ClassificationModule):
    """Two stages in one fit: regression to a teacher's feature map, then cross-entropy.

    Stage 1 takes ``stage1_epochs`` and reads no labels: the student's map is drawn to that of the teacher's layer,
    the classifier rests. After each of its epochs the student is written to ``student.safetensors`` in the run folder,
    which any module takes as ``weights`` with ``backbone="expnet"``. Stage 2 trains student and classifier on the
    labels, with its own learning rate and a fresh optimizer state. As two fits: one with
    ``max_epochs = stage1_epochs``, then any module on that file.

    The paper refines through fully connected layers; here the classifier stands on the pooled map, so that attention
    maps are exact.

    In stage 1 there is no classifier to validate: ``val/regression`` is logged, and for callbacks that monitor them
    ``val/accuracy`` as 0 and ``val/loss`` as that of an even guess. The patience of an early stopping must outlast it.

    The teacher is frozen, stays in eval mode and normalises its own input; it is no part of ``parameters()``, of the
    optimizer or of the checkpoint. To adapt it to expressions first, train a ``ClassificationModule`` on the
    teacher's backbone and give its checkpoint as ``teacher_weights``.

    Args:
        num_classes: See :class:`~eac_lightning.modules.base.FERModule`, likewise ``class_names``, ``weights``,
            ``weight_decay``, ``image_size``, ``seed``, ``backbone_options``, ``loss``,
            ``loss_options``, ``fused_optimizer``, ``compile_backbone``, ``mixing``, ``mixing_options`` and
            ``force_mixing``. Stage 1, which reads no labels, mixes nothing.
        class_names: See there.
        teacher: The face-recognition network: any name that ``create_backbone`` knows.
        teacher_weights: Its weights: a published name or a file.
        teacher_layer: Name of the teacher's layer that is imitated, such as ``repeat_3``; None is its feature map.
        teacher_size: Side in pixels at which the teacher sees the faces; None is the size that it was trained on.
        norm: p of the regression ‖g − G‖_p^p, 1 or 2.
        reduction: ``"mean"`` over the elements of a map, or ``"sum"`` as in the paper.
        stage1_epochs: Length of stage 1; 0 begins with stage 2, and needs no teacher.
        stage1_lr: Learning rate of stage 1.
        student_width: Channels of the student's first block.
        student_depth: Number of the student's blocks.
        student_stride: Pixels per cell of the student's map. What a coarser map than the teacher's cannot show, no
            training can: choose it so that both have about as many cells.
        student_signed: Leave the student's last ReLU out, for a layer whose response has both signs.
        backbone: The student, ``expnet``; or any backbone that has as many channels as the teacher's layer.
        weights: Where the student begins.
        lr: Learning rate of stage 2.
        weight_decay: Weight decay of Adam in both stages.
        lr_decay: Each stage's learning rate is multiplied by this after every epoch.
        image_size: See there.
        seed: See there.
        backbone_options: What the student is built with; ``student_*`` and the teacher's layer say it where left out.
        loss: Of stage 2; see there.
        loss_options: See there.

    Raises:
        ConfigurationError: If an argument lies outside its range, or teacher and student do not fit.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        teacher: str = "mobilefacenet",
        teacher_weights: str | None = None,
        teacher_layer: str | None = None,
        teacher_size: int | None = None,
        norm: int = 2,
        reduction: str = "mean",
        stage1_epochs: int = 20,
        stage1_lr: float = 1e-2,
        student_width: int = 32,
        student_depth: int = 5,
        student_stride: int = 8,
        student_signed: bool = False,
        backbone: str = "expnet",
        weights: str | None = None,
        lr: float = 1e-3,
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
        if not isinstance(teacher, str):
            raise ConfigurationError(
                f"Expected the name of a backbone as teacher, but got a {type(teacher).__name__}: checkpoints hold no "
                "networks of others. Register yours with @register_backbone, and give its name."
            )
        for name, value in (("stage1_epochs", stage1_epochs), ("stage1_lr", stage1_lr)):
            if value < 0:
                raise ConfigurationError(f"Expected {name} to be at least 0, but got {value}.")
        self._teacher: FrozenTeacher | None = None
        self._finished_epochs = 0
        self._said_stage = 0
        self._sign_checked = False
        self._reloading: int | None = None
        super().__init__(
            num_classes=num_classes,
            class_names=class_names,
            backbone=backbone,
            weights=weights,
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

    @property
    def stage(self) -> int:
        """1 while the student imitates the teacher, 2 while it learns the labels.

        A fit sets it by the epoch; a loop without a Trainer sets it itself. A loaded module is in its checkpoint's.
        """
        # A resumed fit asks for its first faces before it has counted the finished epochs.
        epoch = max(self.current_epoch, self._finished_epochs) if self._fitting else self._finished_epochs
        return 1 if epoch < self.hparams["stage1_epochs"] else 2

    @stage.setter
    def stage(self, stage: int) -> None:
        if stage not in (1, 2):
            raise ConfigurationError(f"Expected stage 1 or 2, but got {stage}.")
        self._finished_epochs = 0 if stage == 1 else self.hparams["stage1_epochs"]

    @property
    def reads_unlabelled(self) -> bool:  # type: ignore[override]
        """Whether the training step may be given faces without labels."""
        return self.stage == 1

    @property
    def _fitting(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == "fit"

    @property
    def teacher(self) -> FrozenTeacher:
        """The frozen face-recognition network, built when it is first asked for."""
        if self._teacher is None:
            asked: int | None = self.hparams["teacher_size"]
            size = asked or self.image_size
            network = create_backbone(self.hparams["teacher"], self.hparams["teacher_weights"], size)
            size = asked or getattr(network, "input_size", size)
            self._teacher = FrozenTeacher(network, self.hparams["teacher_layer"], size)
        return self._teacher

    def configure_models(self) -> None:
        """Build the student with as many channels as the layer it imitates, and the classifier on it."""
        settings = self.hparams
        taught = settings["stage1_epochs"] > 0
        # A student that was taught before says itself, in its file of weights, how it is built.
        unsaid = settings["backbone_options"] is None and (taught or settings["weights"] is None)
        if settings["backbone"] == "expnet" and unsaid:
            options = {name: settings[f"student_{name}"] for name in ("width", "depth", "stride", "signed")}
            settings["backbone_options"] = options | ({"num_features": self.teacher.num_features} if taught else {})
        super().configure_models()

    def configure_losses(self) -> None:
        """Build the losses of both stages."""
        super().configure_losses()
        self.regression_loss = FeatureRegressionLoss(self.hparams["norm"], self.hparams["reduction"])

    def configure_optimizers(self) -> Any:
        """Return one Adam whose learning rates are those of the stage; its state starts anew with stage 2."""
        settings = self.hparams

        def student_lr(epoch: int) -> float:
            begun = epoch - settings["stage1_epochs"]
            rate = settings["lr"] * settings["lr_decay"] ** begun
            return float(rate if begun >= 0 else settings["stage1_lr"] * settings["lr_decay"] ** epoch)

        def classifier_lr(epoch: int) -> float:
            # Even without a gradient, weight decay would move a classifier that rests.
            return student_lr(epoch) if epoch >= settings["stage1_epochs"] else 0.0

        groups = [{"params": self.model.backbone.parameters()}, {"params": self.model.classifier.parameters()}]
        optimizer = torch.optim.Adam(groups, lr=1.0, weight_decay=settings["weight_decay"], fused=self._fused)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, [student_lr, classifier_lr])]

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return the regression to the teacher in stage 1 (no logits, no labels), the cross-entropy in stage 2."""
        return self._imitate(self.unpack(batch)["image"]) if self.stage == 1 else super().compute_loss(batch)

    def _imitate(self, image: Tensor) -> StepOutput:
        response = self.teacher(image)
        if not self._sign_checked:
            self._check_sign(response)
        regression = self.regression_loss(self._student_map(image), response)
        # Distributed training waits for a gradient of every parameter: the classifier's is zero.
        resting = sum(parameter.sum() for parameter in self.model.classifier.parameters())
        return StepOutput(regression + 0 * resting, None, {"regression": regression.detach()})

    def _check_sign(self, response: Tensor) -> None:
        self._sign_checked = True
        student: dict[str, Any] = getattr(self.model.backbone, "options", {})
        if student.get("signed") is False and response.min() < 0:
            raise ConfigurationError(
                f"The teacher's layer {self.hparams['teacher_layer'] or 'of its feature map'} answers below zero "
                f"(down to {float(response.min()):.2f}), but the student ends in a ReLU and never can. Name a layer "
                "behind a ReLU (facenet: repeat_3), or say student_signed: true."
            )

    def _student_map(self, image: Tensor) -> Tensor:
        return self.model.feature_map(self.model.normalize(image))

    def unpack(self, batch: Any) -> Batch:
        """Return the batch as a dict; in training of stage 1 its labels may be unknown (-1)."""
        evaluating = self._trainer is not None and not self._fitting
        return unpack_batch(batch, self.num_classes, self.device, labelled=evaluating or self.stage == 2)

    # ---- Lightning's hooks -----------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Build the teacher where it is still needed, and say what a fit of stage 1 cannot do."""
        self._said_stage = 0
        if self.trainer.ckpt_path is None:
            self._finished_epochs = 0
        if self.stage == 2:
            return
        self._check_teacher()
        if self.hparams["teacher_weights"] is None:
            self._say(
                logging.WARNING,
                "The teacher %s has random weights, and nothing to teach. Give it those of face recognition "
                "(--model.teacher_weights NAME or FILE; `eac weights list`).",
                self.hparams["teacher"],
            )
        if 0 <= (self.trainer.max_epochs or -1) <= self.hparams["stage1_epochs"]:
            self._say(
                logging.WARNING,
                "All %s epochs are stage 1, which trains no classifier: there are no validation figures, and what "
                "comes of it is %s.",
                self.trainer.max_epochs,
                STUDENT_FILE,
            )

    def _check_teacher(self) -> None:
        channels = int(self.model.backbone.num_features)  # type: ignore[arg-type]
        if channels != self.teacher.num_features:
            raise ConfigurationError(
                f"Expected a student with the {self.teacher.num_features} channels of the teacher's layer "
                f"({self.hparams['teacher']}, {self.hparams['teacher_layer'] or 'its feature map'}), but "
                f"{self.hparams['backbone']} has {channels}. Take expnet without weights, or another teacher_layer."
            )

    def _say(self, level: int, message: str, *values: object) -> None:
        if self.trainer.is_global_zero:
            _log.log(level, message, *values)

    def on_train_epoch_start(self) -> None:
        """Say which stage it is; where the second begins, forget the optimizer's state and the first one's figures."""
        first = self.hparams["stage1_epochs"]
        self.log("stage", float(self.stage), prog_bar=True)
        if self.current_epoch == first > 0:
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
            for name in ("train/regression", "val/regression"):
                self.trainer.callback_metrics.pop(name, None)
        if self.stage != self._said_stage:
            self._said_stage = self.stage
            what = f"regression to {self.hparams['teacher']}" if self.stage == 1 else "cross-entropy on the labels"
            self._say(logging.INFO, "stage %d of 2 from epoch %d on: %s", self.stage, self.current_epoch, what)
        self._reload_at(first)

    def _reload_at(self, epoch: int) -> None:
        """Have the loaders asked for again before ``epoch``, whose faces are others; Lightning asks once a fit."""
        trainer: Any = self.trainer
        if self.current_epoch == epoch - 1 and getattr(trainer, "datamodule", None) is not None:
            self._reloading = trainer.reload_dataloaders_every_n_epochs
            trainer.reload_dataloaders_every_n_epochs = 1
        elif self._reloading is not None:
            trainer.reload_dataloaders_every_n_epochs, self._reloading = self._reloading, None

    def on_train_epoch_end(self) -> None:
        """Write the student while it is taught."""
        super().on_train_epoch_end()
        folder = run_folder(self.trainer)
        if self.stage == 1 and writes_files(self.trainer):
            save_weights(self.model.backbone, self.hparams["backbone"], folder / STUDENT_FILE)
        self._finished_epochs = self.current_epoch + 1
        if self._finished_epochs == self.hparams["stage1_epochs"]:
            path = folder / STUDENT_FILE
            self._say(logging.INFO, "the student is in %s (--model.backbone expnet --model.weights %s)", path, path)

    def on_train_end(self) -> None:
        """Give the Trainer its own setting back where the fit ends with stage 1."""
        if self._reloading is not None:
            self._reload_at(-1)

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return ``{"logits": (N, K)}``; in stage 1 log the regression instead of the labels' figures."""
        if not self._fitting or self.stage == 2:
            return super().validation_step(batch, batch_idx)
        image = self.unpack(batch)["image"]
        student = self._student_map(image)
        self._log_mean("val", "regression", self.regression_loss(student, self.teacher(image)), len(image))
        logits = self.model.logits_and_maps(student)[0]
        self._log_mean("val", "loss", logits.new_tensor(math.log(self.num_classes)), len(image))
        return {"logits": logits}

    def on_validation_epoch_end(self) -> None:
        """Log the split's figures; in stage 1 an accuracy that no trained classifier has."""
        if self._fitting and self.stage == 1:
            self.log("val/accuracy", 0.0, prog_bar=True)
        else:
            super().on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a later program needs, and how far training is."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[CHECKPOINT_KEY]["finished_epochs"] = self._finished_epochs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on in the checkpoint's stage."""
        super().on_load_checkpoint(checkpoint)
        self._finished_epochs = int(checkpoint.get(CHECKPOINT_KEY, {}).get("finished_epochs", 0))
        if self._trainer is None and self.stage == 1:
            _log.warning(
                "This checkpoint is of stage 1 (after %d of %d epochs): its classifier has learned nothing yet, and "
                "its predictions mean nothing.",
                self._finished_epochs,
                self.hparams["stage1_epochs"],
            )
