import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.visualization import mixing_grid

NAMES = ("anger", "happiness", "a very long name of an expression")
ROWS = ("plain", "cutout", "mixup", "cutmix", "fmix")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    drawn: list[Figure] = []
    module = sys.modules["eac_lightning.visualization.mixing_grid"]  # the package's name for it is the function
    original = module.figure_to_image
    monkeypatch.setattr(module, "figure_to_image", lambda figure: (drawn.append(figure), original(figure))[1])
    return drawn


def faces(count: int = 4, size: int = 16) -> list[NDArray[np.uint8]]:
    """Faces of one grey each, from dark to bright."""
    return [np.full((size, size, 3), 10 + 30 * number, dtype=np.uint8) for number in range(count)]


def cells(figure: Figure, columns: int) -> dict[str, list[NDArray[np.float64]]]:
    """Return the values (H, W) of each row's cells."""
    pictures = [axes.images[0].get_array()[..., 0] * 255 for axes in figure.axes]
    return {name: pictures[row * columns : (row + 1) * columns] for row, name in enumerate(ROWS)}


def captions(figure: Figure, columns: int) -> dict[str, list[list[tuple[str, int]]]]:
    """Return each row's cells' classes with their per cent, which add up to 100 in each."""
    found: list[list[tuple[str, int]]] = [[]]
    for text in (text.get_text() for text in figure.texts if text.get_text().endswith(" %")):
        if sum(part for _, part in found[-1]) == 100:
            found.append([])
        name, part, _ = text.rsplit(" ", 2)
        found[-1].append((name, int(part)))
    assert len(found) == len(ROWS) * columns
    return {name: found[row * columns : (row + 1) * columns] for row, name in enumerate(ROWS)}


def test_a_row_a_mixing_and_a_column_a_face(figures: list[Figure]) -> None:
    grid = mixing_grid(faces(), [0, 1, 2, 1], NAMES)
    assert grid.dtype == np.uint8
    assert grid.shape[2] == 3
    for picture, face in zip(cells(figures[0], 4)["plain"], faces(), strict=True):
        np.testing.assert_allclose(picture, face[..., 0], atol=1e-4)
    assert set(ROWS) <= {text.get_text() for text in figures[0].texts}


@pytest.mark.parametrize("seed", range(3))
def test_the_words_below_a_cell_are_the_shares_in_it(seed: int, figures: list[Figure]) -> None:
    mixing_grid(faces(3), [0, 1, 2], NAMES, seed=seed)
    pictures, words = cells(figures[0], 3), captions(figures[0], 3)
    whole = [[("anger", 100)], [("happiness", 100)], [("a very l…ression", 100)]]
    assert words["plain"] == words["cutout"] == whole
    value = {name: 10 + 30 * number for number, [(name, _)] in enumerate(whole)}
    for name in ("mixup", "cutmix", "fmix"):
        for picture, shares in zip(pictures[name], words[name], strict=True):
            assert picture.mean() == pytest.approx(sum(value[who] * part / 100 for who, part in shares), abs=0.5)


def test_in_one_column_all_mixings_take_the_same_partner(figures: list[Figure]) -> None:
    mixing_grid(faces(4), [0, 1, 2, 1], NAMES, seed=3)
    drawn = cells(figures[0], 4)
    for column in range(4):
        seen = {round(float(value)) for name in ("cutmix", "fmix") for value in np.unique(drawn[name][column])}
        assert len(seen - {10 + 30 * column}) == 1


def test_the_seed_decides() -> None:
    first = mixing_grid(faces(), [0, 1, 2, 1], NAMES, seed=0)
    assert np.array_equal(first, mixing_grid(faces(), [0, 1, 2, 1], NAMES, seed=0))
    assert not np.array_equal(first, mixing_grid(faces(), [0, 1, 2, 1], NAMES, seed=1))


def test_torchs_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    mixing_grid(faces(2), [0, 1], NAMES)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [2, 7])
def test_nothing_is_written_outside_of_the_picture(count: int) -> None:
    names = ["contempt", "happiness, or what was called so"]
    grid = mixing_grid(faces(count), [number % 2 for number in range(count)], names)
    assert (grid[[0, -1]] == 255).all()
    assert (grid[:, [0, -1]] == 255).all()


def test_tensors_in_the_unit_range_are_faces_too() -> None:
    pixels = np.stack(faces(2))
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    assert np.array_equal(mixing_grid(tensor, [0, 1], NAMES), mixing_grid(pixels, [0, 1], NAMES))


@pytest.mark.parametrize(
    ("pictures", "labels"), [(faces(1), [0]), (faces(2), [0]), ([*faces(1), *faces(1, 20)], [0, 1])]
)
def test_too_few_faces_or_unequal_ones_are_refused(pictures: list[NDArray[np.uint8]], labels: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="at least two faces of one size and a label for each, but got"):
        mixing_grid(pictures, labels, NAMES)


def test_labels_of_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match="labels from 0 to 2"):
        mixing_grid(faces(2), [0, 3], NAMES)


def test_one_class_alone_and_labels_as_a_tensor_do(figures: list[Figure]) -> None:
    mixing_grid(faces(2), torch.tensor([0, 0]), ["anger"])
    shown = captions(figures[0], 2)
    assert all(cell == [("anger", 100)] for row in shown.values() for cell in row)
