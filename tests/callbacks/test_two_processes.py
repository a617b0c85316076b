"""What callbacks write under DDP is what one process writes."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from eac_lightning._lightning import L, loggers
from eac_lightning.callbacks.cam import CAMCallback
from eac_lightning.callbacks.confusion import ConfusionMatrixCallback
from eac_lightning.callbacks.predictions import PredictionWriter
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import ClassificationModule


class Backbone(torch.nn.Module):
    num_features = 4

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3, 4, 1)

    def forward_features(self, image):
        return self.layer(image)


class Module(ClassificationModule):
    def __init__(self):
        super().__init__(num_classes=3)

    def configure_models(self):
        torch.manual_seed(0)
        self.model = CAMClassifier(Backbone(), 3)


class Faces(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(index))
        return {"image": image, "label": index % 3, "index": index}


def main(folder, devices):
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=1,
        logger=loggers.CSVLogger(folder, name=None, version=""),
        callbacks=[CAMCallback(samples=2), ConfusionMatrixCallback(), PredictionWriter()],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    faces = DataLoader(Faces(), batch_size=3)
    module = Module()
    trainer.test(module, faces)
    # 11 faces do not go into two halves: this sampler gives one of them to both processes.
    sampler = DistributedSampler(range(11), num_replicas=devices, rank=trainer.global_rank, shuffle=False)
    trainer.predict(module, DataLoader(Faces(), batch_size=3, sampler=sampler), return_predictions=False)
    trainer.fit(module, faces, faces)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


def run(folder: Path, devices: int) -> Path:
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"}
    command = [sys.executable, str(script), str(folder), str(devices)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    return run(root / "one", 1), run(root / "two", 2)


def test_confusion_counts_are_the_same(folders: tuple[Path, Path]) -> None:
    one, two = ((folder / "confusion_matrix_test.csv").read_text() for folder in folders)
    assert one == two
    counts = [int(cell) for row in list(csv.reader(one.splitlines()))[1:] for cell in row[1:]]
    assert sum(counts) == 12


def test_every_sample_is_predicted_once(folders: tuple[Path, Path]) -> None:
    one, two = (list(csv.DictReader((folder / "predictions.csv").open())) for folder in folders)
    assert [row["index"] for row in two] == [str(index) for index in range(11)]
    for alone, together in zip(one, two, strict=True):
        assert alone["predicted"] == together["predicted"]
        assert float(alone["confidence"]) == pytest.approx(float(together["confidence"]), abs=2e-6)


def test_rank_zero_draws(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        names = {file.stem for file in (folder / "pictures").iterdir()}
        assert {"cam_test", "cam_predict", "cam_val", "confusion_matrix_test", "confusion_matrix_val"} == names
