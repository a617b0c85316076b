"""``eac cam`` with several checkpoints: which column is called what."""

from pathlib import Path
from typing import Any

import pytest

from eac_lightning.cli import draw_cam, main


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def note(*arguments: Any) -> list[Path]:
        calls.append(arguments)
        return [Path("cams/cam_beside.png")]

    monkeypatch.setattr(draw_cam, "draw_cams_beside", note)
    return calls


def test_columns_are_called_after_their_run_or_as_one_says(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("plain", "fmix"):
        Path("runs", run).mkdir(parents=True)
    command = [
        "cam",
        "runs/plain",
        "a.png",
        "b.png",
        "--beside",
        "runs/fmix/best.ckpt",
        "mixed=runs/fmix",
        "--out",
        "out",
        "--limit",
        "40",
    ]
    assert main(command) == 0
    ((columns, images, out, method, limit),) = asked
    assert columns == {
        "plain": Path("runs/plain/last.ckpt"),
        "fmix best": Path("runs/fmix/best.ckpt"),
        "mixed": Path("runs/fmix/last.ckpt"),
    }
    assert [path.name for path in images] == ["a.png", "b.png"]
    assert (out, method, limit) == (Path("out"), "cam", 40)
    assert "cam_beside.png" in capsys.readouterr().out


def test_a_path_with_an_equals_sign_is_a_path(asked: list[Any], tmp_path: Path) -> None:
    run = tmp_path / "lr=0.1"
    run.mkdir()
    assert main(["cam", f"first={tmp_path / 'x.ckpt'}", "a.png", "--beside", str(run)]) == 0
    assert asked[0][0] == {"first": tmp_path / "x.ckpt", "lr=0.1": run / "last.ckpt"}


def test_two_columns_of_one_title_are_refused(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "run").mkdir(parents=True)
    assert main(["cam", str(tmp_path / "a" / "run"), "x.png", "--beside", str(tmp_path / "b" / "run")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "a title of its own for each checkpoint" in said
    assert "Give one as TITLE=" in said
    assert not asked
