"""Which labels of the training set are suspect, found while it is trained on."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from eac_lightning._lightning import L
from eac_lightning.audit.observe import observe
from eac_lightning.audit.record import AuditRecord, Observations
from eac_lightning.audit.table import NEED_MIRROR, SCORES, TABLE, audit_record, write_audit
from eac_lightning.batch import sample_index
from eac_lightning.callbacks._folder import run_folder, writes_files
from eac_lightning.callbacks._loaders import evaluating, on_device, own_audit_loader, training_in_order
from eac_lightning.callbacks._module import fer_module
from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.modules.base import FERModule

MIRROR = ("last", "always", "never")


logger = logging.getLogger("eac_lightning")


class LabelAuditCallback(L.Callback):
    """Asks the network about every training label, and writes ``audit.parquet`` and ``audit.json`` in the run folder.

    An audit is one inference pass over the training set, un-augmented and in eval mode; the last one asks about the
    mirrored faces as well. Its sums are part of the checkpoint. Under DDP every sample is asked about once, and all
    ranks get the same result. The loader is ``audit_dataloader()`` of the DataModule where it has one, else the
    training loader's data set in its own order, with whatever that data set does to its pictures.

    Args:
        from_epoch: First epoch to audit, from 0.
        every_n_epochs: How often; the last epoch is always audited.
        passive: Take the answers that training gives anyway, to augmented faces and in train mode, which costs
            nothing; ``consistency`` and ``agreement`` then stay unknown, and a sample that training has not drawn
            has no row. Several draws of one sample in an epoch count as the last of them; of an epoch that was broken
            off and resumed, only those after it.
        mirror: Which audits ask about the mirrored faces too, in a second pass: ``"last"``, ``"always"`` or
            ``"never"``.
        score: What ranks the labels, one of ``SCORES``.

    Raises:
        ConfigurationError: If an argument lies outside its range, the module is no FERModule or mixes labels, or the
            batches do not say which samples they hold.
    """

    def __init__(
        self,
        from_epoch: int = 0,
        every_n_epochs: int = 1,
        passive: bool = False,
        mirror: str = "last",
        score: str = "combined",
    ) -> None:
        if from_epoch < 0 or every_n_epochs < 1:
            raise ConfigurationError(
                f"Expected from_epoch ≥ 0 and every_n_epochs ≥ 1, but got {from_epoch} and {every_n_epochs}."
            )
        if mirror not in MIRROR:
            raise unknown_name("mirror", mirror, MIRROR)
        if score not in SCORES:
            raise unknown_name("score", score, SCORES)
        if score in NEED_MIRROR and (passive or mirror != "always"):
            # With "last" a run that ends early would end without.
            raise ConfigurationError(
                f"The score {score!r} compares each face with its mirror image in every audit, which takes "
                f"mirror='always' and not passive=True, but got mirror={mirror!r} and passive={passive}."
            )
        self.from_epoch = from_epoch
        self.every_n_epochs = every_n_epochs
        self.passive = passive
        self.mirror = mirror
        self.score = score
        self.record: AuditRecord | None = None
        self._seen: Observations | None = None
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive an interruption."""
        return {} if self.record is None else self.record.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an interruption."""
        self._restored = state_dict or None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew, or with the checkpoint's sums; refuse a module that mixes labels."""
        module = fer_module(pl_module, "LabelAuditCallback")
        check_labels_are_whole(module, "LabelAuditCallback", "force_mixing=True (--model.force_mixing true)")
        self.record = AuditRecord(module.num_classes)
        if self._restored is not None:
            self.record.load_state_dict(self._restored)
        self._restored = None

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget what a test of a checkpoint has brought along: the next fit does not go on from it."""
        self._restored = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a training set that cannot be gone over, before hours are spent on it."""
        if not self.passive and own_audit_loader(trainer) is None:
            _in_order(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what an epoch that was broken off had seen."""
        self._seen = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep what training computed, if that is all there is to be; refuse a first batch without index."""
        keep = self.passive and self._is_due(trainer)
        first = batch_idx == 0 and (self.passive or own_audit_loader(trainer) is None)
        if not (keep or first) or not isinstance(outputs, Mapping) or "logits" not in outputs:
            return
        unpacked = fer_module(pl_module, "LabelAuditCallback").unpack(batch)
        index = sample_index(unpacked, "An audit")
        if keep:
            self._seen = self._seen or Observations(outputs["logits"].shape[1])
            self._seen.see(index, unpacked["label"], outputs["logits"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Audit the epoch."""
        if not self._is_due(trainer) or self.record is None:
            return
        module = fer_module(pl_module, "LabelAuditCallback")
        if self.passive:
            seen = self._seen or Observations(module.num_classes)
        else:
            mirror = self.mirror == "always" or (self.mirror == "last" and _is_last(trainer))
            with evaluating(trainer), trainer.precision_plugin.forward_context():
                seen = observe(module, on_device(trainer, _in_order(trainer)), mirror)
        seen.gather()
        self.keep(trainer.current_epoch, seen)

    def keep(self, epoch: int, seen: Observations) -> None:
        """Add what all ranks have seen in an epoch; for subclasses that keep more of it."""
        if self.record is not None and epoch not in self.record.epochs:
            self.record.add(epoch, seen)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the audit."""
        folder = run_folder(trainer)
        if self.record is None or not self.record.epochs or not writes_files(trainer):
            return
        if not self.record.columns["count"].any():
            logger.warning("no audit: no training step gave an answer about a label")
            return
        module = fer_module(pl_module, "LabelAuditCallback")
        annotations = getattr(getattr(trainer, "datamodule", None), "annotations", None)
        known = annotations if isinstance(annotations, Annotations) else None
        audit = audit_record(self.record, module.class_names, known, self.score)
        names = ("from_epoch", "every_n_epochs", "passive", "mirror")
        audit.settings.update({name: getattr(self, name) for name in names})
        write_audit(folder, audit)
        logger.info("audit of %d labels: %s; `eac audit %s` shows it", len(audit.table), folder / TABLE, folder)

    def _is_due(self, trainer: L.Trainer) -> bool:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        since = trainer.current_epoch - self.from_epoch
        return (since >= 0 and since % self.every_n_epochs == 0) or _is_last(trainer)


def check_labels_are_whole(module: FERModule, who: str, insisting: str) -> None:
    """Refuse to audit a module that mixes labels, unless it was built with ``force_mixing``.

    Args:
        module: The module that learns, or has learnt, the labels.
        who: Who audits, for the error.
        insisting: How to do so all the same, for the error.

    Raises:
        ConfigurationError: If it mixes them.
    """
    if module.mixes_labels and not module.hparams["force_mixing"]:
        raise ConfigurationError(
            f"{who} does not go with mixing={module.hparams['mixing']!r}: labels that are mixed are never learnt "
            "alone, so that a wrong one does not stand out. Train without mixing (--model.mixing null) or with cutout, "
            f"which keeps labels whole, or insist with {insisting}."
        )


def _is_last(trainer: L.Trainer) -> bool:
    # By `max_epochs` alone: what else ends a run (steps, time, early stopping) is not known before it does.
    return trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs


def _in_order(trainer: L.Trainer) -> Iterable[Any]:
    return training_in_order(trainer, "An audit", ", or audit with passive=True")
