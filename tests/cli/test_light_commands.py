"""The commands that train nothing."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eac_lightning import FERDataModule, NoiseFile, recipes
from eac_lightning.cli import main
from eac_lightning.cli.doctor import find_problems
from tests.cli.test_training import fit_small


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_recipes_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in recipes.list_recipes())
    assert main(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == recipes.find_recipe("quickstart").read_text()
    assert main(["recipes", "quickstar"]) == 1
    assert "Did you mean 'quickstart'" in capsys.readouterr().err


def test_recipes_of_an_installed_wheel_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_recipes").mkdir()
    (tmp_path / "_recipes" / "mine.yaml").write_text("# my recipe\n")
    monkeypatch.setattr(recipes, "_PACKAGE", tmp_path)
    assert recipes.list_recipes() == {"mine": tmp_path / "_recipes" / "mine.yaml"}
    assert recipes.describe_recipe(recipes.find_recipe("mine")) == "my recipe"


def test_data_says_what_is_there(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (faces / "train" / "anger" / "broken.png").write_bytes(b"not a picture")
    assert main(["data", str(faces)]) == 0
    said = capsys.readouterr().out
    assert "happiness" in said
    assert "broken.png" in said
    assert "identical or nearly" in said
    assert main(["data", str(faces), "--no-near"]) == 0
    assert "identical or nearly" not in capsys.readouterr().out
    assert main(["data", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_noise_is_written_once_and_replayed(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", str(faces), "--rate", "0.5", "--exact", "--out", "noise.csv"]) == 0
    assert "12 of 24 training labels" in capsys.readouterr().out
    with Path("noise.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["changed"] == "1" for row in rows) == 12
    data = FERDataModule(faces, noise=NoiseFile("noise.csv"), image_size=16)
    data.setup("fit")
    table = data.annotations.table
    train = table[table["split"] == "train"]
    assert [data.class_names[label] for label in train["label"]] == [row["label"] for row in rows]
    assert main(["noise", str(faces), "--rate", "0.5"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["noise", str(faces), "--rate", "0.5", "--kind", "pair", "--out", "pair.csv"]) == 0
    assert main(["noise", str(faces), "--rate", "0.5", "--kind", "pair", "--exact", "--out", "exact.csv"]) == 1
    assert main(["noise", str(faces), "--rate", "1.5", "--out", "much.csv"]) == 1
    assert not Path("much.csv").exists()
    assert main(["noise", str(faces), "--rate", "0.5", "--probabilities", "p.csv", "--out", "other.csv"]) == 1
    assert "goes with --kind instance" in capsys.readouterr().err


def test_noise_by_probabilities(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(path.relative_to(faces).as_posix() for path in faces.rglob("*.png"))
    rows = [f"{path},0.2,0.2,0.6\n" for path in paths]
    Path("predictions.csv").write_text("path,p_anger,p_happiness,p_neutral\n" + "".join(rows))
    options = ["noise", str(faces), "--kind", "instance", "--rate", "0.5"]
    assert main(options) == 1
    assert "the data bring no votes" in " ".join(capsys.readouterr().err.split())
    assert main([*options, "--probabilities", "predictions.csv"]) == 0
    with Path("noise.csv").open() as file:
        moved = [row for row in csv.DictReader(file) if row["changed"] == "1"]
    assert {row["label"] for row in moved if row["clean_label"] != "neutral"} == {"neutral"}


def test_noise_covers_the_training_split_that_was_asked_for(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (faces / "table.csv").write_text(
        "file,emotion\n" + "".join(f"{path},{path.parent.name}\n" for path in sorted(faces.rglob("*.png")))
    )
    options = ["--columns", "path=file", "label=emotion", "--val-fraction", "0.25", "--test-fraction", "0"]
    assert main(["noise", str(faces / "table.csv"), "--rate", "0.5", *options]) == 0
    assert len(Path("noise.csv").read_text().splitlines()) == 1 + 36
    assert main(["data", str(faces / "table.csv"), *options]) == 0
    assert main(["data", str(faces / "table.csv"), "--columns", "label"]) == 1
    assert "ROLE=NAME" in capsys.readouterr().err


def test_synthetic_faces_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["synth", "out", "--count", "24", "--size", "48", "--classes", "anger", "fear", "--variation", "0.5"]) == 0
    )
    assert len(list(Path("out").rglob("*.png"))) == 24
    assert "out/synthetic.csv" in capsys.readouterr().out
    assert main(["synth", "out"]) == 1
    assert "not empty" in " ".join(capsys.readouterr().err.split())


def test_cam_draws_panels(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fit_small(faces)) == 0
    picture = Path("face.png")
    Image.fromarray(np.full((30, 20, 3), 90, np.uint8)).save(picture)
    assert main(["cam", "run/last.ckpt", "face.png", "--out", "cams"]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines() if line.startswith("cams")]
    assert drawn
    assert all(path.is_file() for path in drawn)
    assert main(["cam", "run", "face.png", "--import", "json"]) == 0
    assert main(["cam", "run/config.yaml", "face.png"]) == 1
    assert main(["cam", "run", "face.png", "--import", "no_such_module"]) == 1


def test_doctor_lists_versions_and_finds_nothing_wrong_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "pytorch-lightning" in said
    assert "no known bad combination" in said


def test_doctor_tells_a_bad_combination(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from eac_lightning.cli import doctor

    monkeypatch.setattr(doctor, "version", lambda name: "2.6.3" if "lightning" in name else "9.9.9")
    assert main(["doctor"]) == 1
    assert "compromised release" in " ".join(capsys.readouterr().out.split())


def test_known_bad_combinations() -> None:
    good = {"pytorch-lightning": "2.6.6", "lightning": None, "facenet-pytorch": "2.5.3", "torch": "2.13.0+cpu"}
    assert find_problems(good) == []
    for change, message in (
        ({"pytorch-lightning": "2.6.3"}, "compromised release"),
        ({"lightning": "2.6.5"}, "differ in version"),
        ({"facenet-pytorch": "2.6.0"}, "forbids torch 2.3"),
        ({"torch": "2.5.1"}, "loads checkpoints unsafely"),
    ):
        [problem] = find_problems(good | change)
        assert message in problem


def test_no_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: eac" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "compare" in capsys.readouterr().out


def test_ctrl_c_ends_a_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eac_lightning.cli.list_recipes.run", interrupted)
    assert main(["recipes"]) == 130
    assert "Interrupted" in capsys.readouterr().err
