"""What an outside is drawn from: no faces, grey, and the same for a seed."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import mixing_ood
import numpy as np
import ood
import ood_pictures
import pytest
import torch
from ood_pictures import DRAWN, backgrounds
from PIL import Image

from eac_lightning import ClassificationModule
from eac_lightning._lightning import L
from eac_lightning.faces.detection import Face
from tests.conftest import TinyBackbone

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


class Detector:
    """Finds a face in the left third of every photograph."""

    def __init__(self, min_confidence: float) -> None:
        assert min_confidence == 0.5

    def __call__(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        return [[Face((0, 10, 40, 50), 0.9, np.zeros((5, 2), np.float32))] for _ in images]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph that is white where the face is, and dark beside it."""
    monkeypatch.setattr(ood_pictures, "FaceDetector", Detector)
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.full((60, 200, 3), 40, np.uint8)
    pixels[:, :56] = 255  # the box, and what is kept clear beside it
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_grey_varied_and_follow_from_the_seed(name: str) -> None:
    one, same, other = (DRAWN[name](9, 24, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == (9, 1, 24, 24)
    assert one.dtype == torch.uint8
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len({picture.numpy().tobytes() for picture in one}) == 9
    assert all(picture.float().std() > 1 for picture in one)


def test_backgrounds_touch_no_face(photos: Path) -> None:
    cut = backgrounds(photos, 30, 16, np.random.default_rng(0))
    assert cut.shape == (30, 1, 16, 16)
    assert (cut == 40).all()


def test_photographs_without_a_background_are_refused(photos: Path) -> None:
    with pytest.raises(SystemExit, match="Only 0 of 2 squares of 61 px"):
        backgrounds(photos, 2, 61, np.random.default_rng(0))


def save_faces(root: Path) -> None:
    """Write faces of every class and split, 16 px, that differ in brightness."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 1), ("test", 2)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 60, (16, 16)) + 20 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def test_cells_are_run_once_and_become_tables(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_faces(tmp_path / "faces")
    command = [
        "ood.py", "--root", "faces", "--layout", "folder", "--backbone", "tiny", "--size", "16", "--epochs", "1", "--seeds", "0",
        "--photos", "photos", "--faces", "40", "--pictures", "5", "--shrinkage", "0.1", "--out", "ood.jsonl", "--networks",
    ]  # fmt: skip
    monkeypatch.setattr(ood, "be_quiet", lambda: None)
    monkeypatch.setattr(sys, "argv", [*command, "all", "fear"])
    ood.main()
    lines = Path("ood.jsonl").read_text().splitlines()
    assert len(lines) == 6
    monkeypatch.setattr(TinyBackbone, "forward_features", None)  # nothing is trained again
    ood.main()
    monkeypatch.setattr(sys, "argv", [*command, "all", "--table"])
    ood.main()
    assert Path("ood.jsonl").read_text().splitlines() == lines
    said = capsys.readouterr().out
    assert (
        "| AUROC / FPR@95 | uniform noise (5) | Gaussian noise (5) | textures (5) | synthetic faces (5) | backgrounds (5) |"
        in said
    )
    assert "| AUROC / FPR@95 | fear (3) |" in said
    assert said.count("| energy |") == 6


def test_finished_cells_of_the_mixings_are_asked_once(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_faces(tmp_path / "faces")
    for cell, results in (("tiny/plain/0", {"test": {}}), ("tiny/plain/1", {"test": {}}), ("tiny/fmix/0", {"fit": {}})):
        trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir="runs")
        trainer.strategy.connect(ClassificationModule(class_names=list(CLASSES), backbone="tiny", image_size=16))
        trainer.save_checkpoint(Path("runs", cell, "last.ckpt"))
        Path("runs", cell, "results.json").write_text(json.dumps(results))
    command = ["mixing_ood.py", "--runs", "runs", "--root", "faces", "--layout", "folder", "--photos", "photos", "--faces", "40",
               "--pictures", "5", "--shrinkage", "0.1", "--out", "out.jsonl", "--scores", "energy"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    mixing_ood.main()
    lines = Path("out.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]  # the third is not finished
    monkeypatch.setattr(TinyBackbone, "forward_features", None)
    mixing_ood.main()
    assert Path("out.jsonl").read_text().splitlines() == lines
    aurocs = [100 * json.loads(line)["outsides"]["textures"]["energy"]["auroc"] for line in lines]
    said = capsys.readouterr().out
    assert (
        "| energy | mixing | uniform noise | Gaussian noise | textures | synthetic faces | backgrounds | seeds |"
        in said
    )
    [row] = {line for line in said.splitlines() if line.startswith("| tiny | plain |")}
    assert row.split(" | ")[4] == f"{statistics.mean(aurocs):.1f} ± {statistics.stdev(aurocs):.1f}"
