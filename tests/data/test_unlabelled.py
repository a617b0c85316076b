from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eac_lightning import FERDataModule
from eac_lightning.data.dataset import FaceDataset
from eac_lightning.data.unlabelled import WithUnlabelled


def dataset(channels: int) -> FaceDataset:
    images = np.arange(4, dtype=np.uint8).repeat(channels * 4).reshape(4, channels, 2, 2)
    return FaceDataset(images, np.array([0, 1, 2, 0]), np.array([10, 11, 12, 13]), np.array([1, 1, 1, 1]))


@pytest.mark.parametrize(("channels", "more_channels"), [(1, 3), (3, 1), (1, 1)])
def test_a_batch_mixes_both(channels: int, more_channels: int) -> None:
    more = np.full((2, more_channels, 2, 2), 200, np.uint8)
    joined = WithUnlabelled(dataset(channels), more)
    assert len(joined) == 6
    batch = joined.__getitems__([5, 1, 3])
    assert batch["image"].shape == (3, max(channels, more_channels), 2, 2)
    assert batch["image"][:, 0, 0, 0].tolist() == [1, 3, 200]
    assert batch["label"].tolist() == [1, 0, -1]
    assert batch["index"].tolist() == [11, 13, -1]
    assert batch["label"].dtype == torch.int64
    assert joined[[4, 5]]["label"].tolist() == [-1, -1]
    assert joined[[0]]["label"].tolist() == [0]


def test_they_are_read_only_while_no_labels_are_needed(faces: Path) -> None:
    data = FERDataModule(faces, image_size=16, batch_size=8, unlabelled_root=str(faces / "val"))
    data.setup("fit")
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(reads_unlabelled=True), overfit_batches=0)
    drawn = torch.cat([batch["label"] for batch in data.train_dataloader()])
    assert len(drawn) == 36
    assert (drawn == -1).sum() == 12
    data.trainer.lightning_module.reads_unlabelled = False
    assert sum(len(batch["label"]) for batch in data.train_dataloader()) == 24
