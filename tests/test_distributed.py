"""Two processes on the CPU (gloo), through the real command, against one."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import make_faces

# No batch norm: its statistics are of one process's half of the batch.
PLAIN_BACKBONE = """
from torch import nn
from eac_lightning import register_backbone

@register_backbone("plain")
class Plain(nn.Module):
    num_features, output_stride = 8, 4
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU())
    def forward_features(self, image):
        return self.layers(image)
"""


def eac(folder: Path, command: str, processes: int, *options: str) -> None:
    arguments = [
        command, "--import", "plain_backbone", "-c", "ce_mobilefacenet", "-c", "noise/symmetric_30",
        "--model.backbone", "plain", "--model.lr", "0.01", "--data.root", "faces", "--data.image_size", "16",
        "--data.augment", "none", "--data.batch_size", str(8 // processes), "--trainer.max_epochs", "3",
        "--trainer.accelerator", "cpu", "--trainer.devices", str(processes), "--trainer.strategy",
        "ddp" if processes > 1 else "auto", "--trainer.callbacks",
        "[eac_lightning.ConfusionMatrixCallback, eac_lightning.PredictionWriter]", *options,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "eac_lightning", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit by one process and one by two, each evaluated by the other number; 11 faces a class divide by neither."""
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "plain_backbone.py").write_text(PLAIN_BACKBONE)
    make_faces(folder / "faces", per_class=(8, 5, 3))
    for processes in (1, 2):
        eac(folder, "fit", processes, "--trainer.default_root_dir", f"run{processes}")
        eac(folder, "test", 3 - processes, "--trainer.default_root_dir", f"run{processes}")
    eac(folder, "predict", 2, "--trainer.default_root_dir", "run2")
    return folder


def results(runs: Path, processes: int) -> dict[str, dict[str, float]]:
    content: dict[str, dict[str, float]] = json.loads((runs / f"run{processes}" / "results.json").read_text())
    return content


def test_two_processes_train_and_validate_as_one(runs: Path) -> None:
    histories = [results(runs, processes)["fit"]["history"] for processes in (1, 2)]
    assert len(histories[0]) == 3
    for one, two in zip(*histories, strict=True):  # type: ignore[call-overload]
        assert one == pytest.approx(two, abs=1e-5)
        assert "train/memorized" in one


def test_two_processes_test_as_one(runs: Path) -> None:
    assert results(runs, 1)["test"] == pytest.approx(results(runs, 2)["test"], abs=1e-5)


def test_confusion_matrices_count_every_face_once(runs: Path) -> None:
    for split, faces in (("val", 15), ("test", 9)):
        tables = [(runs / f"run{n}" / f"confusion_matrix_{split}.csv").read_text() for n in (1, 2)]
        assert tables[0] == tables[1]
        rows = list(csv.reader(tables[0].splitlines()))[1:]
        assert sum(int(cell) for row in rows for cell in row[1:]) == faces


def test_every_face_is_predicted_once(runs: Path) -> None:
    with (runs / "run2" / "predictions.csv").open() as file:
        index = [int(row["index"]) for row in csv.DictReader(file)]
    assert index == list(range(48))


def test_two_processes_pass_both_stages_of_facenet2expnet_as_one(runs: Path) -> None:
    teacher = {
        "layers.0.weight": torch.rand(8, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.5,
        "layers.0.bias": torch.zeros(8),
    }
    torch.save(teacher, runs / "teacher.pt")
    histories = []
    for processes in (1, 2):
        folder = f"taught{processes}"
        eac(
            runs, "fit", processes, "--model", "eac_lightning.FaceNet2ExpNetModule", "--model.backbone", "plain",
            "--model.teacher", "plain", "--model.teacher_weights", "teacher.pt", "--model.stage1_epochs", "2",
            "--trainer.max_epochs", "4", "--data.unlabelled_root", "faces/train", "--trainer.default_root_dir", folder,
        )  # fmt: skip
        assert (runs / folder / "student.safetensors").is_file()
        histories.append(json.loads((runs / folder / "results.json").read_text())["fit"]["history"])
    assert len(histories[0]) == 4
    for one, two in zip(*histories, strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    assert "train/regression" in histories[0][0]
    assert "train/accuracy" in histories[0][2]
