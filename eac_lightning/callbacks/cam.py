"""Panels of class activation maps, drawn while a network trains and wherever it is run."""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eac_lightning._lightning import L
from eac_lightning.batch import to_float_rgb
from eac_lightning.callbacks._folder import writes_files
from eac_lightning.callbacks._gallery import Face, Gallery
from eac_lightning.callbacks._module import fer_module
from eac_lightning.callbacks._pictures import save_picture
from eac_lightning.errors import ConfigurationError
from eac_lightning.maps.explain import check_method, explain
from eac_lightning.modules.base import FERModule
from eac_lightning.types import Batch
from eac_lightning.visualization import cam_panel

_TITLES = {
    "val": "Where the network looks · validation",
    "test": "Where the network looks · test",
    "predict": "Where the network looks · predictions",
    "train": "Where the network looks · training faces with a wrong label",
}


class CAMCallback(L.Callback):
    """Draws where the network looks: a panel of faces, their twins, their maps, and where these disagree.

    The faces are the first ones of each class that the loader yields, so the same ones in every epoch and
    every run, and nothing is loaded or drawn at random for them. Panels go to ``pictures/`` in the run folder
    and to every logger: ``cam_val`` (in fit also ``cam_val_epoch_004`` and so on), ``cam_test``,
    ``cam_predict``; and where clean labels are known ``cam_train``: training faces whose given label is
    wrong, as they were augmented when they were first seen. The network is left as it was: modes, gradients,
    hooks and random state.

    Args:
        samples: Faces on a panel.
        every_n_epochs: In fit a panel is drawn after every so many epochs; one at the end always is.
        method: ``cam``: the maps that the classifier sums up. ``grad_cam`` or ``layer_cam`` fit networks that
            do not end in pooling and a linear layer, and need the extra ``cam``.

    Raises:
        ConfigurationError: If a number is below 1; at setup, if the module is no FERModule, or the method is
            unknown, not installed, or nothing that the module can serve.
    """

    def __init__(self, samples: int = 8, every_n_epochs: int = 5, method: str = "cam") -> None:
        for name, value in (("samples", samples), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ConfigurationError(f"Expected CAMCallback's {name} to be at least 1, but got {value}.")
        self.samples = samples
        self.every_n_epochs = every_n_epochs
        self.method = method
        self._galleries: dict[str, Gallery] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse what cannot be drawn, and forget the faces of an earlier run."""
        check_method(fer_module(pl_module, "CAMCallback"), self.method)
        self._galleries = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Set aside training faces whose given label is known to be wrong."""
        self._collect(trainer, pl_module, batch, "train")

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *position: int
    ) -> None:
        """Set faces aside, in the first epoch."""
        if not trainer.sanity_checking:
            self._collect(trainer, pl_module, batch, "val")

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *position: int
    ) -> None:
        """Set faces aside."""
        self._collect(trainer, pl_module, batch, "test")

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *position: int
    ) -> None:
        """Set faces aside."""
        self._collect(trainer, pl_module, batch, "predict")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw this epoch's panels; its validation has run by now."""
        for gallery in self._galleries.values():
            gallery.closed = True
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, "val", trainer.current_epoch)
            self._draw(trainer, pl_module, "train", trainer.current_epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the panels of the trained network."""
        self._draw(trainer, pl_module, "val")
        self._draw(trainer, pl_module, "train")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the panel of ``trainer.validate``; a fit draws at the end of its epochs."""
        if trainer.state.fn == "validate":
            self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the panel."""
        self._draw(trainer, pl_module, "test")

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the panel."""
        self._draw(trainer, pl_module, "predict")

    def _collect(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, split: str) -> None:
        if not writes_files(trainer):
            return
        module = fer_module(pl_module, "CAMCallback")
        if split not in self._galleries:
            self._galleries[split] = Gallery(self.samples, module.num_classes, wrong_labels_only=split == "train")
        gallery = self._galleries[split]
        if not gallery.closed:
            gallery.add(
                cast(Batch, {"image": to_float_rgb(batch)}) if isinstance(batch, Tensor) else module.unpack(batch)
            )

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule, split: str, epoch: int | None = None) -> None:
        faces = self._galleries[split].faces() if split in self._galleries else []
        module = fer_module(pl_module, "CAMCallback")
        title = _TITLES[split] + ("" if epoch is None else f" · epoch {epoch}")
        panel = self._panel(module, faces, title) if faces else None
        name = f"cam_{split}" if epoch is None else f"cam_{split}_epoch_{epoch:03d}"
        save_picture(trainer, name, panel, tag=f"cam/{split}")

    def _panel(self, module: FERModule, faces: list[Face], title: str) -> NDArray[np.uint8]:
        given, clean = (torch.tensor([face[part] for face in faces]) for part in (1, 2))
        images = torch.stack([face[0] for face in faces])
        samples = explain(module, images, given, clean, method=self.method)
        return cam_panel(samples, module.class_names, title=title)
