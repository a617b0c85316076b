from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from eac_lightning.faces.prediction import UNLIKE, FacePrediction
from eac_lightning.visualization.annotated_photo import annotated_photo
from eac_lightning.visualization.canvas import MUTED, RIGHT

GREY = Image.new("RGB", (600, 500), (120, 120, 120))
Box = tuple[float, float, float, float]


def upright(box: Box, size: int = 40) -> NDArray[np.float64]:
    """Return the matrix of a crop that shows the box."""
    x0, y0, x1, y1 = box
    scale = np.array([size / (x1 - x0), size / (y1 - y0)])
    return np.column_stack([np.diag(scale), -scale * (x0, y0)])


def marked(
    box: Box,
    *,
    attention_map: NDArray[np.float32] | None = None,
    matrix: NDArray[np.float64] | None = None,
    expression: str = "happiness",
    confidence: float = 0.87,
) -> FacePrediction:
    top = "happiness" if expression in ("unsure", UNLIKE) else expression
    return FacePrediction(
        box=box,
        detection_confidence=0.99,
        landmarks=None,
        expression=expression,
        confidence=confidence,
        probabilities={"anger": 1 - confidence, top: confidence},
        map=np.zeros((4, 4), np.float32) if attention_map is None else attention_map,
        crop=Image.new("RGB", (40, 40)),
        matrix=upright(box) if matrix is None else matrix,
    )


Written = list[tuple[str, Box]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """What is written, and the rectangle that the text takes."""
    texts: Written = []
    draw_text = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, **style: object) -> None:
        font, anchor = style["font"], style["anchor"]
        texts.append((text, self.textbbox(xy, text, font=font, anchor=anchor)))  # type: ignore[arg-type]
        draw_text(self, xy, text, **style)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def colored(picture: NDArray[np.uint8], color: str) -> int:
    return int((picture == ImageColor.getrgb(color)).all(axis=2).sum())


def test_a_photograph_without_faces_stays_as_it_is() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 600, 3)).astype(np.uint8))
    np.testing.assert_array_equal(annotated_photo(photo, []), np.asarray(photo))
    assert annotated_photo(photo.convert("L"), []).shape == (500, 600, 3)


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [
        ((600, 500), 200, (600, 500)),
        ((48, 24), 48, (480, 240)),
        ((3000, 4000), 900, (1500, 2000)),
        ((600, 500), 40, (1200, 1000)),  # its face is small
        ((1500, 900), 8, (2000, 1200)),  # smaller yet, but there are limits
        ((400, 2), 300, (480, 2)),
    ],
)
def test_pictures_are_large_enough_for_text_and_no_larger(
    size: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    drawn = annotated_photo(Image.new("RGB", size), [marked((0, 0, width, width))])
    assert drawn.shape == (expected[1], expected[0], 3)


@pytest.mark.parametrize(("cell", "reduced"), [((1, 1), 1), ((1, 2), 1), ((2, 1), 1), ((2, 2), 1), ((1, 2), 4)])
def test_the_map_lies_where_its_crop_was(cell: tuple[int, int], reduced: int) -> None:
    angle = 0.4
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))]) * 0.2  # photograph to crop
    middle = np.array([300.0, 250.0])
    matrix = np.column_stack([turn, (20, 20) - turn @ middle])
    attention_map = np.zeros((4, 4), np.float32)
    attention_map[cell] = 1
    box = tuple(reduced * side for side in (200.0, 150.0, 400.0, 350.0))
    face = marked(box, attention_map=attention_map, matrix=matrix / (reduced, reduced, 1))  # type: ignore[arg-type]
    photo = GREY.resize((600 * reduced, 500 * reduced))
    drawn = annotated_photo(photo, [face]).astype(int)
    shrunk = drawn.shape[1] / 600
    warmth = np.clip(drawn[..., 0] - drawn[..., 2], 0, None) ** 2
    y, x = np.mgrid[: drawn.shape[0], : drawn.shape[1]] + 0.5
    centre = np.array([(warmth * x).sum(), (warmth * y).sum()]) / warmth.sum() / shrunk
    place = np.array([cell[1] + 0.5, cell[0] + 0.5]) * 10  # of the cell in the crop
    np.testing.assert_allclose(centre, np.linalg.solve(turn, place - 20) + middle, atol=4)


