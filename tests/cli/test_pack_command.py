from pathlib import Path

import pytest

from eac_lightning.cli import main
from eac_lightning.data.shards.loading import ShardedFaces
from tests.conftest import make_faces


def test_a_data_set_is_packed_and_a_second_start_changes_nothing(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = faces.parent / "out"
    command = ["data", "pack", str(faces), str(out), "--size", "12", "--quality", "90", "--shard-mb", "0.002"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "train: 24 faces in" in said
    assert "(anger 8, happiness 8, neutral 8)" in said
    assert f"Written to {out}." in said
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.arrow")}
    assert len(before) > 3
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.arrow")} == before
    assert ShardedFaces(out).manifest.settings["size"] == 12


def test_other_settings_are_an_error_in_one_line(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(faces.parent / "out")
    assert main(["data", "pack", str(faces), out]) == 0
    assert main(["data", "pack", str(faces), out, "--size", "8"]) == 1
    error = capsys.readouterr().err
    assert "size: None, now 8" in error.replace("\n", "")
    assert "Traceback" not in error


@pytest.mark.parametrize("megabytes", ["nan", "inf"])
def test_a_shard_has_a_number_of_megabytes(faces: Path, megabytes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "pack", str(faces), str(faces.parent / "out"), "--shard-mb", megabytes]) == 1
    assert "Expected --shard-mb as a number" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("layout", ["auto", "shards"])
def test_what_is_packed_is_known_but_not_looked_into(
    faces: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(faces.parent / "out")
    assert main(["data", "pack", str(faces), out]) == 0
    assert main(["data", out, "--layout", layout]) == 1
    assert "are for training and evaluation (--data.layout shards)" in " ".join(capsys.readouterr().err.split())


def test_a_folder_called_pack_can_still_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_faces(tmp_path / "pack")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "./pack"]) == 0
    assert "happiness" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["data", "pack"])
    assert "the following arguments are required: root, out" in capsys.readouterr().err


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "pack", "--help"])
    said = capsys.readouterr().out
    assert "usage: eac data pack" in said
    assert "`eac data ./pack`" in said
