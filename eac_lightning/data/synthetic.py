"""Synthetic faces, drawn when first needed."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from eac_lightning._files import making
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.data.emotions import choose_classes
from eac_lightning.errors import DataError
from eac_lightning.faces.synthetic import EXPRESSIONS, write_synthetic_faces
from eac_lightning.labels.noise import LabelNoise

_log = logging.getLogger(__name__)

MARK = "synthetic.json"
"""Says what a finished folder of synthetic faces was drawn with."""


class SyntheticFERDataModule(FERDataModule):
    """Parametric faces whose labels are right, so that wrong ones can be put in and counted.

    They are written to ``root`` once and reused by whoever asks for the same ones.

    Args:
        root: Folder to write to; new, empty, or holding faces that this class drew.
        count: Number of faces, all splits together.
        size: Side of the written pictures in pixels, 48 to 512.
        faces_seed: Seed of the faces, apart from ``seed``, so that runs with several seeds share them.
        variation: From 0 to 1: how far pose, light, occlusion and intensity spread.
        classes: Subset and order of the classes; all eight if None.
        image_size: Side of the pictures that the network sees.
        batch_size: Faces per batch and process.
        num_workers: Processes that load; the store needs none.
        val_fraction: Share of the faces to validate on.
        test_fraction: Share of the faces to test on.
        augment: ``"none"``, ``"flip"`` or ``"standard"``.
        noise: Wrong labels to train on.
        sampler: ``"shuffle"`` or ``"balanced"``.
        cache: Where decoded pictures are kept: ``"ram"``, ``"disk"`` or ``"auto"``.
        seed: Seed of noise, orders and augmentation; that of ``seed_everything``, else 0, if None.
        subset: Train on that many faces only.
        per_class: Train on that many faces of each class only.
        unlabelled_root: A folder of more faces for steps that read no labels.
        label_overrides: A corrections table, or several.
        folds: Train on all but one of so many parts of the training split.
        fold: Which part is held out.

    Raises:
        ConfigurationError: If an option has a value that it cannot have.
    """

    def __init__(
        self,
        root: str | Path = "runs/synthetic",
        count: int = 2000,
        size: int = 64,
        faces_seed: int = 0,
        variation: float = 1.0,
        classes: list[str] | None = None,
        image_size: int = 64,
        batch_size: int = 32,
        num_workers: int = 0,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        augment: str = "none",
        noise: LabelNoise | None = None,
        sampler: str = "shuffle",
        cache: str = "auto",
        seed: int | None = None,
        subset: int | None = None,
        per_class: int | None = None,
        unlabelled_root: str | Path | None = None,
        label_overrides: str | list[str] | None = None,
        folds: int | None = None,
        fold: int = 0,
    ) -> None:
        names, _ = choose_classes(list(EXPRESSIONS), classes)
        super().__init__(
            root,
            layout="folder",
            classes=list(names),
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            augment=augment,
            noise=noise,
            sampler=sampler,
            cache=cache,
            seed=seed,
            subset=subset,
            per_class=per_class,
            unlabelled_root=unlabelled_root,
            label_overrides=label_overrides,
            folds=folds,
            fold=fold,
        )
        self._names = names
        self._wanted: dict[str, Any] = {
            "count": count,
            "size": size,
            "seed": faces_seed,
            "variation": variation,
            "classes": sorted(names),
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
        }

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, known before a face is drawn."""
        return self._names

    def prepare_data(self) -> None:
        """Draw the faces, unless ``root`` holds the same ones; other ones that were drawn here are replaced.

        Raises:
            ConfigurationError: If the count, the size, a class or a fraction cannot be.
            DataError: If ``root`` holds anything else.
        """
        mark = self.root / MARK
        if mark.is_file():
            if json.loads(mark.read_text()) == self._wanted:
                return
            # The mark says that these were drawn here, and the same settings draw the same faces again.
            _log.info("%s holds other synthetic faces; it is drawn anew.", self.root)
            old = self.root.with_name(f".{self.root.name}.old")  # half removed, it would be taken for the user's
            shutil.rmtree(old, ignore_errors=True)
            self.root.rename(old)
            shutil.rmtree(old)
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise DataError(
                f"{self.root} holds something else than synthetic faces of this DataModule. Name a new "
                "folder; to train on what is there, use FERDataModule (on the command line: -c data/folder)."
            )
        self._write()

    def _write(self) -> None:
        bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        with making(self.root) as made, bar:
            task = bar.add_task("Drawing synthetic faces")
            write_synthetic_faces(
                made,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                **self._wanted,
            )
            (made / MARK).write_text(json.dumps(self._wanted))
