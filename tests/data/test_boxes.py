import numpy as np
import pytest

from eac_lightning.data.boxes import cut_box, picture_file
from eac_lightning.errors import DataError

PIXELS = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)


@pytest.mark.parametrize(
    ("path", "file"), [("a.jpg#2", "a.jpg"), ("a.jpg", "a.jpg"), ("b/#1.jpg#13", "b/#1.jpg"), ("a#1.jpg", "a#1.jpg")]
)
def test_the_file_of_a_face(path: str, file: str) -> None:
    assert picture_file(path) == file


def test_a_box_is_cut_out_and_owns_its_pixels() -> None:
    face = cut_box(PIXELS, np.array([1, 2, 4, 4], np.int32))
    np.testing.assert_array_equal(face, PIXELS[2:4, 1:4])
    assert face.base is None
    np.testing.assert_array_equal(cut_box(PIXELS[..., 0], (1, 2, 4, 4)), PIXELS[2:4, 1:4, 0])


def test_what_reaches_outside_is_dropped() -> None:
    np.testing.assert_array_equal(cut_box(PIXELS, (-2, -7, 100, 3)), PIXELS[:3])


@pytest.mark.parametrize("box", [(6, 0, 9, 5), (0, 5, 6, 9), (3, 0, 3, 5), (4, 0, 2, 5), (-9, 0, -2, 5)])
def test_a_box_that_holds_nothing(box: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"bottom: {', '.join(map(str, box))}\) holds nothing of its 6 × 5 pixels"):
        cut_box(PIXELS, box)
