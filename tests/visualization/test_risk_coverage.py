import numpy as np
import pytest
import torch

from eac_lightning.errors import DataError
from eac_lightning.visualization.risk_coverage import _figure, risk_coverage_plot

SURE = torch.tensor([0.9, 0.8, 0.7, 0.6], dtype=torch.float64)
RIGHT = torch.tensor([True, True, False, True])


def test_the_curve_and_the_best_one_are_drawn() -> None:
    figure = _figure(SURE, RIGHT, None, "Test")
    risk, best = (line.get_xydata() for line in figure.axes[0].lines)
    assert risk[:, 0].tolist() == [0.25, 0.5, 0.75, 1]
    assert risk[:, 1].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert best[:, 1].tolist() == pytest.approx([0, 0, 0, 1 / 4])
    assert [text.get_text() for text in figure.texts] == ["Test", "AURC 0.146 · all 4 faces answered: 25.0% wrong"]


@pytest.mark.parametrize(
    ("threshold", "point", "text"),
    [
        (0.75, (0.5, 0.0), "confidence ≥ 0.75\n50% answered, 100.0% right"),
        (0.7, (0.75, 1 / 3), "confidence ≥ 0.7\n75% answered, 66.7% right"),
    ],
)
def test_the_threshold_is_marked(threshold: float, point: tuple[float, float], text: str) -> None:
    axes = _figure(SURE, RIGHT, threshold, "").axes[0]
    assert axes.lines[-1].get_xydata()[0].tolist() == pytest.approx(point)
    assert axes.texts[0].get_text() == text


def test_a_threshold_that_answers_nobody_is_said() -> None:
    axes = _figure(SURE, RIGHT, 0.95, "").axes[0]
    assert len(axes.lines) == 2
    assert axes.texts[0].get_text() == "confidence ≥ 0.95: nobody is answered"


@pytest.mark.parametrize("threshold", [None, 0.6, 0.9, 2.0])
@pytest.mark.parametrize("right", [RIGHT, ~RIGHT, torch.ones(4).bool()])
def test_nothing_is_written_outside_of_the_picture(threshold: float | None, right: torch.Tensor) -> None:
    image = risk_coverage_plot(SURE, right, threshold=threshold)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="at least one face"):
        risk_coverage_plot(torch.zeros(0), torch.zeros(0).bool())
