"""Two processes through the real command, against one; tests/distributed has what they do beneath it."""

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


def eac(folder: Path, command: str, processes: int, run: str) -> None:
    arguments = [
        command, "--import", "plain_backbone", "-c", "ce_mobilefacenet", "-c", "noise/symmetric_30",
        "--model", "eac_lightning.FaceNet2ExpNetModule", "--model.backbone", "plain", "--model.teacher", "plain",
        "--model.teacher_weights", "teacher.pt", "--model.stage1_epochs", "2", "--model.lr", "0.01",
        "--data.root", "faces", "--data.unlabelled_root", "faces/train", "--data.image_size", "16",
        "--data.augment", "none", "--data.batch_size", str(8 // processes), "--trainer.max_epochs", "4",
        "--trainer.accelerator", "cpu", "--trainer.devices", str(processes), "--trainer.strategy",
        "ddp" if processes > 1 else "auto", "--trainer.default_root_dir", run,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "eac_lightning", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_pass_both_stages_of_facenet2expnet_as_one(tmp_path: Path) -> None:
    """Each run is tested by the other number of processes."""
    (tmp_path / "plain_backbone.py").write_text(PLAIN_BACKBONE)
    make_faces(tmp_path / "faces", per_class=(8, 5, 3))
    teacher = {
        "layers.0.weight": torch.rand(8, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.5,
        "layers.0.bias": torch.zeros(8),
    }
    torch.save(teacher, tmp_path / "teacher.pt")
    results = []
    for processes in (1, 2):
        run = f"run{processes}"
        eac(tmp_path, "fit", processes, run)
        eac(tmp_path, "test", 3 - processes, run)
        assert (tmp_path / run / "student.safetensors").is_file()
        results.append(json.loads((tmp_path / run / "results.json").read_text()))
    assert results[0]["test"] == pytest.approx(results[1]["test"], abs=1e-5)
    histories = [result["fit"]["history"] for result in results]
    assert len(histories[0]) == 4
    for one, two in zip(*histories, strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    assert "train/regression" in histories[0][0]
    assert {"train/accuracy", "train/memorized"} <= histories[0][2].keys()
