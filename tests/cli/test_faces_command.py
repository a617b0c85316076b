"""``eac faces`` through the real command line, with the real detector, on drawn photographs."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from eac_lightning.cli import main
from eac_lightning.modules.checkpoint import CHECKPOINT_KEY
from tests.cli.test_training import fit_small
from tests.faces.photographs import photograph


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["eac"])


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photographs in class folders: upright, on their side (as EXIF says), and without a face."""
    one, two = photograph()[0], photograph(((20, 30, 90), (150, 20, 130)), (300, 170))[0]
    for split, count in (("train", 3), ("val", 1)):
        for label, picture in (("happy", one), ("sad", two)):
            folder = tmp_path / "album" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                picture.save(folder / f"{i}.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6  # shown turned by a quarter, clockwise
    one.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "album/train/happy/turned.jpg", exif=turned, quality=95)
    Image.new("RGB", (90, 90), "navy").save(tmp_path / "album/train/sad/sea.jpg")
    return tmp_path / "album"


def test_crops_are_a_data_set_and_training_remembers_how_they_were_cut(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faces", str(album), "crops", "--faces", "all", "--size", "48"]) == 0
    said = capsys.readouterr().out
    for part in ("photographs", "13", "none: no face", "Crops, manifest.csv and faces.json are in crops"):
        assert part in said
    with Path("crops/manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows if row["reason"]] == ["train/sad/sea.jpg"]
    assert sum(bool(row["crop"]) for row in rows) == 5 + 2 * 4
    assert Image.open("crops/train/sad/0_1.png").size == (48, 48)
    upright, turned = (next(row for row in rows if row["source"].endswith(f"happy/{n}.jpg")) for n in ("0", "turned"))
    assert abs(float(upright["left_eye_x"]) - float(turned["left_eye_x"])) < 3

    assert main(["data", "crops"]) == 0
    assert "happiness" in capsys.readouterr().out
    assert main(fit_small(Path("crops"))) == 0
    about = torch.load("run/last.ckpt", weights_only=True)[CHECKPOINT_KEY]
    assert about["alignment"] == {"method": "five_point", "size": 48, "margin": 0.2}


def test_a_second_run_says_what_was_done_before(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["faces", str(album), "crops", "--align", "box", "--margin", "0.1", "--faces", "one"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 faces, expected exactly one" in said
    assert "faces/s" in said
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "10 (10 done before)" in said
    assert "faces/s" not in said
    assert main([*command, "--size", "64"]) == 1
    assert "made with other settings" in " ".join(capsys.readouterr().err.split())


def test_a_table_goes_along(capsys: pytest.CaptureFixture[str]) -> None:
    Path("album").mkdir()
    photograph()[0].save("album/a.png")
    Path("album/labels.csv").write_text("image,label\na.png,happy\nb.png,sad\n")
    assert main(["faces", "album", "crops"]) == 1
    assert "--path-column" in capsys.readouterr().err
    assert main(["faces", "album", "crops", "--path-column", "image"]) == 0
    assert "labels.csv: 1 rows; 1 of 2 photographs have no crop" in capsys.readouterr().out
