import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization import ScorePanel, figure_to_image, ood_scores_figure

INSIDE = np.random.default_rng(0).normal(0, 1, 200)
OUTSIDE = np.random.default_rng(1).normal(3, 2, 1500)


def panel(inside: np.ndarray = INSIDE, outside: np.ndarray = OUTSIDE, threshold: float = 1.6) -> ScorePanel:
    return ScorePanel("knn", inside, outside, threshold, 0.9123)


def heights(one: ScorePanel) -> list[np.ndarray]:
    [axes] = ood_scores_figure([one]).axes
    return [patch.get_data().values for patch in axes.patches if not patch.get_fill()]


def test_a_panel_names_its_score_and_says_how_many_pictures_it_shows() -> None:
    figure = ood_scores_figure([panel()] * 5, title="Faces and noise", line="accepts most")
    assert len(figure.axes) == 5
    assert {axes.get_title(loc="left") for axes in figure.axes} == {"knn · AUROC 0.912"}
    assert [text.get_text() for text in figure.legends[0].texts] == ["inside: 200", "outside: 1,500", "accepts most"]
    assert "Faces and noise" in [text.get_text() for text in figure.texts]
    assert "Out of distribution" in [text.get_text() for text in ood_scores_figure([panel()]).texts]


def test_bars_are_shares_and_the_line_is_the_threshold() -> None:
    inside, outside = heights(panel())
    assert inside.sum() == pytest.approx(1)
    assert outside.sum() == pytest.approx(1)
    [axes] = ood_scores_figure([panel(threshold=1.25)]).axes
    [line] = axes.lines
    assert set(line.get_xdata()) == {1.25}


def test_where_infer_refuses_is_another_line() -> None:
    figure = ood_scores_figure([panel(), panel()._replace(refused=2.5), panel()._replace(refused=1e9)])
    assert [len(axes.lines) for axes in figure.axes] == [1, 2, 2]
    assert set(figure.axes[1].lines[1].get_xdata()) == {2.5}
    assert figure.axes[2].lines[1].get_xdata()[0] < 20  # far out, and yet in the picture
    assert figure.legends[0].texts[-1].get_text() == "eac infer refuses beyond"


def test_what_lies_far_out_is_in_the_last_bar_and_counted() -> None:
    far = np.concatenate([OUTSIDE[:50], np.full(50, 1e6)])
    [axes] = ood_scores_figure([panel(outside=far)]).axes
    assert axes.get_xlim()[1] < 20
    assert "50% of the outside" in axes.texts[0].get_text()
    _, outside = heights(panel(outside=far))
    assert outside[-1] >= 0.5
    assert not ood_scores_figure([panel(outside=INSIDE)]).axes[0].texts


@pytest.mark.parametrize("value", [0.0, 5.0, -1e9, 1e-12])
def test_scores_that_are_all_alike_are_drawn(value: float) -> None:
    same = np.full(7, value)
    inside, outside = heights(panel(same, same, value))
    assert inside.max() == outside.max() == 1


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_nothing_is_written_outside_of_the_picture(count: int) -> None:
    image = figure_to_image(ood_scores_figure([panel(outside=1e4 * OUTSIDE)] * count))
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()


@pytest.mark.parametrize("panels", [[], [panel(), panel(inside=np.ones(0))], [panel(outside=np.ones(0))]])
def test_nothing_to_show_is_refused(panels: list[ScorePanel]) -> None:
    with pytest.raises(ConfigurationError, match="needs a panel, with scores of pictures inside and outside"):
        ood_scores_figure(panels)
