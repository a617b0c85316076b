import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.visualization.canvas import RIGHT
from eac_lightning.visualization.reliability import _figure, reliability_diagram

# Two faces at 0.9, of which one is right, and two at 0.65, both right: ECE = (2·0.4 + 2·0.35) / 4.
P = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.65, 0.35]])
LABELS = torch.tensor([0, 1, 1, 0])


def test_bars_are_accuracies_and_reach_or_fall_short_of_the_confidence() -> None:
    many = {"as trained": P.repeat(5, 1)}
    bars = [bar for bar in _figure(many, LABELS.repeat(5), 5, "").axes[0].patches if bar.get_height() > 0]
    found = [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in bars]
    assert found == [
        pytest.approx(expected) for expected in ((0.7, 0, 1), (0.7, 0.65, 0.35), (0.9, 0, 0.5), (0.9, 0.5, 0.4))
    ]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, False, False]  # not sure enough is hatched
    assert [bar.get_alpha() for bar in bars] == [1] * 4
    assert to_rgba(bars[0].get_facecolor()) == to_rgba(RIGHT) != to_rgba(bars[3].get_facecolor())


def test_bars_of_few_faces_are_pale() -> None:
    bars = [bar for bar in _figure({"": P}, LABELS, 5, "").axes[0].patches if bar.get_height() > 0]
    assert [bar.get_alpha() for bar in bars] == [0.25] * 4


def test_each_panel_says_its_figures() -> None:
    figure = _figure({"as trained": P, "flat": torch.full((4, 2), 0.5)}, LABELS, 15, "Test")
    headings = [axes.get_title(loc="left") for axes in figure.axes]
    assert headings[0] == "as trained · ECE 37.5%\naccuracy 75.0% · mean confidence 77.5%"
    assert headings[2].startswith("flat · ECE 0.0%\naccuracy 50.0%")
    assert figure.texts[0].get_text() == "Test"
    shares = [axes.patches[0].get_data().values for axes in figure.axes[1::2]]
    assert [share.sum() for share in shares] == pytest.approx([1, 1])
    assert [axes.get_ylim() for axes in figure.axes[1::2]] == [(0, pytest.approx(1.08))] * 2


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_nothing_is_written_outside_of_the_picture(panels: int) -> None:
    name = "a name of some length"
    image = reliability_diagram({f"{name} {number}": P for number in range(panels)}, LABELS)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one set of probabilities"):
        reliability_diagram({}, LABELS)
    with pytest.raises(DataError, match="at least one face"):
        reliability_diagram({"none": torch.zeros(0, 2)}, torch.zeros(0).long())
