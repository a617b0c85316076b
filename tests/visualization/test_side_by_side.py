import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization import CAMSample, side_by_side
from eac_lightning.visualization.sheet import Sheet

NAMES = ("anger", "happiness", "neutral")


def make_sample(size: int = 48, **changes: Any) -> CAMSample:
    rng = np.random.default_rng(0)
    maps = rng.random((2, 6, 6)).astype(np.float32)
    image = rng.random((size, size, 3)).astype(np.float32)
    sample = CAMSample(image, 1, 0.87, maps[0], maps[1], name="happy_04.png")
    return replace(sample, **changes)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is written on the sheets, with its colour."""
    texts: list[tuple[str, str]] = []
    real = Sheet.text

    def note(self: Sheet, x: float, y: float, text: str, **style: Any) -> None:
        texts.append((text, style.get("color", "")))
        real(self, x, y, text, **style)

    monkeypatch.setattr(Sheet, "text", note)
    return texts


def test_a_column_a_network_and_a_row_a_face() -> None:
    def shape(networks: int, faces: int, size: int = 48) -> tuple[int, ...]:
        return side_by_side({str(i): [make_sample(size)] * faces for i in range(networks)}, NAMES).shape

    widths = [shape(networks, 1)[1] for networks in (1, 2, 3)]
    heights = [shape(1, faces)[0] for faces in (1, 2, 3)]
    for steps in (widths, heights):
        assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0], abs=1)
        assert steps[1] > steps[0] + 150
    assert shape(2, 2, 224) == shape(2, 2)


def test_each_cell_says_what_is_predicted_and_whether_it_is_right(written: list[tuple[str, str]]) -> None:
    labelled = make_sample(given=1)
    other = replace(labelled, predicted=2, confidence=0.4)
    side_by_side({"plain": [labelled], "fmix": [other]}, NAMES)
    texts = [text for text, _ in written]
    for text in ("face", "plain", "fmix", "happy_04.png", "happiness", "✓ happiness", "87%", "✗ neutral", "40%"):
        assert text in texts
    colors = dict(written)
    assert colors["✓ happiness"] != colors["✗ neutral"]


def test_without_a_label_nothing_is_right_or_wrong(written: list[tuple[str, str]]) -> None:
    side_by_side({"plain": [make_sample()]}, NAMES)
    assert not [text for text, _ in written if re.search("[✓✗]", text)]


def test_a_map_without_evidence_says_so(written: list[tuple[str, str]]) -> None:
    side_by_side({"plain": [make_sample(predicted_map=-np.ones((2, 2), dtype=np.float32))]}, NAMES)
    assert "87%, no evidence" in [text for text, _ in written]


def test_the_clean_label_decides(written: list[tuple[str, str]]) -> None:
    side_by_side({"plain": [make_sample(given=0, clean=1)]}, NAMES)
    texts = [text for text, _ in written]
    assert "✓ happiness" in texts
    assert "anger" not in texts


def test_a_network_may_be_called_face_and_a_title_adds_a_line(written: list[tuple[str, str]]) -> None:
    plain = side_by_side({"face": [make_sample()], "other": [make_sample()]}, NAMES)
    assert [text for text, _ in written].count("face") == 2
    assert side_by_side({"face": [make_sample()], "other": [make_sample()]}, NAMES, title="One face").shape[0] > len(
        plain
    )


def test_networks_may_take_other_sizes() -> None:
    assert side_by_side({"a": [make_sample(48)], "b": [make_sample(96)]}, NAMES).ndim == 3


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": [make_sample()], "b": []}])
def test_nothing_to_draw_or_faces_that_are_missing_are_refused(columns: dict[str, list[CAMSample]]) -> None:
    with pytest.raises(ConfigurationError, match="Expected at least one network, and the same faces of each"):
        side_by_side(columns, NAMES)
