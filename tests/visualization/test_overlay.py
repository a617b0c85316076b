import numpy as np
import pytest
import torch

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization import overlay
from eac_lightning.visualization.overlay import strength, to_rgb


@pytest.fixture
def face() -> np.ndarray:
    return np.random.default_rng(0).random((32, 24, 3)).astype(np.float32)


def test_every_form_of_an_image_is_the_same_picture(face: np.ndarray) -> None:
    tensor = torch.from_numpy(face.transpose(2, 0, 1).copy())
    peak = np.eye(4)
    expected = overlay(face, peak)
    assert expected.shape == (32, 24, 3)
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(overlay(tensor, torch.from_numpy(peak)), expected)
    byte = np.rint(face * 255).astype(np.uint8)
    assert np.abs(overlay(byte, peak).astype(int) - expected).max() <= 2


def test_grey_images_become_rgb() -> None:
    grey = torch.full((1, 5, 6), 0.5)
    np.testing.assert_allclose(to_rgb(grey), np.full((5, 6, 3), 0.5))
    np.testing.assert_allclose(to_rgb(grey.permute(1, 2, 0)), np.full((5, 6, 3), 0.5))


def test_strength_is_the_positive_evidence_stretched_to_its_range() -> None:
    assert strength([[-3.0, 0.0], [1.0, 2.0]]).tolist() == [[0.0, 0.0], [0.5, 1.0]]
    assert strength([[1.0, 2.0], [3.0, 2.0]]).tolist() == [[0.0, 0.5], [1.0, 0.5]]


def test_strength_on_a_given_scale_starts_at_zero_and_saturates() -> None:
    assert strength([[-3.0, 1.0], [2.0, 8.0]], peak=4.0).tolist() == [[0.0, 0.25], [0.5, 1.0]]


@pytest.mark.parametrize("value", [-2.0, 0.0, 5.0])
def test_a_flat_map_shows_no_place(value: float) -> None:
    assert not strength(np.full((3, 3), value)).any()


def test_without_evidence_the_face_is_grey_and_dimmed(face: np.ndarray) -> None:
    picture = overlay(face, np.full((4, 4), -1.0)) / 255
    assert np.ptp(picture, axis=2).max() == 0
    luma = face @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(picture[..., 0], luma * 0.68, atol=0.004)


def test_light_falls_where_the_map_is_high_whatever_the_skin() -> None:
    corner = np.zeros((4, 4))
    corner[0, 3] = 2.0
    for tone in (0.1, 0.9):
        picture = overlay(np.full((40, 40, 3), tone), corner).astype(int).sum(axis=2)
        brightest = np.unravel_index(picture.argmax(), picture.shape)
        assert brightest[0] < 10
        assert brightest[1] >= 30
        assert picture[:10, 30:].min() > picture[20:, :20].max()


def test_a_map_is_enlarged_bilinearly_about_its_cell_centres() -> None:
    picture = overlay(np.zeros((4, 8, 3)), [[0.0, 1.0]]).astype(float).sum(axis=2)
    assert (picture == picture[0]).all()
    assert (np.diff(picture[0, 2:6]) > 0).all()
    assert picture[0, 0] == picture[0, 1]
    assert picture[0, 6] == picture[0, 7]


def test_palettes_differ(face: np.ndarray) -> None:
    assert (overlay(face, np.eye(3)) != overlay(face, np.eye(3), palette="disagreement")).any()


def test_arguments_are_left_as_they_were(face: np.ndarray) -> None:
    attention_map = torch.tensor([[-1.0, 2.0]], requires_grad=True)
    before = face.copy()
    overlay(face, attention_map)
    np.testing.assert_array_equal(face, before)
    assert attention_map.tolist() == [[-1.0, 2.0]]
    assert attention_map.grad is None


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (1, 3, 4, 4)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"Expected an image \(H, W, 3\).*got shape"):
        overlay(np.zeros(shape), np.eye(2))


def test_a_stack_of_maps_is_refused(face: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match=r"attention map \(h, w\), but got shape \(2, 2, 2\)"):
        overlay(face, np.zeros((2, 2, 2)))
