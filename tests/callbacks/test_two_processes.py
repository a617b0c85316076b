"""Under DDP, faces that another sampler than ours repeats to divide them are judged, audited and fitted on once."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from eac_lightning.answering import Answering
from eac_lightning.audit.table import read_audit

# Nothing is learned and nothing is augmented, so that the weights agree whoever has seen which face.
SCRIPT = """
import sys
from pathlib import Path
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from eac_lightning._lightning import L, callbacks
from eac_lightning.callbacks.calibration import CalibrationCallback
from eac_lightning.callbacks.label_audit import LabelAuditCallback
from eac_lightning.callbacks.ood import OODCallback
from eac_lightning.callbacks.predictions import PredictionWriter
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import ClassificationModule


class Backbone(torch.nn.Module):
    num_features = 4

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3, 4, 1)
        self.register_buffer("counted", torch.zeros(1))

    def forward_features(self, image):
        return self.layer(image) + self.counted


class Module(ClassificationModule):
    def __init__(self):
        super().__init__(num_classes=3, lr=0.0)

    def configure_models(self):
        torch.manual_seed(0)
        self.model = CAMClassifier(Backbone(), 3)


class Faces(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, index):
        image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(index))
        return {"image": image, "label": index % 3, "index": index}


class Differ(L.Callback):
    # Batch norm counts for itself in each process, and so may other weights differ that are not trained.

    def on_train_end(self, trainer, pl_module):
        pl_module.model.backbone.counted.fill_(trainer.global_rank)

    def on_fit_end(self, trainer, pl_module):
        pl_module.model.backbone.counted.zero_()


def main(folder, devices):
    audit = LabelAuditCallback(mirror="always")
    best = callbacks.ModelCheckpoint(folder, "best", "val/accuracy", mode="max")
    trainer = L.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=2, logger=False,
        default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[
            audit, PredictionWriter(), Differ(), best,
            OODCallback(shrinkage=0.1, neighbours=2), CalibrationCallback(0.2),
        ],
    )
    module = Module()
    trainer.fit(module, DataLoader(Faces(), batch_size=3), DataLoader(Faces(), batch_size=4))
    torch.save(module.answers.to_dict(), folder / f"answers_{trainer.global_rank}.pt")
    torch.save(audit.record.state_dict(), folder / f"record_{trainer.global_rank}.pt")
    sampler = DistributedSampler(range(11), num_replicas=devices, rank=trainer.global_rank, shuffle=False)
    trainer.predict(module, DataLoader(Faces(), batch_size=3, sampler=sampler), return_predictions=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of one process, and of two."""
    root = tmp_path_factory.mktemp("samplers")
    (root / "script.py").write_text(SCRIPT)
    for devices in ("1", "2"):
        (root / devices).mkdir()
        done = subprocess.run(
            [sys.executable, str(root / "script.py"), str(root / devices), devices],
            env={**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    return [root / "1", root / "2"]


def test_every_face_is_predicted_once(folders: list[Path]) -> None:
    one, two = (list(csv.DictReader((folder / "predictions.csv").open())) for folder in folders)
    assert [row["index"] for row in two] == [str(index) for index in range(11)]
    for alone, together in zip(one, two, strict=True):
        assert alone["predicted"] == together["predicted"]
        assert float(alone["confidence"]) == pytest.approx(float(together["confidence"]), abs=2e-6)


def test_every_face_is_audited_once(folders: list[Path]) -> None:
    one, two = (read_audit(folder) for folder in folders)
    assert two["index"].tolist() == list(range(11))
    assert two["consistency"].notna().all()
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=1e-5)


def test_both_processes_hold_the_same_record(folders: list[Path]) -> None:
    ranks = [torch.load(folders[1] / f"record_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert ranks[0]["epochs"] == ranks[1]["epochs"] == [0, 1]
    for column, values in ranks[0]["columns"].items():
        torch.testing.assert_close(values, ranks[1]["columns"][column], rtol=0, atol=0, equal_nan=True)
    # Nobody was asked about twice in an epoch, and none in one epoch only.
    assert set(ranks[0]["columns"]["count"].tolist()) == {2}


def answers(folder: Path, rank: int) -> Answering:
    return Answering.from_dict(torch.load(folder / f"answers_{rank}.pt", weights_only=True))


def test_scores_and_temperature_are_fitted_on_every_face_once(folders: list[Path]) -> None:
    one, two = answers(folders[0], 0), answers(folders[1], 0)
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    assert len(two.ood["knn"].statistics["neighbours"]) == 11
    for name, score in one.ood.items():
        torch.testing.assert_close(two.ood[name].score(x), score.score(x), rtol=1e-4, atol=1e-5)
    for name in ("temperature", "min_confidence", "ood_threshold"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-4)


def test_both_processes_come_to_the_same_and_the_first_one_stores_it(folders: list[Path]) -> None:
    stored = torch.load(folders[1] / "best.ckpt", weights_only=True)["eac_lightning"]["answering"]
    of_first = {name: score.state_dict() for name, score in answers(folders[1], 0).ood.items()}
    for rank in (0, 1):
        other = answers(folders[1], rank).to_dict()
        torch.testing.assert_close(other["ood"], of_first, rtol=0, atol=0)
        for name in ("temperature", "min_confidence", "ood_threshold"):
            assert other[name] == stored[name]
    torch.testing.assert_close(stored["ood"], of_first, rtol=0, atol=0)
    assert sorted(path.name for path in (folders[1] / "pictures").iterdir()) == ["reliability.png", "risk_coverage.png"]
