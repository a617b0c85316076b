import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization import CAMSample, cam_panel
from eac_lightning.visualization.canvas import shorten

NAMES = ("anger", "happiness", "neutral")


def make_sample(size: int = 48, **changes: object) -> CAMSample:
    rng = np.random.default_rng(size)
    maps = rng.normal(size=(3, 4, 4)).astype(np.float32)
    sample = CAMSample(
        image=rng.random((size, size, 3)).astype(np.float32),
        predicted=1,
        confidence=0.87,
        predicted_map=maps[0],
        twin_map=maps[1],
        given=0,
        clean=1,
        given_map=maps[2],
    )
    return replace(sample, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "clean", "correct"), [(-1, -1, None), (1, -1, True), (0, -1, False), (0, 1, True), (1, 2, False)]
)
def test_the_clean_label_decides_and_the_given_one_where_it_is_unknown(
    given: int, clean: int, correct: bool | None
) -> None:
    assert make_sample(given=given, clean=clean).correct is correct


def test_disagreement_is_none_for_equal_maps_and_all_for_maps_apart() -> None:
    left = np.array([[1.0, 0.0]], dtype=np.float32)
    assert make_sample(predicted_map=left, twin_map=left).disagreement == 0
    apart = make_sample(predicted_map=left, twin_map=left[:, ::-1])
    assert apart.disagreement == 1
    assert apart.gap.tolist() == [[1.0, 1.0]]
    assert make_sample(predicted_map=left, twin_map=left / 3).disagreement == pytest.approx(0.5)
    assert make_sample(predicted_map=0 * left, twin_map=0 * left).disagreement == 0


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_panel_is_as_large_for_small_faces_as_for_large_ones(size: int) -> None:
    assert cam_panel([make_sample(size)], NAMES).shape == cam_panel([make_sample(48)], NAMES).shape


def test_every_face_adds_a_row_of_the_same_height() -> None:
    heights = [cam_panel([make_sample()] * rows, NAMES).shape[0] for rows in (1, 2, 3)]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1)
    assert heights[1] > heights[0] + 150


def test_without_any_given_label_its_column_is_left_out() -> None:
    bare = make_sample(given=-1, clean=-1, given_map=None)
    narrow, wide = cam_panel([bare], NAMES), cam_panel([make_sample(), bare], NAMES)
    assert wide.shape[1] - narrow.shape[1] > 150


def test_a_title_adds_a_line() -> None:
    sample = make_sample()
    assert cam_panel([sample], NAMES, title="Epoch 3").shape[0] > cam_panel([sample], NAMES).shape[0]


def test_faces_of_other_proportions_keep_them() -> None:
    tall = make_sample(image=np.ones((60, 30, 3), dtype=np.float32))
    assert cam_panel([tall], NAMES).shape[0] > cam_panel([make_sample()], NAMES).shape[0] + 100


def test_right_and_wrong_look_different() -> None:
    right, wrong = cam_panel([make_sample(clean=1)], NAMES), cam_panel([make_sample(clean=2)], NAMES)
    teal, vermilion = (np.array(color) for color in ((0x00, 0x76, 0x6C), (0xC4, 0x42, 0x0F)))
    for panel, color in ((right, teal), (wrong, vermilion)):
        bar = panel[:, 32:36].reshape(-1, 3)
        assert (bar == color).all(axis=1).sum() > 400


def test_a_map_without_evidence_says_so() -> None:
    none = np.full((4, 4), -1, dtype=np.float32)
    assert (cam_panel([make_sample(predicted_map=none)], NAMES) != cam_panel([make_sample()], NAMES)).any()


def test_the_same_samples_give_the_same_bytes() -> None:
    np.testing.assert_array_equal(cam_panel([make_sample()], NAMES), cam_panel([make_sample()], NAMES))


def test_a_panel_without_faces_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one face"):
        cam_panel([], NAMES)


@pytest.mark.parametrize("count", [2, 20])
def test_long_names_do_not_make_panels_ever_wider(count: int) -> None:
    names = ["a compound expression with a very long name " + str(number) for number in range(count)]
    short = cam_panel([make_sample(clean=-1)], [name[:22] for name in names])
    assert cam_panel([make_sample(clean=-1)], names).shape[1] <= short.shape[1]


def test_names_lose_their_middle() -> None:
    assert shorten("happiness", 9) == "happiness"
    short = shorten("fearfully surprised", 12)
    assert len(short) <= 12
    assert short.startswith("fearf")
    assert short.endswith("rised")


def test_no_window_system_and_no_global_figure_is_touched() -> None:
    code = (
        "import sys, numpy as np; import eac_lightning.visualization as v;"
        "v.figure_to_image(v.confusion_matrix_figure(np.eye(2), ('a', 'b')));"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
