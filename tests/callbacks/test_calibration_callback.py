"""CalibrationCallback against a temperature that is fitted by hand on what `load_module` gives back."""

import csv
import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

from eac_lightning import CalibrationCallback
from eac_lightning.calibration import TemperatureScaling, expected_calibration_error, threshold_for_accuracy
from eac_lightning.errors import ConfigurationError
from eac_lightning.modules import load_module
from eac_lightning.runs.metrics_logger import MetricsLogger
from tests.callbacks.test_after_training import fit, stored
from tests.callbacks.test_ood_callback import by_hand


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_each_checkpoint_has_the_temperature_of_its_own_weights(name: str, faces: Path, tmp_path: Path) -> None:
    fit(faces, tmp_path, CalibrationCallback(accuracy=0.4))
    assert stored(tmp_path)["temperature"] != stored(tmp_path, "best.ckpt")["temperature"]
    module, validation = by_hand(tmp_path, name, faces, "val")
    answers, logits, label = module.answers, validation["logits"], validation["label"]
    assert answers is not None
    scaling = TemperatureScaling().fit(logits, label)
    assert answers.temperature == pytest.approx(scaling.temperature, rel=1e-4)
    confidence, predicted = scaling(logits).softmax(1).max(1)
    wanted = threshold_for_accuracy(confidence, predicted == label, 0.4)
    assert answers.min_confidence == pytest.approx(wanted, abs=1e-5)
    assert answers.wanted_accuracy == 0.4
    answered = answers.probabilities(logits).amax(1) >= answers.min_confidence - 1e-5
    assert (predicted == label)[answered].float().mean() >= 0.4


def test_figures_go_to_loggers_results_screen_and_pictures(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eac_lightning")
    fit(faces, tmp_path, CalibrationCallback(0.4), logger=MetricsLogger(tmp_path))
    module, validation = by_hand(tmp_path, "last.ckpt", faces, "val")
    assert module.answers is not None
    before = expected_calibration_error(validation["logits"].softmax(1), validation["label"])
    after = expected_calibration_error(module.answers.probabilities(validation["logits"]), validation["label"])
    confidence = module.answers.probabilities(validation["logits"]).amax(1)
    assert module.answers.min_confidence is not None
    answered = confidence >= module.answers.min_confidence - 1e-6
    right = validation["logits"].argmax(1) == validation["label"]
    answered_accuracy = float(right[answered].float().mean())
    figures = {
        "temperature": module.answers.temperature,
        "ece_before": before,
        "ece_after": after,
        "min_confidence": module.answers.min_confidence,
        "coverage": float(answered.float().mean()),
        "answered_accuracy": answered_accuracy,
    }
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["calibration"] == pytest.approx(figures, abs=1e-4)
    assert "fit" in results
    *earlier, last = csv.DictReader((tmp_path / "metrics.csv").open())
    assert len(earlier) == 2
    assert last["epoch"] == "2"
    assert {name: float(last[f"calibration/{name}"]) for name in figures} == pytest.approx(figures, abs=1e-4)
    assert all(row["calibration/temperature"] == "" for row in earlier)
    [said] = [line for line in caplog.messages if line.startswith("temperature")]
    assert f"calibration error {before:.1%} before, {after:.1%} after, on 12 validation faces" in said
    assert "; unsure below" in said
    for name in ("reliability", "risk_coverage"):
        assert Image.open(tmp_path / "pictures" / f"{name}.png").width > 300


def test_without_a_wanted_accuracy_nobody_is_unsure(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eac_lightning")
    net = fit(faces, tmp_path, CalibrationCallback(), max_epochs=1)
    assert net.answers is not None
    assert (net.answers.min_confidence, net.answers.wanted_accuracy) == (None, None)
    assert "unsure" not in caplog.text
    assert json.loads((tmp_path / "results.json").read_text())["calibration"].keys() == {
        "temperature", "ece_before", "ece_after",
    }  # fmt: skip


def test_an_accuracy_out_of_reach_is_said_and_the_temperature_stored(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No face is a happy one: those that are taken for one of the others are wrong."""
    for path in sorted((faces / "val").glob("*/*.png")):
        pixels = Image.new("RGB", (16, 16), (128, 128, 128))
        pixels.save(path)
    fit(faces, tmp_path, CalibrationCallback(accuracy=0.9), max_epochs=1)
    for checkpoint in ("the trained weights", "best.ckpt"):
        said = f"No face will be unsure to {checkpoint}. No confidence is high enough for an accuracy of 0.9"
        assert said in caplog.text or checkpoint == "best.ckpt"  # whose weights may be the same
    answers = load_module(tmp_path / "last.ckpt").answers
    assert answers is not None
    assert (answers.min_confidence, answers.wanted_accuracy) == (None, 0.9)
    assert answers.temperature != 1


def test_calibrated_probabilities_are_what_predict_tells(faces: Path, tmp_path: Path) -> None:
    fit(faces, tmp_path, CalibrationCallback(), max_epochs=2)
    module, validation = by_hand(tmp_path, "last.ckpt", faces, "val")
    temperature = stored(tmp_path)["temperature"]
    with torch.no_grad():
        logits = module(torch.zeros(2, 3, 16, 16))
        told = module.predict_step({"image": torch.zeros(2, 3, 16, 16)}, 0)["probabilities"]
    torch.testing.assert_close(told, (logits / temperature).softmax(1))
    assert len(validation["label"]) == 12


@pytest.mark.parametrize("accuracy", [0.0, -0.1, 1.5, 90])
def test_an_accuracy_that_is_none_is_refused(accuracy: float) -> None:
    with pytest.raises(ConfigurationError, match=f"accuracy to be above 0 and at most 1, but got {accuracy}"):
        CalibrationCallback(accuracy)
