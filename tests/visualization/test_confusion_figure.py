import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization import confusion_matrix_figure, figure_to_image

NAMES = ("anger", "fear", "joy")
COUNTS = np.array([[1, 999, 0], [2, 2, 0], [0, 0, 0]])


def texts(matrix: np.ndarray, names: tuple[str, ...], title: str = "") -> list[str]:
    figure = confusion_matrix_figure(matrix, names, title=title)
    written = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
    return written + [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_cells_hold_the_share_of_the_row_and_the_count() -> None:
    written = texts(COUNTS, NAMES)
    assert written.count("50%") == 2
    assert "100%" in written
    assert "<1%" in written
    assert "999" in written
    assert "n = 1,000" in written
    assert "n = 0" in written
    assert "0%" not in written


def test_the_summary_leaves_out_classes_without_a_face() -> None:
    summary = next(text for text in texts(COUNTS, NAMES) if text.startswith("accuracy"))
    assert summary.startswith("accuracy 0.3% · mean-class 25.")


def test_an_empty_matrix_is_drawn() -> None:
    assert "accuracy 0.0% · mean-class 0.0%" in "".join(texts(np.zeros((2, 2)), ("a", "b")))


def test_names_and_title_are_written() -> None:
    written = texts(COUNTS, NAMES, "Test")
    assert "Test" in written
    assert set(NAMES) <= set(written)
    assert "Confusion matrix" in texts(COUNTS, NAMES)


@pytest.mark.parametrize("count", [2, 8, 20])
def test_nothing_is_written_outside_of_the_picture(count: int) -> None:
    names = tuple(f"expression number {number} by name" for number in range(count))
    figure = confusion_matrix_figure(np.full((count, count), 12345), names)
    image = figure_to_image(figure)
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()
    assert image.shape[1] > 300


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (3,)])
def test_a_matrix_of_other_classes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"confusion matrix \(3, 3\) for 3 class names"):
        confusion_matrix_figure(np.zeros(shape), NAMES)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\(0, 0\)"):
        confusion_matrix_figure(np.zeros((0, 0)), ())
