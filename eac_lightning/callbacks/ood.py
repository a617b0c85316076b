"""Which faces are not like the training data: fitted when training has ended, and stored with the weights."""

import logging
from typing import Any

import torch

from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.callbacks._after_training import AfterTraining, Said, everything_said, twin_of, warn
from eac_lightning.callbacks._loaders import training_faces, training_in_order, validation_in_order
from eac_lightning.callbacks._module import fer_module
from eac_lightning.errors import ConfigurationError, EACError, unknown_name
from eac_lightning.maps.undisturbed import undisturbed
from eac_lightning.metrics.ood import threshold_at
from eac_lightning.modules.base import FERModule
from eac_lightning.ood import OOD_SCORES, KNearestNeighbours, Mahalanobis, OODScore, RelativeMahalanobis

logger = logging.getLogger("eac_lightning")


class OODCallback(AfterTraining):
    """Fits out-of-distribution scores on the training faces, so that ``eac infer`` knows what it has never seen.

    When training has ended, relative Mahalanobis, Mahalanobis and nearest neighbours are fitted on the features of the
    training faces, un-augmented, with the labels that training was given. They are stored in ``last.ckpt`` and
    ``best.ckpt``, in each for its own weights, with the threshold of the one that decides, which leaves
    ``true_positive_rate`` of the validation faces below: what lies above is not like the training data.

    All of it is float64: with 2,000 neighbours a checkpoint grows by 15 MB for 512 features, and by 134 MB for the 2048
    of a ResNet-50.

    Args:
        score: What decides: ``"relative_mahalanobis"``, ``"mahalanobis"``, ``"knn"``, ``"max_softmax"`` or
            ``"energy"``.
        shrinkage: Of the covariances, in [0, 1], see :class:`~eac_lightning.ood.Mahalanobis`.
        normalize: Whether the Mahalanobis distances bring features to length 1 first.
        true_positive_rate: Share of the validation faces that shall count as like the training data, in (0, 1].
        neighbours: Which neighbour counts, from 1.
        keep: The most training features to keep for the neighbours.

    Raises:
        ConfigurationError: If an argument lies outside its range; at setup, if the module is no FERModule or there is
            no validation split; before the first step, if the training faces cannot be gone over in order, the module
            has no features, or what decides needs more faces.
    """

    def __init__(
        self,
        score: str = "relative_mahalanobis",
        shrinkage: float = 0.01,
        normalize: bool = False,
        true_positive_rate: float = 0.95,
        neighbours: int = 10,
        keep: int = 2000,
    ) -> None:
        if score not in OOD_SCORES:
            raise unknown_name("out-of-distribution score", score, OOD_SCORES)
        if not 0 < true_positive_rate <= 1:
            raise ConfigurationError(
                f"Expected true_positive_rate to be above 0 and at most 1, but got {true_positive_rate}."
            )
        self.score = score
        self.shrinkage = shrinkage
        self.normalize = normalize
        self.true_positive_rate = true_positive_rate
        self.neighbours = neighbours
        self.keep = keep
        self._checked = False
        self._unfitted()  # refuses what a score cannot be given

    def _unfitted(self) -> dict[str, OODScore]:
        scores: dict[str, OODScore] = {
            "relative_mahalanobis": RelativeMahalanobis(self.shrinkage, self.normalize),
            "mahalanobis": Mahalanobis(self.shrinkage, self.normalize),
            "knn": KNearestNeighbours(self.neighbours, keep=self.keep),
        }
        return scores if self.score in scores else {**scores, self.score: OOD_SCORES[self.score]()}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a training set that cannot be gone over, and a module that cannot be copied."""
        super().on_train_start(trainer, pl_module)
        training_in_order(trainer, "OODCallback")
        if getattr(trainer.datamodule, "folds", None) is not None:  # type: ignore[attr-defined]
            raise ConfigurationError(
                "OODCallback goes over the faces that are trained on, but with folds the DataModule's audit_dataloader "
                "gives those that are held out. Leave the callback or the folds out."
            )
        self._checked = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Refuse before the first step what could only fail after the last."""
        if not self._checked:
            module = fer_module(pl_module, "OODCallback")
            self._check_faces(trainer, module, _features(module, batch))
        self._checked = True

    def _check_faces(self, trainer: L.Trainer, module: FERModule, features: int) -> None:
        if not issubclass(OOD_SCORES[self.score], Mahalanobis):
            return
        faces = training_faces(trainer)
        least = features + module.num_classes * (self.shrinkage == 0)
        if hasattr(faces, "__len__") and len(faces) < least:
            raise ConfigurationError(
                f"Expected at least {least} training faces for {self.score} of {features} features with "
                f"shrinkage={self.shrinkage:g}, but there are {len(faces)}: their covariance is singular. Take "
                "score='knn', which needs none (--trainer.callbacks.score knn behind the callback), a backbone of "
                "fewer features, or more faces."
            )
        counts = getattr(trainer.datamodule, "class_counts", ())  # type: ignore[attr-defined]
        for name, count in zip(module.class_names, counts, strict=False):
            if count == 1:
                raise ConfigurationError(
                    f"Expected at least two training faces of each class for {self.score}, but {name} has one. "
                    "Take score='knn', give more faces, or leave the class out (--data.classes)."
                )

    def ask(self, trainer: L.Trainer, module: FERModule) -> dict[str, tuple[Said, Said]]:
        """Return what the weights say of the training and of the validation faces, by what scores read."""
        return {
            reads: (
                everything_said(trainer, module, training_in_order(trainer, "OODCallback"), reads),
                everything_said(trainer, module, validation_in_order(trainer), reads),
            )
            for reads in sorted({"features", OOD_SCORES[self.score].reads})
        }

    def conclude(self, said: Any, weights: str) -> dict[str, Any]:
        """Return the scores that can be fitted, and the threshold of the one that decides if it is among them."""
        fitted: dict[str, OODScore] = {}
        for name, score in self._unfitted().items():
            training, _ = said[score.reads]
            try:
                fitted[name] = score.fit(training.values, training.label)
            except EACError as error:
                warn("%s is not stored with %s. %s", name, weights, error)
        if self.score not in fitted:
            return {"ood": fitted, "ood_score": None, "ood_threshold": None}
        _, validation = said[OOD_SCORES[self.score].reads]
        threshold = threshold_at(fitted[self.score].score(validation.values), self.true_positive_rate)
        return {"ood": fitted, "ood_score": self.score, "ood_threshold": threshold}

    def tell(self, trainer: L.Trainer, said: Any, answers: Answering) -> None:
        """Say where the line is drawn."""
        if trainer.is_global_zero and answers.ood_score is not None:
            _, validation = said[OOD_SCORES[self.score].reads]
            logger.info("%s", self.in_words(answers, len(validation.label)))

    def in_words(self, answers: Answering, faces: int) -> str:
        """Return where the line was drawn on so many validation faces."""
        return (
            f"{answers.ood_score}: {100 * self.true_positive_rate:.4g} % of {faces} validation faces score at most "
            f"{answers.ood_threshold:.4g}; what scores more is not like the training data"
        )


def _features(module: FERModule, batch: Any) -> int:
    """Return how many features the module has of a face.

    Raises:
        ConfigurationError: If it has none.
    """
    face = module.unpack(batch)["image"][:1]
    twin = twin_of(module)
    try:
        with undisturbed(twin), torch.no_grad():
            return twin.features(face).shape[1]
    except (AttributeError, NotImplementedError) as error:
        raise ConfigurationError(
            f"OODCallback fits the module's features, (N, C) of N faces, but {type(module).__name__} has none "
            f"({error}). Override features(image), or leave the callback out."
        ) from error
