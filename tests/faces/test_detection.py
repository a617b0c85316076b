import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces import detection
from eac_lightning.faces.detection import Face, FaceDetector
from tests.faces.photographs import REAL, photograph

TWO = ((20, 30, 90), (150, 20, 130))


def as_numbers(faces: list[Face]) -> list[float]:
    return [number for face in faces for number in (*face.box, face.confidence, *face.landmarks.ravel().tolist())]


def test_faces_are_found_where_they_are() -> None:
    picture, eyes = photograph(TWO, (300, 170))
    found = FaceDetector()([picture])[0]
    assert len(found) == 2
    assert found[0].size > found[1].size
    for face, (x, y, side), truth in zip(found, reversed(TWO), reversed(eyes), strict=True):
        assert face.confidence > 0.99
        assert np.linalg.norm(face.landmarks[:2] - truth, axis=1).max() < 0.05 * side
        x0, y0, x1, y1 = face.box
        assert x < (x0 + x1) / 2 < x + side
        assert y < (y0 + y1) / 2 < y + side
        assert face.size == max(x1 - x0, y1 - y0)


def test_pictures_of_any_size_and_mode_with_and_without_faces() -> None:
    picture, _ = photograph()
    grey = picture.convert("L")
    pictures = [
        picture,
        Image.new("RGB", picture.size, "grey"),
        photograph(TWO, (300, 170))[0],
        Image.new("RGB", (5, 400)),
        grey,
        picture.convert("P"),
        picture.convert("RGBA"),
        Image.fromarray(np.asarray(grey, np.uint16) * 257),
        picture.convert("CMYK"),
    ]
    detector = FaceDetector()
    found = detector(pictures)
    assert [len(faces) for faces in found] == [1, 0, 2, 0, 1, 1, 1, 1, 1]
    # On the CPU what else is in the list makes no difference at all.
    assert [as_numbers(faces) for faces in found] == [as_numbers(detector([one])[0]) for one in pictures]
    assert detector([]) == []


def test_batched_pictures_give_the_same_faces_within_pixels() -> None:
    picture, _ = photograph()
    pictures = [picture, Image.new("RGB", picture.size), photograph(TWO, (300, 170))[0], picture, picture.convert("L")]
    batched = FaceDetector(batched=True)(pictures)
    alone = FaceDetector()(pictures)
    assert [len(faces) for faces in batched] == [1, 0, 2, 1, 1]
    for one, other in zip(batched, alone, strict=True):
        np.testing.assert_allclose(as_numbers(one), as_numbers(other), atol=6)


def test_a_large_picture_is_searched_in_a_smaller_copy() -> None:
    picture, eyes = photograph()
    large = picture.resize((1600, 1280), Image.Resampling.BICUBIC)
    ((face,),) = FaceDetector(max_side=400)([large])
    assert np.linalg.norm(face.landmarks[:2] - eyes[0] * 8, axis=1).max() < 0.05 * 800
    # The face is drawn 70 pixels wide, its copy only 10.
    assert FaceDetector(max_side=28)([picture]) == [[]]


@pytest.mark.parametrize("min_size", [12, 20, 49, 50])
def test_pictures_hardly_larger_than_the_smallest_face(min_size: int) -> None:
    detector = FaceDetector(min_size)
    assert detector([Image.new("RGB", (side, 60)) for side in range(1, min_size + 3)]) == [[]] * (min_size + 2)


def test_uncertain_faces_are_left_out() -> None:
    picture, _ = photograph(TWO, (300, 170))
    scores = sorted(face.confidence for face in FaceDetector(min_confidence=0.3)([picture])[0])
    between = (scores[-2] + scores[-1]) / 2
    assert scores[-2] < between < scores[-1]
    assert [face.confidence for face in FaceDetector(min_confidence=between)([picture])[0]] == [scores[-1]]


def test_apples_processor_leaves_the_detector_on_the_cpu() -> None:
    picture, _ = photograph()
    detector = FaceDetector(device="mps")
    assert not detector.batched
    assert [as_numbers(faces) for faces in detector([picture])] == [as_numbers(FaceDetector()([picture])[0])]


def test_the_networks_are_made_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "MTCNN", None)
    detector = FaceDetector()
    assert detector([Image.new("RGB", (9, 9))]) == [[]]
    with pytest.raises(TypeError):
        detector([photograph()[0]])


def test_the_random_state_is_left_alone() -> None:
    picture, _ = photograph()
    before = torch.get_rng_state()
    FaceDetector()([picture])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_size": 11}, "from 12 pixels on; min_size is 11"),
        ({"min_confidence": 1.5}, "min_confidence from 0 to 1, but got 1.5"),
        ({"min_size": 40, "max_side": 30}, "max_side of at least min_size, 40, but got 30"),
        ({"device": "nowhere"}, "a device that is there, but got 'nowhere'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FaceDetector(**arguments)  # type: ignore[arg-type]


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(DataError, match="no agreed range"):
        FaceDetector()([Image.new("F", (100, 100))])


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the photographs")
def test_real_photographs() -> None:
    names = ("single_face", "no_face", "multi_face")
    found = FaceDetector()([Image.open(REAL / f"{name}.jpg") for name in names])
    assert [len(faces) for faces in found] == [1, 0, 5]
    assert all(one.size >= other.size - 10 for one, other in zip(found[2], found[2][1:], strict=False))