def test_light_stays_in_the_crop_and_beyond_it_nothing_changes() -> None:
    face = marked((200, 200, 400, 400), attention_map=np.arange(16, dtype=np.float32).reshape(4, 4))
    changed = (annotated_photo(GREY, [face]) != 120).any(axis=2)
    assert changed[210:390, 210:390].mean() > 0.99
    changed[150:402, 198:402] = False  # the box with its rim, and the label above it
    assert not changed.any()


def test_a_crop_beyond_the_photograph_lights_nothing() -> None:
    away = upright((700, 600, 800, 700))
    face = marked((200, 200, 400, 400), attention_map=np.eye(4, dtype=np.float32), matrix=away)
    assert (annotated_photo(GREY, [face])[210:390, 210:390] == 120).all()


def test_neighbours_are_lit_from_the_photograph_and_not_twice() -> None:
    drawn = annotated_photo(GREY, [marked((100, 200, 300, 400)), marked((150, 200, 350, 400))])
    both, one = drawn[300, 220], drawn[300, 320]
    np.testing.assert_array_equal(both, one)


def test_expression_and_confidence_are_written(written: Written) -> None:
    drawn = annotated_photo(GREY, [marked((200, 200, 400, 400))])
    assert [text for text, _ in written] == ["happiness 87%"]
    assert colored(drawn, RIGHT) > 1000
    assert colored(drawn, MUTED) == 0


def test_an_unsure_face_is_grey_and_has_a_question_mark(written: Written) -> None:
    drawn = annotated_photo(GREY, [marked((200, 200, 400, 400), expression="unsure", confidence=0.51)])
    assert [text for text, _ in written] == ["happiness? 51%"]
    assert colored(drawn, RIGHT) == 0
    assert colored(drawn, MUTED) > 1000


def test_a_face_unlike_the_training_data_is_grey_and_has_no_class_and_no_map(written: Written) -> None:
    lit = np.ones((4, 4), np.float32)
    face = marked((200, 200, 400, 400), expression=UNLIKE, confidence=0.99, attention_map=lit)
    drawn = annotated_photo(GREY, [face])
    assert (drawn[210:390, 210:390] == 120).all()
    assert [text for text, _ in written] == ["not like the training data"]
    assert colored(drawn, RIGHT) == 0
    assert colored(drawn, MUTED) > 1000


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 150, 150), (450, 0, 600, 150), (0, 350, 150, 500), (450, 350, 600, 500),
        (-40, -60, 90, 100), (520, 420, 660, 590), (0, 0, 600, 500), (590, 200, 599, 260),
    ],
)  # fmt: skip
@pytest.mark.parametrize("expression", ["joy", "a class with a very long name indeed, from a folder"])
def test_texts_stay_in_the_picture(box: Box, expression: str, written: Written) -> None:
    drawn = annotated_photo(GREY, [marked(box, expression=expression)])
    [(text, (x0, y0, x1, y1))] = written
    assert len(text) <= 27
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= drawn.shape[1]
    assert y1 <= drawn.shape[0]
    assert y1 - y0 >= 9  # readable


def test_a_text_as_wide_as_the_picture_becomes_smaller(written: Written) -> None:
    drawn = annotated_photo(Image.new("RGB", (100, 500)), [marked((10, 100, 90, 200), expression="uncertain contempt")])
    [(_, (x0, _, x1, _))] = written
    assert x0 >= 0
    assert x1 <= drawn.shape[1] == 100


def test_texts_of_neighbours_do_not_overlap(written: Written) -> None:
    row = [marked((x, 200 + x / 60, x + 85, 300)) for x in range(60, 500, 90)]
    annotated_photo(GREY, [*row, marked((70, 150, 80, 160))])
    assert len(written) == 6
    for (_, one), (_, other) in combinations(written, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for (_, left), (_, right) in pairwise(written[:5]):
        assert left[0] < right[0]
