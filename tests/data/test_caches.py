"""Where pictures are kept and who loads them changes no number."""

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning import ClassificationModule, FERDataModule
from eac_lightning._lightning import L
from tests.conftest import make_faces

CROSS = list(itertools.product(("none", "ram", "disk"), (0, 1, 2)))
EVERYDAY = [("none", 0), ("none", 2), ("disk", 0), ("disk", 1)]
"""Each is compared with ("ram", 0)."""
everyday = pytest.mark.parametrize(
    ("cache", "workers"), [pair if pair in EVERYDAY else pytest.param(*pair, marks=pytest.mark.slow) for pair in CROSS]
)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Faces of which every other one is grey, so that some batches are of grey ones alone."""
    root = make_faces(tmp_path / "faces", size=20)
    for path in sorted(root.rglob("*.png"))[::2]:
        Image.open(path).convert("L").save(path)
    return root


def data(root: Path, cache: str, workers: int) -> FERDataModule:
    return FERDataModule(
        root, image_size=16, batch_size=4, augment="standard", seed=3, cache=cache, num_workers=workers
    )


def batches(module: FERDataModule) -> list[dict[str, np.ndarray]]:
    """Return what the network is fed, two epochs of training and one of validation."""
    fed: list[Any] = []
    for epoch in range(2):
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        fed += list(loader)
    fed += list(module.val_dataloader())
    return [{key: value.numpy() for key, value in module.on_after_batch_transfer(batch, 0).items()} for batch in fed]


@everyday
def test_batches_are_bit_identical(mixed: Path, cache: str, workers: int) -> None:
    expected, found = batches(data(mixed, "ram", 0)), batches(data(mixed, cache, workers))
    assert len(expected) == len(found) == 2 * 6 + 3
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)


def trained(root: Path, folder: Path, cache: str, workers: int) -> str:
    """Return a digest of the weights after two epochs."""
    L.seed_everything(0)
    module = ClassificationModule(backbone="tiny", lr=0.01)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=2, default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data(root, cache, workers))
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@everyday
def test_weights_are_bit_identical(mixed: Path, tmp_path: Path, cache: str, workers: int) -> None:
    expected = trained(mixed, tmp_path / "expected", "ram", 0)
    state = torch.random.get_rng_state()
    assert trained(mixed, tmp_path / "found", cache, workers) == expected
    assert torch.equal(state, torch.random.get_rng_state())
    assert trained(mixed, tmp_path / "again", cache, workers) == expected  # of a file, where there is one


def test_what_is_written_to_a_batch_stays_there(mixed: Path) -> None:
    before = batches(data(mixed, "disk", 0))
    for split in ("train", "val"):
        faces = data(mixed, "disk", 0).dataset(split)
        faces[[0, 1, 2]]["image"].zero_()
        faces[0]["image"].zero_()
    after = batches(data(mixed, "disk", 0))
    assert all(np.array_equal(one["image"], other["image"]) for one, other in zip(before, after, strict=True))
