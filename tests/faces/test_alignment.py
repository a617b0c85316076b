import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces.alignment import TEMPLATE, WEIGHTS, Alignment, invert, similarity
from eac_lightning.faces.detection import Face, FaceDetector
from tests.faces.photographs import REAL, made_up_face, photograph


def moved_template(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    """Return the template, turned, scaled and shifted into a photograph."""
    turn = np.deg2rad(degrees)
    linear = scale * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    return TEMPLATE @ linear.T + (x, y)


def apply(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("size", [48, 112, 224])
@pytest.mark.parametrize("move", [(1, 0, 0, 0), (0.4, 25, 30, 10), (7.3, -170, 900, 800)])
def test_landmarks_that_are_a_turned_template_come_to_lie_on_it(size: int, move: tuple[float, ...]) -> None:
    landmarks = moved_template(*move)
    matrix = Alignment(size=size).matrix(Face((0, 0, 1, 1), 1.0, landmarks))
    np.testing.assert_allclose(apply(matrix, landmarks), TEMPLATE * size / 112, atol=1e-9)
    np.testing.assert_allclose(apply(invert(matrix), TEMPLATE * size / 112), landmarks, atol=1e-8)


def test_the_closed_form_is_weighted_least_squares() -> None:
    rng = np.random.default_rng(0)
    source, target, weights = rng.normal(size=(7, 2)), rng.normal(size=(7, 2)), rng.uniform(0.1, 3, 7)
    # x' = a x - b y + c and y' = b x + a y + d, one equation for each coordinate.
    rows = [((x, -y, 1, 0), (y, x, 0, 1)) for x, y in source]
    root = np.sqrt(np.repeat(weights, 2))
    a, b, c, d = np.linalg.lstsq(np.reshape(rows, (14, 4)) * root[:, None], target.ravel() * root)[0]
    np.testing.assert_allclose(similarity(source, target, weights), [(a, -b, c), (b, a, d)], atol=1e-12)


def test_nothing_is_mirrored() -> None:
    mirrored = moved_template(2, 10, 50, 40) * (-1, 1)
    matrix = similarity(mirrored, TEMPLATE, WEIGHTS)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("scale", [0.5, 1.3, 6.0])
def test_what_is_at_the_landmarks_is_at_the_template(scale: float) -> None:
    """Draw a bright spot at each landmark, and look where the spots are in the crop."""
    landmarks = moved_template(scale, 30, 300, 200)
    y, x = np.mgrid[:1000, :1000] + 0.5
    spots = [np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (2.5 * scale) ** 2)) for u, v in landmarks]
    picture = Image.fromarray((255 * np.sum(spots, 0)).clip(0, 255).astype(np.uint8))
    crop = np.asarray(Alignment(size=112)(picture, Face((0, 0, 1, 1), 1.0, landmarks)), np.float64)
    for u, v in TEMPLATE:
        rows, columns = (slice(int(value) - 6, int(value) + 7) for value in (v, u))
        part = crop[rows, columns]
        cy, cx = np.mgrid[rows, columns] + 0.5
        np.testing.assert_allclose([(part * cx).sum() / part.sum(), (part * cy).sum() / part.sum()], (u, v), atol=0.2)


def test_shrinking_is_antialiased() -> None:
    """A chequerboard of single pixels is grey from afar, and would be a pattern if only some pixels were looked at."""
    board = Image.fromarray(((np.indices((1000, 1000)).sum(0) % 2) * 255).astype(np.uint8))
    for alignment in (Alignment("box", 50, 0.0), Alignment("five_point", 50)):
        crop = np.asarray(alignment(board, made_up_face(203, 203, 533)), np.float64)
        assert abs(crop.mean() - 127.5) < 2
        assert crop.std() < 2


def test_a_box_is_cut_out_with_its_margin() -> None:
    picture = Image.new("RGB", (200, 200), "blue")
    picture.paste("red", (80, 60, 120, 140))
    face = Face((80, 60, 120, 140), 1.0, np.zeros((5, 2), np.float32))
    crop = np.asarray(Alignment("box", 80, margin=0.5)(picture, face))
    # The side is 80 + 2 · 40, half of it in the crop.
    red = crop[..., 0] > 127
    assert red[20:60, 30:50].all()
    assert red.sum() == 40 * 20
    tight = np.asarray(Alignment("box", 40, margin=0)(picture, face))[..., 0] > 127
    assert tight[:, 10:30].all()
    assert tight.sum() == 40 * 20


def test_what_lies_beyond_the_edge_is_black() -> None:
    white = Image.new("L", (60, 60), 255)
    crop = np.asarray(Alignment("box", 100, margin=0)(white, made_up_face(-50, -50, 100)))
    assert (crop[:49, :49] == 0).all()
    assert (crop[51:, 51:] == 255).all()


def test_grey_stays_grey_and_all_else_becomes_rgb() -> None:
    picture, face = photograph()[0], made_up_face(40, 30, 100)
    modes = {mode: Alignment(size=33)(picture.convert(mode), face) for mode in ("L", "1", "RGB", "P", "RGBA", "CMYK")}
    assert {mode: crop.mode for mode, crop in modes.items()} == {
        **dict.fromkeys(("L", "1"), "L"),
        **dict.fromkeys(("RGB", "P", "RGBA", "CMYK"), "RGB"),
    }
    assert {crop.size for crop in modes.values()} == {(33, 33)}
    assert picture.size == (200, 160)


def test_a_dict_describes_an_alignment() -> None:
    for alignment in (Alignment(), Alignment("box", 64, 0.1)):
        assert Alignment.from_dict(json.loads(json.dumps(alignment.to_dict()))) == alignment
    with pytest.raises(ConfigurationError, match="Unknown setting of an alignment 'sise'. Did you mean 'size'"):
        Alignment.from_dict({"sise": 112})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "five_points"}, "Unknown alignment 'five_points'. Did you mean 'five_point'"),
        ({"size": 0}, "at least 1 pixel, but is 0"),
        ({"margin": -0.1}, "0 or more, but is -0.1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Alignment(**arguments)  # type: ignore[arg-type]


def test_faces_without_an_extent_are_refused() -> None:
    point = Face((5, 5, 5, 5), 1.0, np.full((5, 2), 5, np.float32))
    with pytest.raises(DataError, match="landmarks that lie apart"):
        Alignment()(Image.new("L", (9, 9)), point)
    with pytest.raises(DataError, match="with an extent, but found .5, 5, 5, 5"):
        Alignment("box")(Image.new("L", (9, 9)), point)


def check_eyes(picture: Image.Image | Path, faces: int, min_size: int) -> None:
    image = picture if isinstance(picture, Image.Image) else Image.open(picture)
    (found,) = FaceDetector(min_size)([image])
    assert len(found) == faces
    for face in found:
        eyes = apply(Alignment().matrix(face), face.landmarks.astype(np.float64))[:2]
        assert np.linalg.norm(eyes - TEMPLATE[:2], axis=1).max() < 2


def test_eyes_land_within_two_pixels() -> None:
    check_eyes(photograph(((20, 30, 90), (150, 20, 130)), (300, 170))[0], 2, 20)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the photographs")
@pytest.mark.parametrize("min_size", [20, 40])
def test_eyes_in_real_photographs_land_within_two_pixels(min_size: int) -> None:
    check_eyes(REAL / "single_face.jpg", 1, min_size)
    check_eyes(REAL / "multi_face.jpg", 5, min_size)
