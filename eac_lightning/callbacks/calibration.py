"""How far to trust the network's confidence: fitted when training has ended, and stored with the weights."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.calibration import TemperatureScaling, expected_calibration_error, threshold_for_accuracy
from eac_lightning.callbacks._after_training import AfterTraining, Said, everything_said, warn
from eac_lightning.callbacks._loaders import validation_in_order
from eac_lightning.callbacks._pictures import save_picture
from eac_lightning.callbacks.report import add_results
from eac_lightning.errors import ConfigurationError
from eac_lightning.modules.base import FERModule
from eac_lightning.visualization.reliability import reliability_diagram
from eac_lightning.visualization.risk_coverage import risk_coverage_plot

logger = logging.getLogger("eac_lightning")


class CalibrationCallback(AfterTraining):
    """Fits a temperature on the validation faces, so that a confidence of 80 % is right four times out of five.

    When training has ended it is stored in ``last.ckpt`` and ``best.ckpt``, in each for its own weights; ``eac infer``,
    ``eac predict`` and ``Predictor`` then give calibrated probabilities. With ``accuracy`` the confidence is stored as
    well below which a face is ``unsure``, so that the others have that accuracy on validation. Of the final weights
    the calibration error before and after goes to the loggers (``calibration/ece_before``, ``calibration/ece_after``)
    and into ``results.json``, and ``pictures/reliability.png`` and ``pictures/risk_coverage.png`` are drawn.

    Both are figures of the faces that they were fitted on, and slightly better than on others: ``eac test`` gives the
    calibration error of the calibrated probabilities on the test faces. Where those are validated on (no
    validation split, and ``val_fraction=0``), there is no such figure.

    Args:
        accuracy: Wanted of the faces that are answered, in (0, 1]; None stores no threshold.

    Raises:
        ConfigurationError: If the accuracy lies outside; at setup, if the module is no FERModule or there is no
            validation split.
    """

    def __init__(self, accuracy: float | None = None) -> None:
        if accuracy is not None and not 0 < accuracy <= 1:
            raise ConfigurationError(f"Expected accuracy to be above 0 and at most 1, but got {accuracy}.")
        self.accuracy = accuracy

    def ask(self, trainer: L.Trainer, module: FERModule) -> Said:
        """Return the logits of the validation faces."""
        return everything_said(trainer, module, validation_in_order(trainer), "logits")

    def conclude(self, said: Any, weights: str) -> dict[str, Any]:
        """Return the temperature and the confidence that the wanted accuracy takes, None where none is enough."""
        temperature = TemperatureScaling().fit(said.values, said.label).temperature
        found = {"temperature": temperature, "min_confidence": None, "wanted_accuracy": self.accuracy}
        if self.accuracy is not None:
            try:
                found["min_confidence"] = threshold_for_accuracy(
                    *_confidence(said, Answering(temperature)), self.accuracy
                )
            except ConfigurationError as error:
                warn("No face will be unsure to %s. %s", weights, error)
        return found

    def tell(self, trainer: L.Trainer, said: Said, answers: Answering) -> None:
        """Log the calibration error before and after, and draw."""
        figures = calibration_figures(said, answers)
        for one in trainer.loggers:
            # In the row of the last epoch, whose step is that of its last batch.
            one.log_metrics({f"calibration/{name}": value for name, value in figures.items()}, trainer.global_step - 1)
        add_results(trainer, {"calibration": figures})
        diagram = reliability_diagram(
            {
                "as trained": said.values.softmax(1),
                f"temperature {answers.temperature:.3g}": answers.probabilities(said.values),
            },
            said.label,
        )
        plot = risk_coverage_plot(*_confidence(said, answers), threshold=answers.min_confidence)
        for name, picture in {"reliability": diagram, "risk_coverage": plot}.items():
            save_picture(trainer, name, picture, tag=f"calibration/{name}")
        if trainer.is_global_zero:
            logger.info("%s", in_words(figures, len(said.label)))


def calibration_figures(said: Said, answers: Answering) -> dict[str, float]:
    """Return what a calibration is worth on faces whose logits are known.

    Returns:
        ``temperature``, ``ece_before`` and ``ece_after`` in [0, 1]; where some faces are unsure also
        ``min_confidence``, ``coverage``, the share of the others, and ``answered_accuracy``, theirs, all in [0, 1].
    """
    before, after = (
        expected_calibration_error(probabilities, said.label)
        for probabilities in (said.values.softmax(1), answers.probabilities(said.values))
    )
    figures = {"temperature": answers.temperature, "ece_before": before, "ece_after": after}
    if answers.min_confidence is None:
        return figures
    confidence, correct = _confidence(said, answers)
    answered = confidence >= answers.min_confidence
    return figures | {
        "min_confidence": answers.min_confidence,
        "coverage": float(answered.double().mean()),
        "answered_accuracy": float(correct[answered].double().mean()),
    }


def in_words(figures: Mapping[str, float], faces: int) -> str:
    """Return the figures of so many validation faces as a line."""
    line = (
        f"temperature {figures['temperature']:.3g}: calibration error {figures['ece_before']:.1%} before, "
        f"{figures['ece_after']:.1%} after, on {faces} validation faces"
    )
    if "min_confidence" not in figures:
        return line
    return (
        f"{line}; unsure below {figures['min_confidence']:.3g}: {figures['coverage']:.1%} answered, "
        f"{figures['answered_accuracy']:.1%} of them right"
    )


def _confidence(said: Said, answers: Answering) -> tuple[Tensor, Tensor]:
    """Return the (N,) confidence of each answer, and whether it is right."""
    confidence, predicted = answers.probabilities(said.values).max(1)
    return confidence, predicted == said.label
