"""The base of every method: a network, metrics and an optimizer, around one hook, ``compute_loss``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from eac_lightning._lightning import L, check_same_namespace
from eac_lightning.answering import Answering
from eac_lightning.batch import TUPLE_KEYS, check_image_range, to_float_rgb, unpack_batch
from eac_lightning.data.mixing import Mixing, create_mixing
from eac_lightning.errors import ConfigurationError, DataError, TrainingDivergedError
from eac_lightning.losses.classification import create_classification_loss, follows_class_counts
from eac_lightning.metrics.classification import ClassificationReport
from eac_lightning.metrics.label_noise import WrongLabelShare
from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules.agreement import (
    check_agreement,
    numbered,
    told_class_names,
    told_image_size,
    with_class_counts,
)
from eac_lightning.modules.checkpoint import CHECKPOINT_KEY, check_fit, describe, restored_answers
from eac_lightning.seeding import default_seed, derive_seed, seeded
from eac_lightning.types import Batch, StepOutput

WATCHED = 50
"""Losses after which an accelerator is asked whether all were finite: it has to be waited for."""


class FERModule(L.LightningModule):
    """A facial expression recogniser; a method overrides :meth:`compute_loss`.

    Hooks for subclasses: ``configure_models``, ``configure_losses``, ``configure_metrics``,
    ``configure_optimizers``, ``compute_loss``. The first three run as soon as the classes are known, which may be
    inside ``__init__``: they read a subclass's own arguments from ``self.hparams``.

    Images are (N, 3, H, W) float RGB in [0, 1], or (N, 1 or 3, H, W) uint8, wherever they are handed over.

    Args:
        num_classes: K. May be left out where ``class_names`` or the DataModule tells it.
        class_names: The classes by label, for pictures and reports; taken from the DataModule if left out.
        backbone: A name that :func:`~eac_lightning.models.backbones.create_backbone` knows.
        weights: ``None``, a name given by the weights' publisher, or a file.
        normalize: False if the images come normalised already.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam (L2 on the gradient).
        lr_decay: The learning rate is multiplied by this after every epoch.
        image_size: Side of the input in pixels; taken from the DataModule if left out.
        seed: What every random draw in training follows from; the seed of ``seed_everything`` if left out.
        backbone_options: Further arguments of the backbone, such as ``{"width": 64}`` of ``expnet``. A file of
            weights that knows its own is enough without.
        loss: What training minimises on the labels: ``"cross_entropy"``, ``"focal"``, ``"logit_adjustment"``,
            ``"generalized_cross_entropy"`` or ``"symmetric_cross_entropy"``. Validation always tells the plain
            cross-entropy.
        loss_options: Its options by name, such as ``{"label_smoothing": 0.1}``, ``{"class_weights": "balanced"}`` or
            ``{"q": 0.7}``. A loss that follows from the faces of each class learns their number from the DataModule
            when a fit begins and keeps it here, as ``class_counts``; what was given stays.
        fused_optimizer: Whether Adam updates all parameters at once; where gradients are clipped it never does,
            because Lightning refuses to clip for it in mixed precision. Equal up to rounding.
        compile_backbone: Whether ``torch.compile`` compiles the backbone for training, which takes a compiler and some
            minutes at the first step. Checkpoints are the same with and without. Equal up to rounding.
        mixing: What a training step does with its faces: ``"cutout"`` leaves a square of each out, ``"mixup"``,
            ``"cutmix"`` and ``"fmix"`` mix each with another one of the batch, and the labels with them. What is
            mixed has two labels: a loss of your own reads ``soft_label`` then, and neither ``train/accuracy`` nor the
            shares of wrong labels are logged.
        mixing_options: Its options by name, such as ``{"alpha": 0.2}``; see
            :func:`~eac_lightning.data.mixing.create_mixing`.
        force_mixing: Mix even where the method, or a callback, does not go with it.
    """

    model: CAMClassifier
    reads_unlabelled = False
    """Whether the training step may be given faces without labels; a method may say so for a part of its epochs."""
    mixing_conflict = ""
    """Why a method cannot learn from faces that are mixed, as a sentence; empty where it can."""
    cutout_conflict = ""
    """Why it cannot learn from faces of which a part is left out; empty where it can."""
    answers: Answering | None = None
    """What is known of how far to trust these weights, once callbacks such as `CalibrationCallback` have found it."""

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        normalize: bool = True,
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
        super().__init__()
        self.save_hyperparameters()
        if class_names is not None and num_classes not in (None, len(class_names)):
            raise ConfigurationError(
                f"Expected as many class names as classes, but got num_classes={num_classes} and "
                f"{len(class_names)} names ({', '.join(class_names)}). Give one of the two."
            )
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("lr_decay", lr_decay)):
            if value < 0:
                raise ConfigurationError(f"Expected {name} to be at least 0, but got {value}.")
        self.seed = default_seed() if seed is None else seed
        self.mixing = self._create_mixing()  # now, for its errors; again once the classes are known
        self._losses: list[tuple[str, Tensor]] = []
        if class_names is not None or num_classes is not None:
            self._set_classes(class_names or numbered(num_classes or 0))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes by label; empty before they are known."""
        return tuple(self.hparams.get("class_names") or ())

    @property
    def num_classes(self) -> int:
        """K; 0 before the classes are known."""
        return len(self.class_names)

    @property
    def image_size(self) -> int | None:
        """Side of the images in pixels that the network was trained on, where it is known."""
        size: int | None = self.hparams.get("image_size")
        return size

    @property
    def mixes_labels(self) -> bool:
        """Whether training steps learn from faces that have the labels of two."""
        return self.mixing is not None and self.mixing.mixes_labels

    def _create_mixing(self) -> Mixing | None:
        name = self.hparams["mixing"]
        if name is None:
            if self.hparams["mixing_options"]:
                raise ConfigurationError(
                    f"Got mixing_options={self.hparams['mixing_options']}, but no mixing that they are of. Name one "
                    "(mixing='fmix'), or leave them out (--model.mixing_options null)."
                )
            return None
        mixing = create_mixing(name, self.num_classes, self.hparams["mixing_options"])
        conflict = self.mixing_conflict if mixing.mixes_labels else self.cutout_conflict
        if conflict and not self.hparams["force_mixing"]:
            raise ConfigurationError(
                f"{type(self).__name__} does not go with mixing={name!r}: {conflict} Leave mixing out, or insist with "
                "force_mixing=True (--model.force_mixing true)."
            )
        return mixing

    def _mixed(self, batch: Batch) -> Batch:
        # Without labels there is nothing to mix, and a teacher's answer to a face that is none means nothing.
        return batch if self.mixing is None or self.reads_unlabelled else cast(Batch, self.mixing(batch))

    def _set_classes(self, class_names: Sequence[str]) -> None:
        self.hparams["class_names"] = [str(name) for name in class_names]
        self.hparams["num_classes"] = len(class_names)
        self.mixing = self._create_mixing()
        self.means = nn.ModuleDict()  # of losses and a method's logs, one a name
        self.configure_models()
        self.configure_losses()
        self.configure_metrics()

    # ---- what a subclass may replace ---------------------------------------------------------------------------

    def configure_models(self) -> None:
        """Build ``self.model``, once the classes are known."""
        backbone = create_backbone(
            self.hparams["backbone"], self.hparams["weights"], self.image_size, self.hparams["backbone_options"]
        )
        # What the file of weights told of its network is needed again without that file.
        self.hparams["backbone_options"] = getattr(backbone, "options", self.hparams["backbone_options"])
        self.model = CAMClassifier(
            backbone, self.num_classes, self.hparams["normalize"], self.hparams["compile_backbone"]
        )

    def configure_losses(self) -> None:
        """Build ``self.classification_loss(logits, target)``; targets are labels or distributions."""
        self.classification_loss = create_classification_loss(
            self.hparams["loss"], self.hparams["loss_options"], self.class_names
        )

    def configure_metrics(self) -> None:
        """Build the metrics of the three splits; a subclass calls this one and adds its own."""
        # Labels are checked at the door, and what looks at values makes an accelerator wait.
        self.train_accuracy = MulticlassAccuracy(self.num_classes, average="micro", validate_args=False)
        self.train_memorized = WrongLabelShare("given")
        self.train_recovered = WrongLabelShare("clean")
        self.val_metrics = ClassificationReport(self.num_classes, validate_args=False)
        self.test_metrics = ClassificationReport(self.num_classes, validate_args=False)

    def configure_optimizers(self) -> Any:
        """Return Adam and a learning rate that decays by ``lr_decay`` an epoch; works without a Trainer."""
        optimizer = torch.optim.Adam(
            (parameter for parameter in self.parameters() if parameter.requires_grad),
            lr=self.hparams["lr"],
            weight_decay=self.hparams["weight_decay"],
            fused=self._fused,
        )
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=self.hparams["lr_decay"])]

    @property
    def _fused(self) -> bool:
        clipped = self._trainer is not None and bool(self.trainer.gradient_clip_val)
        return bool(self.hparams["fused_optimizer"]) and not clipped

    def compute_loss(self, batch: Any) -> StepOutput:
        """Return loss, logits and logs of a batch in any accepted form, without logging anything.

        It needs no Trainer and does the same in train and in eval mode. What it draws, it draws from torch's
        generator; in training that is seeded for each step.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no compute_loss(batch) -> StepOutput: FERModule is the base of methods. "
            "Take ClassificationModule or EACModule, or override it."
        )

    def remember(self, batch: Any, output: StepOutput) -> None:
        """Keep ``output.memory`` of a batch's samples, where the method has a memory of samples.

        A training step calls it after :meth:`compute_loss`, which writes nothing; a loop without a Trainer calls it
        itself, with the batch that it gave to ``compute_loss``.
        """

    # ---- use -----------------------------------------------------------------------------------------------------

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to (N, K) logits."""
        if not len(image):  # of a process for which no face is left; some networks cannot take none
            return torch.zeros(0, self.num_classes, device=self.device)
        return self.logits_and_maps(image)[0]

    def attention_maps(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to the (N, K, h, w) class activation maps of every class."""
        return self.logits_and_maps(image)[1]

    def logits_and_maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 3, H, W) images to (N, K) logits and (N, K, h, w) maps in one pass."""
        return self.model.logits_and_maps(self._feature_map(image))

    def features(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to the (N, C) pooled features that the classifier reads."""
        return self._feature_map(image).mean((2, 3))

    def logits_maps_and_features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, 3, H, W) images to what :meth:`logits_and_maps` and :meth:`features` give, in one pass."""
        own = type(self)
        if own.logits_and_maps is not FERModule.logits_and_maps or own.features is not FERModule.features:
            return (*self.logits_and_maps(image), self.features(image))  # a subclass knows better, and takes two
        feature_map = self._feature_map(image)
        return (*self.model.logits_and_maps(feature_map), feature_map.mean((2, 3)))

    def _feature_map(self, image: Tensor) -> Tensor:
        return self.model.feature_map(self.model.normalize(to_float_rgb(image).to(self.device)))

    @property
    def _on_cpu(self) -> bool:
        """Whether values can be looked at for nothing."""
        return self.device.type == "cpu"

    def unpack(self, batch: Any) -> Batch:
        """Return the batch as a dict with float RGB images; see :func:`~eac_lightning.batch.unpack_batch`."""
        # Labels are the same in every epoch, and looking at them makes an accelerator wait.
        known = self._trainer is not None and self.trainer.training and self.current_epoch > 0
        unseen = self._on_cpu or not known
        return unpack_batch(batch, self.num_classes, self.device, labelled=unseen)

    # ---- Lightning's hooks -----------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learn the classes, the image size and what the loss must know from the DataModule where not given.

        Raises:
            ConfigurationError: If nobody knows the classes, or module and data disagree about them, or the loss needs
                to know how many faces each class has and nobody does.
        """
        check_same_namespace(self.trainer)
        data: Any = getattr(self.trainer, "datamodule", None)
        names, size = told_class_names(data), told_image_size(data)
        check_agreement(self.class_names, self.image_size, names, size)
        if size is not None:
            self.hparams["image_size"] = size
        if names and self.class_names and self.class_names == numbered(self.num_classes):
            self.hparams["class_names"] = names  # the network knows only their number
        if not self.class_names:
            if not names:
                raise ConfigurationError(
                    f"{type(self).__name__} does not know its classes: it was given neither num_classes nor "
                    "class_names, and the data has neither. Give num_classes."
                )
            self._set_classes(names)
        if stage == "fit" and follows_class_counts(self.hparams["loss"], self.hparams["loss_options"]):
            # Kept, so that the checkpoint needs no data to build its loss again.
            self.hparams["loss_options"] = with_class_counts(self.hparams["loss"], self.hparams["loss_options"], data)
            self.configure_losses()

    def configure_callbacks(self) -> list[Any]:
        """Report the run's figures at its end."""
        from eac_lightning.callbacks.report import RunReport  # the callback's types come from this file

        present = any(isinstance(callback, RunReport) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if present else [RunReport()]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, computed under this step's own seed, and the (N, K) ``logits``; keep the books.

        Raises:
            DataError: If batch normalisation gets one value alone.
            TrainingDivergedError: If the loss is not finite, on an accelerator some steps later; the last checkpoint
                is of the epoch before.
        """
        self.answers = None  # was known of other weights than this step leaves
        unpacked = self.unpack(batch)
        if batch_idx == 0 and self.hparams["normalize"]:
            check_image_range(unpacked["image"])
        step_seed = derive_seed(self.seed, "step", self.current_epoch, batch_idx, self.global_rank)
        try:
            with seeded(step_seed, self.device):
                output = self.compute_loss(self._mixed(unpacked))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise DataError(
                "Expected at least two faces in a training batch, because batch normalisation cannot learn from one, "
                f"but step {batch_idx} has {len(unpacked['image'])}. Raise batch_size, or drop the last batch."
            ) from error
        self._watch_loss(output.loss, f"step {batch_idx}")
        self.remember(unpacked, output)
        self._log_training(unpacked, output)
        return {"loss": output.loss} | ({} if output.logits is None else {"logits": output.logits.detach()})

    def _watch_loss(self, loss: Tensor, where: str) -> None:
        self._losses.append((f"{where} of epoch {self.current_epoch}", loss.detach()))
        if self._on_cpu or len(self._losses) == WATCHED:
            self._check_losses()

    def _check_losses(self) -> None:
        """Refuse the first loss since the last check that is not finite."""
        watched, self._losses = self._losses, []
        values = torch.stack([loss for _, loss in watched]).tolist() if watched else []
        for (where, _), value in zip(watched, values, strict=True):
            if not math.isfinite(value):
                kept = "the last checkpoint is of the epoch before" if self.current_epoch else "nothing is saved yet"
                raise TrainingDivergedError(
                    f"The loss is {value} at {where} (step {self.global_step} of the run); {kept}. Lower lr (now "
                    f"{self.hparams['lr']}), try --trainer.gradient_clip_val 1, or 32-true precision."
                )

    def _log_training(self, batch: Batch, output: StepOutput) -> None:
        for name, value in {"loss": output.loss.detach(), **output.logs}.items():
            self._log_mean("train", name, value, len(batch["image"]))
        if output.logits is None or self.mixes_labels:  # a face of two labels is predicted as neither
            return
        logits, label = output.logits.detach(), batch["label"]
        self.train_accuracy.update(logits, label)
        self.log("train/accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        if "clean_label" in batch:
            for name, metric in (("memorized", self.train_memorized), ("recovered", self.train_recovered)):
                metric.update(logits, label, batch["clean_label"])
                self.log(f"train/{name}", metric, on_step=False, on_epoch=True)

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return ``{"logits": (N, K)}`` of the network as ``forward`` gives them."""
        return self._evaluation_step(batch, "val", self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return ``{"logits": (N, K)}`` of the network as ``forward`` gives them."""
        return self._evaluation_step(batch, "test", self.test_metrics)

    def _log_mean(self, split: str, name: str, value: Tensor, samples: int) -> None:
        """Log a mean over samples: Lightning's own rounds the number of samples a rank when it averages ranks."""
        key = f"{split}_{name}"
        if key not in self.means:
            # Sums in half precision would stop growing after a few hundred samples.
            self.means[key] = MeanMetric(nan_strategy="disable").to(self.device).set_dtype(torch.float32)
        mean = self.means[key]
        # A value a sample: MeanMetric forgets weights where it does not look for NaN.
        mean.update(value.expand(samples))  # type: ignore[operator]
        self.log(f"{split}/{name}", mean, on_step=False, on_epoch=True, metric_attribute=f"means.{key}")  # type: ignore[arg-type]

    def _evaluation_step(self, batch: Any, split: str, metrics: ClassificationReport) -> dict[str, Tensor]:
        unpacked = self.unpack(batch)
        logits = self(unpacked["image"])
        metrics.update((self.answers or Answering()).calibrated(logits), unpacked["label"])
        loss = nn.functional.cross_entropy(logits, unpacked["label"])
        if self.trainer.state.fn == "fit" and len(logits):
            # The epoch's last step may have broken the weights, and the checkpoint comes after validation.
            self._watch_loss(loss, "the validation")
        self._log_mean(split, "loss", loss, len(logits))
        return {"logits": logits}

    def on_train_epoch_end(self) -> None:
        """Look at the losses that nothing has looked at yet."""
        self._check_losses()

    def on_validation_epoch_end(self) -> None:
        """Log the split's figures."""
        self._check_losses()
        self._log_report("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the split's figures."""
        self._log_report("test", self.test_metrics)

    def _log_report(self, split: str, metrics: ClassificationReport) -> None:
        report = metrics.compute()
        metrics.reset()
        recall = report.pop("recall")
        self.log(f"{split}/accuracy", report.pop("accuracy"), prog_bar=True)
        self.log_dict({f"{split}/{name}": value for name, value in report.items()})
        self.log_dict(
            {
                f"{split}/recall/{name}": value
                for name, value in zip(self.class_names, recall, strict=True)
                if not torch.isnan(value)
            }
        )

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probabilities`` (N, K), calibrated if the module is, and the batch's ``index`` and ``label``.

        A batch may also be images alone, or have no labels.
        """
        if isinstance(batch, Mapping):
            fields = dict(batch)
        else:
            fields = dict(zip(TUPLE_KEYS, [batch] if isinstance(batch, Tensor) else batch, strict=False))
        logits = self(fields["image"])
        kept = {key: fields[key] for key in ("index", "label") if key in fields}
        return {"probabilities": (self.answers or Answering()).probabilities(logits), **kept}

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a later program needs to rebuild this module from the file alone.

        Raises:
            TrainingDivergedError: If a loss was not finite: weights that are broken are not saved.
        """
        self._check_losses()
        describe(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the checkpoint's classes where none are known yet, and refuse those of another module.

        Raises:
            CheckpointError: If the classes or the backbone differ, or what is said of its answers cannot be read.
        """
        about = checkpoint.get(CHECKPOINT_KEY, {})
        if not self.class_names:
            self._set_classes(about.get("class_names", ()))
        check_fit(self, about)
        self.answers = restored_answers(about)
