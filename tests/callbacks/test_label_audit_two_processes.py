"""An audit under DDP is that of one process: every sample once, the same record on every rank."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eac_lightning.audit.table import read_audit
from tests.conftest import make_faces

# Nothing is learned and nothing is augmented, so that the weights agree whoever has seen which face.
SCRIPT = """
import sys
from pathlib import Path
import torch
from torch.utils.data import DataLoader, Dataset
from eac_lightning import FERDataModule
from eac_lightning._lightning import L
from eac_lightning.callbacks.label_audit import LabelAuditCallback
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
    def __init__(self, names):
        super().__init__(class_names=names, lr=0.0)

    def configure_models(self):
        torch.manual_seed(0)
        self.model = CAMClassifier(Backbone(), 3)


class Plain(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, index):
        return torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(index)), index % 3, index


def audit(folder, devices, faces=None, **options):
    callback = LabelAuditCallback(**options)
    trainer = L.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=2, logger=False,
        default_root_dir=folder, callbacks=[callback], enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )
    if faces is None:
        trainer.fit(Module(["a", "b", "c"]), DataLoader(Plain(), batch_size=3))
    else:
        data = FERDataModule(faces, image_size=16, batch_size=3, subset=23, seed=0)
        trainer.fit(Module(list(data.class_names)), datamodule=data)
    torch.save(callback.record.state_dict(), Path(folder) / f"record_{trainer.global_rank}.pt")


if __name__ == "__main__":
    folder, devices, faces = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    audit(folder / "plain", devices)
    audit(folder / "faces", devices, faces, mirror="always")
    audit(folder / "passive", devices, faces, passive=True)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("audits")
    (root / "script.py").write_text(SCRIPT)
    faces = make_faces(root / "faces")
    for devices in (1, 2):
        for name in ("plain", "faces", "passive"):
            (root / str(devices) / name).mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, str(root / "script.py"), str(root / str(devices)), str(devices), str(faces)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    return [root / "1", root / "2"]


@pytest.mark.parametrize(("name", "count"), [("plain", 11), ("faces", 23), ("passive", 23)])
def test_two_processes_audit_as_one(name: str, count: int, folders: list[Path]) -> None:
    one, two = (read_audit(folder / name) for folder in folders)
    assert len(two) == two["index"].nunique() == count
    if name == "plain":
        assert two["index"].tolist() == list(range(11))
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=1e-5)
    assert two["consistency"].isna().all() == (name == "passive")
    assert len(np.unique(two["p_given"])) > count // 2
    figures = [json.loads((folder / name / "audit.json").read_text()) for folder in folders]
    assert figures[0].keys() == figures[1].keys()
    assert figures[0]["suspects"] == figures[1]["suspects"]
    assert figures[1]["settings"]["epochs"] == [0, 1]


@pytest.mark.parametrize("name", ["plain", "faces", "passive"])
def test_both_processes_hold_the_same_record(name: str, folders: list[Path]) -> None:
    ranks = [torch.load(folders[1] / name / f"record_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert ranks[0]["epochs"] == ranks[1]["epochs"] == [0, 1]
    for column, values in ranks[0]["columns"].items():
        torch.testing.assert_close(values, ranks[1]["columns"][column], rtol=0, atol=0, equal_nan=True)
    # Nobody was asked about twice in an epoch, and none in one epoch only.
    assert set(ranks[0]["columns"]["count"].tolist()) <= {0, 2}
