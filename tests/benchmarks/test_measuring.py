"""Figures are ratios of turns that were taken side by side."""

import json
from itertools import count
from pathlib import Path

import pytest
from measuring import forget_peak, machine, markdown, peak_memory, ratio, save, side_by_side, summary


def test_variants_take_turns_and_the_warm_up_is_not_counted() -> None:
    order: list[str] = []
    ticks = count()
    seconds = side_by_side(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, warmup=1, clock=lambda: float(next(ticks))
    )
    assert order == ["a", "b"] * 4
    assert seconds == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_a_ratio_is_taken_turn_by_turn() -> None:
    assert ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0


def test_a_summary_is_in_milliseconds() -> None:
    assert summary([0.1, 0.3, 0.2]) == "200 (100–300)"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read where Linux has it")
def test_the_peak_is_that_since_it_was_forgotten() -> None:
    held = bytearray(200 * 2**20)
    del held
    before = forget_peak()
    assert peak_memory() - before < 50
    held = bytearray(100 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert 90 < peak_memory() - before < 150


def test_findings_are_kept_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "found" / "performance.json"
    save(path, "one", {"ratio": 1})
    save(path, "two", {"ratio": 2})
    save(path, "one", {"ratio": 3})
    found = json.loads(path.read_text())
    assert {name: entry["ratio"] for name, entry in found.items()} == {"one": 3, "two": 2}
    assert found["one"]["machine"]["torch"] == machine()["torch"]


def test_nothing_is_saved_without_a_path(tmp_path: Path) -> None:
    save(None, "one", {})
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_markdown() -> None:
    assert markdown(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
