"""Any folder of faces with labels, as batches for training and evaluation."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, SequentialSampler

from eac_lightning._lightning import L, check_same_namespace
from eac_lightning.batch import to_float_rgb
from eac_lightning.data.annotations import ON_BAD_IMAGE, Annotations, read_annotations
from eac_lightning.data.dataset import BatchLoader, FaceDataset, identity
from eac_lightning.data.duplicates import DUPLICATES, leave_out_duplicates
from eac_lightning.data.label_changes import change_labels
from eac_lightning.data.pictures import list_pictures
from eac_lightning.data.samplers import DistributedBatches
from eac_lightning.data.shards.manifest import holds_shards
from eac_lightning.data.shards.options import refuse_options
from eac_lightning.data.split_faces import SPLITS, SplitFaces
from eac_lightning.data.store import CACHES
from eac_lightning.data.targets import TARGETS, check_soft_target, describe_soft_target
from eac_lightning.data.transforms import augmentation
from eac_lightning.data.unlabelled import WithUnlabelled, read_unlabelled
from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.faces.settings import read_alignment
from eac_lightning.labels.noise import LabelNoise
from eac_lightning.seeding import default_seed, derive_seed, seeded
from eac_lightning.types import Batch

if TYPE_CHECKING:
    from eac_lightning.data.shards.loading import ShardedFaces

SAMPLERS = ("shuffle", "balanced")
SUBSETS = (*SPLITS, "predict", "held_out")
_STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}

logger = logging.getLogger("eac_lightning")


class FERDataModule(L.LightningDataModule):
    """Faces and labels of any data set that ``read_annotations`` reads.

    ``noise`` is drawn for the training split alone, and what it started from becomes the clean label; then
    ``label_overrides`` correct what there is. Validation and testing judge by the clean label wherever it is known.
    Prediction runs over every picture of every split, in the order of the table, with its given label.

    Args:
        root: The data set's folder, or its table.
        layout: The name of one of ``LAYOUTS``, such as ``"folder"``, ``"table"`` or ``"ferplus"``, ``"shards"``, what
            ``eac data pack`` wrote, here or in object storage; or ``"auto"``.
        classes: Subset and order of the classes.
        image_size: Side of the pictures that the network sees.
        batch_size: Faces per batch and process.
        num_workers: Processes that load; a store needs none.
        val_fraction: Share of the training split to validate on where the data bring no validation split.
            With 0 and a test split, that is used, as papers do.
        test_fraction: Share to test on where the data bring no split at all.
        augment: ``"none"``, ``"flip"`` or ``"standard"``, see ``augmentation``.
        noise: Wrong labels to train on, such as ``SymmetricNoise(0.3)``.
        label_overrides: A corrections table, see ``apply_overrides``, or several, applied one after the other.
        sampler: ``"shuffle"``, or ``"balanced"``: every class equally often.
        cache: Where decoded pictures are kept: ``"ram"``; ``"disk"``, for later runs and all processes of the machine;
            ``"auto"``, see ``ImageStore``; or ``"none"``: each is decoded whenever it is drawn, by ``num_workers``.
            Those of ``unlabelled_root`` are then in RAM.
        on_bad_image: ``"error"`` lists the pictures that cannot be read; ``"skip"`` leaves them out.
        seed: Seed of splits, noise, orders and augmentation; that of ``seed_everything``, else 0, if None.
        columns: For tables: column name by role (path, label, split, clean_label, subject, group).
        votes: For FER+: ``"majority"``, ``"plurality"``, ``"above_half"`` or ``"soft"``.
        store_size: Side at which pictures are kept, if not ``image_size``.
        subset: Train on that many faces only, drawn by seed with the classes in proportion. Their labels are
            those that they have without it.
        per_class: Train on that many faces of each class only, drawn by seed; on all of a class that has fewer.
        unlabelled_root: A folder of more faces, whatever they show, for training steps that read no labels.
        target: ``"soft"`` trains on the distribution of raters' votes where the data bring them (FER+, or a table
            with columns ``votes_<class>``), ``"hard"`` on the label; None is hard, unless ``votes`` is ``"soft"``.
        duplicates: ``"keep"``, or ``"drop"``: train on no picture that val or test has too, the same or nearly,
            and once only on those alike within train, see ``leave_out_duplicates``. Every picture is decoded
            once more for it. Noise is drawn before, and sample ids stay.
        folds: Train on all but one of so many parts of the training split, see ``assign_folds``;
            ``audit_dataloader`` then gives the part that is held out.
        fold: Which part is held out, in [0, folds).
        angles: For KDEF: the views to read, of "FL", "HL", "S", "HR" and "FR", full left to full right.
        allow_outside: Whether tables and links may lead out of ``root``.

    Raises:
        ConfigurationError: If an option has a value that it cannot have.
    """

    def __init__(
        self,
        root: str | Path,
        layout: str = "auto",
        classes: list[str] | None = None,
        image_size: int = 224,
        batch_size: int = 32,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        augment: str = "none",
        noise: LabelNoise | None = None,
        label_overrides: str | list[str] | None = None,
        sampler: str = "shuffle",
        cache: str = "auto",
        on_bad_image: str = "error",
        seed: int | None = None,
        columns: dict[str, str] | None = None,
        votes: str = "majority",
        store_size: int | None = None,
        subset: int | None = None,
        per_class: int | None = None,
        unlabelled_root: str | Path | None = None,
        target: str | None = None,
        duplicates: str = "keep",
        folds: int | None = None,
        fold: int = 0,
        angles: Sequence[str] = ("S",),
        allow_outside: bool = False,
    ) -> None:
        super().__init__()
        _check_choice("sampler", sampler, SAMPLERS)
        _check_choice("cache", cache, CACHES)
        _check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
        _check_choice("duplicates", duplicates, DUPLICATES)
        if target is not None:
            _check_choice("target", target, TARGETS)
        if folds is not None and not 0 <= fold < folds:
            raise ConfigurationError(f"fold must be one of the {folds} folds, from 0, but is {fold}.")
        sizes = {
            "image_size": image_size,
            "batch_size": batch_size,
            "store_size": store_size,
            "subset": subset,
            "per_class": per_class,
        }
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} must be at least 1, but is {value}.")
        if layout == "auto" and ("://" in str(root) or holds_shards(Path(root).expanduser())):
            layout = "shards"
        if layout == "shards":
            refuse_options(
                {
                    "classes": classes, "columns": columns, "votes": votes, "noise": noise, "folds": folds,
                    "label_overrides": label_overrides, "sampler": sampler, "subset": subset, "per_class": per_class,
                    "unlabelled_root": unlabelled_root, "duplicates": duplicates, "val_fraction": val_fraction,
                    "test_fraction": test_fraction, "angles": tuple(angles), "allow_outside": allow_outside,
                    "on_bad_image": on_bad_image, "cache": cache,
                }
            )  # fmt: skip
        self.root = Path(root)
        self._address = str(root)  # of shards, perhaps elsewhere, which no Path can hold
        self.layout = layout
        self.classes = classes
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.augmentation = augmentation(augment)
        self.noise = noise
        self.label_overrides = label_overrides
        self.sampler = sampler
        self.cache = cache
        self.on_bad_image = on_bad_image
        self.seed = seed
        self.columns = columns
        self.votes = votes
        self.store_size = store_size or image_size
        self.subset = subset
        self.per_class = per_class
        self.unlabelled_root = unlabelled_root
        self.duplicates = duplicates
        self.folds = folds
        self.fold = fold
        self.angles = angles
        self.allow_outside = allow_outside
        self.target = target or ("soft" if votes == "soft" else "hard")
        # A smaller last batch in evaluation may leave some processes without one.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._annotations: Annotations | None = None
        self._unlabelled: NDArray[np.uint8] | None = None
        self._said = False

    @property
    def annotations(self) -> Annotations:
        """What is known of every picture, labels as training is given them; read when first asked for."""
        if self._annotations is None and self._sharded is not None:
            self._annotations = self._sharded.annotations()
        if self._annotations is None:
            read = read_annotations(
                self.root,
                self.layout,
                classes=self.classes,
                columns=self.columns,
                votes=self.votes,
                angles=self.angles,
                val_fraction=self.val_fraction,
                test_fraction=self.test_fraction,
                seed=self._seed,
                on_bad_image=self.on_bad_image,
                allow_outside=self.allow_outside,
            )
            if self.target == "soft":
                check_soft_target(read)
            changed = change_labels(read, self.label_overrides, self.noise, self._seed)
            self._annotations = leave_out_duplicates(changed) if self.duplicates == "drop" else changed
        return self._annotations

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, in the order of the labels."""
        return self._sharded.class_names if self._sharded else self.annotations.class_names

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """(K,) how many faces of each class are trained on, by the labels that training is given.

        Raises:
            DataError: If there is no training split, or its pictures, which decide who is trained on, cannot be read.
        """
        if self._sharded is not None:
            self._sharded.shards("train")  # counts nothing where there are none
            return tuple(self._sharded.manifest.class_counts("train").tolist())
        return tuple(np.bincount(self.dataset("train").labels, minlength=self.num_classes).tolist())

    @cached_property
    def alignment(self) -> dict[str, Any] | None:
        """How ``eac faces`` cut these faces out, as ``Alignment.to_dict`` says it; None if it did not."""
        return self._sharded.alignment if self._sharded else read_alignment(self.root)

    @cached_property
    def _sharded(self) -> "ShardedFaces | None":
        if self.layout != "shards":
            return None
        from eac_lightning.data.shards.loading import ShardedFaces

        return ShardedFaces(self._address, self.store_size, self.target == "soft")

    @cached_property
    def _faces(self) -> SplitFaces:
        return SplitFaces(
            self.annotations,
            self.root,
            self.store_size,
            self.cache,
            self.on_bad_image,
            self._seed,
            test_as_val=self.val_fraction == 0,
            subset=self.subset,
            per_class=self.per_class,
            folds=self.folds,
            fold=self.fold,
            soft=self.target == "soft",
        )

    @property
    def validates_on_test(self) -> bool:
        """Whether the test split stands in for a validation split, as ``val_fraction=0`` has it."""
        if self._sharded is None:
            return self._faces.source("val") == "test"
        return self.val_fraction == 0 and "val" not in self._sharded.manifest.splits

    @property
    def _seed(self) -> int:
        return default_seed() if self.seed is None else self.seed

    def setup(self, stage: str | None = None) -> None:
        """Read labels and pictures of the splits that ``stage`` needs.

        Raises:
            DataError: If the data are not what they should be; lists every picture that cannot be read.
        """
        if self.trainer is not None:
            check_same_namespace(self.trainer)
        if not self._said and (self.trainer is None or self.trainer.is_global_zero):
            logger.info(self.summary())
            self._said = True
        if self._sharded is not None:
            return
        # A split that is missing may not be needed: Lightning asks for it if it is.
        faces = self._faces
        faces.read([split for split in _STAGES.get(stage or "", SPLITS) if len(faces.rows(split))])
        if self.unlabelled_root is not None and stage == "fit":
            self._check_unlabelled(Path(self.unlabelled_root))

    def _check_unlabelled(self, root: Path) -> None:
        list_pictures(root, "unlabelled faces", self.allow_outside)
        module = type(getattr(self.trainer, "lightning_module", None))
        # A property of the class where a part of the epochs reads them, plainly False where none does.
        if not getattr(module, "reads_unlabelled", False):
            logger.warning("%s reads no faces without labels: unlabelled_root is not used.", module.__name__)

    def dataset(self, split: str) -> FaceDataset:
        """Return the faces of ``"train"``, ``"val"``, ``"test"``, or of all of them for ``"predict"``.

        Raises:
            DataError: If the data have no such split, or pictures cannot be read.
        """
        _check_choice("split", split, SUBSETS)
        return self._faces.dataset(split)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the training split in the order of ``sampler``.

        While the module says ``reads_unlabelled``, the unlabelled faces are among them.
        """
        module = getattr(self.trainer, "lightning_module", None)
        if self.unlabelled_root is not None and getattr(module, "reads_unlabelled", False):
            if self._unlabelled is None:
                self._unlabelled = read_unlabelled(
                    Path(self.unlabelled_root), self.store_size, self.cache, self.on_bad_image, self.allow_outside
                )
            return self._loader("train", "shuffle", WithUnlabelled(self.dataset("train"), self._unlabelled))
        return self._loader("train", self.sampler)

    def audit_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the training split in the order of the table, un-augmented; of the part held out."""
        return self._loader("train" if self.folds is None else "held_out", "sequential")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the validation split; of the test split where ``val_fraction=0`` says so."""
        return self._loader("val", "sequential")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the test split."""
        return self._loader("test", "sequential")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return batches of every picture, in the order of the table."""
        return self._loader("predict", "sequential")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Bring the pictures to float RGB of ``image_size`` on the device; augment them in training."""
        del dataloader_idx
        image = to_float_rgb(batch["image"])
        if self.store_size != self.image_size:
            image = interpolate(image, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        trainer = self.trainer
        if self.augmentation is not None and trainer is not None and trainer.training:
            where = (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx, trainer.global_rank)
            with seeded(derive_seed(self._seed, "augment", *where), image.device):
                image = self.augmentation(image)
        return cast(Batch, {**batch, "image": image})

    def summary(self) -> str:
        """Return in a few lines what was read, assumed, left out and changed."""
        if self._sharded is not None:
            return self._sharded.summary()
        return self._faces.summary([describe_soft_target(self.annotations)] * (self.target == "soft"))

    def _loader(self, split: str, order: str, dataset: FaceDataset | WithUnlabelled | None = None) -> DataLoader[Batch]:
        if self._sharded is not None:
            return self._sharded_loader(self._sharded, split, order)
        dataset = dataset or self.dataset(split)
        batches = DistributedBatches(len(dataset), self.batch_size, order, self._seed, dataset.labels)
        # Under overfit_batches Lightning puts a sequential sampler in the place of any other.
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0 and split in ("train", "val")
        return BatchLoader(
            dataset,
            self.batch_size if overfit else None,
            sampler=SequentialSampler(dataset) if overfit else batches,
            collate_fn=identity,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # each iterator draws a number, else from the global one
        )

    def _sharded_loader(self, faces: "ShardedFaces", split: str, order: str) -> DataLoader[Batch]:
        if getattr(self.trainer, "overfit_batches", 0) > 0:
            raise ConfigurationError("overfit_batches needs faces in memory: pack a few, or use a folder of them.")
        if split == "val" and self.validates_on_test:
            split = "test"
        return faces.loader(split, self.batch_size, num_workers=self.num_workers, order=order, seed=self._seed)


def _check_choice(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise unknown_name(kind, name, known)
