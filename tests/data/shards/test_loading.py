from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eac_lightning._lightning import L
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.shards.loading import ShardedFaces, ShardLoader
from eac_lightning.data.shards.order import WindowedOrder
from eac_lightning.data.shards.pack import pack
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.types import LEFT_OUT
from tests.conftest import make_faces
from tests.data.shards.conftest import flat


def drawn(loader: ShardLoader, epoch: int = 0) -> list[list[int]]:
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [batch["index"].tolist() for batch in loader]


def faces(root: str | Path, **options: object) -> ShardedFaces:
    return ShardedFaces(root, size=16, window=3, **options)  # type: ignore[arg-type]


def test_what_a_data_module_asks_for(packed: Path) -> None:
    data = faces(packed)
    assert data.class_names == ("anger", "happiness", "neutral")
    assert data.alignment is None
    assert "train: 120 in 11 shards (anger 40, happiness 40, neutral 40)." in data.summary()
    assert "Layout folder" in data.summary()
    counts = {split: counts.tolist() for split, counts in data.class_counts.items()}
    assert counts == {"train": [40] * 3, "val": [9] * 3, "test": [5] * 3}
    pd.testing.assert_frame_equal(
        data.annotations().table, read_annotations(packed.parent / "faces").table, check_names=False, check_dtype=False,
        check_index_type=False, check_like=True,
    )  # fmt: skip


def test_faces_that_were_left_out_keep_their_row(tmp_path: Path) -> None:
    make_faces(tmp_path / "faces", (4, 2, 2))
    (tmp_path / "faces" / "train" / "happiness" / "1.png").write_bytes(b"")
    pack(read_annotations(tmp_path / "faces", on_bad_image="skip"), tmp_path / "shards", on_bad_image="skip")
    annotations = faces(tmp_path / "shards").annotations()
    row = annotations.table[annotations.table["split"] == LEFT_OUT]
    assert row["path"].tolist() == [""]
    assert annotations.table["label"].dtype == np.int64
    for batch in faces(tmp_path / "shards").loader("predict", 5, order="sequential"):
        assert annotations.table["label"].loc[batch["index"].tolist()].tolist() == batch["label"].tolist()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_and_where_shards_lie_change_nothing(packed: Path, workers: int) -> None:
    here = [drawn(faces(packed).loader("train", 7, seed=4), epoch) for epoch in (0, 1)]
    there = faces(packed.as_uri(), cache_dir=packed.parent / "cache").loader("train", 7, num_workers=workers, seed=4)
    assert [drawn(there, epoch) for epoch in (0, 1)] == here
    assert here[0] != here[1]
    for epoch in here:
        assert sorted(flat(epoch)) == sorted(faces(packed).annotations().table.query("split == 'train'").index)
    assert len(there) == len(here[0]) == 17  # 120 = 17 * 7 + 1, and a batch of one is merged


def test_this_window_and_the_next_are_fetched_ahead(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = faces(packed.as_uri(), cache_dir=packed.parent / "cache")
    loader = data.loader("train", 7)
    asked: list[list[str]] = []
    monkeypatch.setattr(
        ThreadPoolExecutor, "submit", lambda self, local, shard: asked.append([*(asked or [[]])[-1], shard.name])
    )
    counts = [len(asked[-1]) for _ in loader]
    windows = [len(window) for window in WindowedOrder([11] * 10 + [10], 3, 0, 0).windows]
    assert counts[0] == windows[0] + windows[1]
    assert counts[-1] == len(set(asked[-1])) == 11


@pytest.mark.parametrize(("taken", "workers"), [(0, 0), (1, 2), (9, 0), (16, 2), (17, 0)])
def test_a_loader_goes_on_where_another_stopped(packed: Path, taken: int, workers: int) -> None:
    whole = drawn(faces(packed).loader("train", 7), 3)
    loader = faces(packed).loader("train", 7, num_workers=workers)
    loader.sampler.set_epoch(3)  # type: ignore[attr-defined]
    batches = iter(loader)
    begun = [next(batches)["index"].tolist() for _ in range(taken)]
    state = loader.state_dict()
    assert state == {"epoch": 3, "done": 120 if taken == 17 else 7 * taken}
    resumed = faces(packed).loader("train", 7, num_workers=workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert len(resumed) == 17
    assert begun + drawn(resumed, 3) == whole
    assert resumed.state_dict() == {"epoch": 3, "done": 120}
    assert drawn(resumed, 4) == drawn(faces(packed).loader("train", 7), 4)


def test_evaluation_is_in_packed_order(packed: Path) -> None:
    data = faces(packed)
    everything = drawn(data.loader("predict", 50, order="sequential"))
    assert sorted(flat(everything)) == list(range(162))
    assert flat(everything)[:120] == flat(drawn(data.loader("train", 9, order="sequential"), 5))


def test_what_is_not_there_is_refused(packed: Path) -> None:
    with pytest.raises(DataError, match="have no held_out split, only train, val, test"):
        faces(packed).dataset("held_out")
    with pytest.raises(ConfigurationError, match="hold no votes to train on"):
        faces(packed, soft=True)


class Recorder(L.LightningModule):
    """Learns nothing; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).extend(batch["index"].tolist())
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder: Path) -> L.Trainer:
    checkpoint = L.pytorch.callbacks.ModelCheckpoint if hasattr(L, "pytorch") else L.callbacks.ModelCheckpoint
    every = checkpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    return L.Trainer(
        max_epochs=3, callbacks=[every], accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip


def test_lightning_goes_on_in_mid_epoch_with_the_faces_that_are_left(packed: Path) -> None:
    whole = Recorder()
    trainer(packed.parent / "whole").fit(whole, faces(packed).loader("train", 7))
    assert {epoch: len(set(seen)) for epoch, seen in whole.seen.items()} == {0: 120, 1: 120, 2: 120}
    for step in (17, 25):  # of 17 an epoch
        resumed = Recorder()
        loader = faces(packed).loader("train", 7, num_workers=int(step == 25))
        trainer(packed.parent / "again").fit(resumed, loader, ckpt_path=packed.parent / "whole" / f"step={step}.ckpt")
        every = {
            epoch: seen[7 * (step - 17 * epoch) :] if epoch == step // 17 else seen
            for epoch, seen in whole.seen.items()
        }
        assert resumed.seen == {epoch: seen for epoch, seen in every.items() if epoch >= step // 17}


def test_an_epoch_ends_where_more_processes_cannot_deal_what_is_left(
    packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(packed.parent / "whole").fit(Recorder(), faces(packed).loader("train", 7))
    resumed, loader = Recorder(), faces(packed).loader("train", 7)
    loader.sampler._world, loader.sampler._rank = 9, 0  # type: ignore[attr-defined]
    with caplog.at_level("WARNING", "eac_lightning"):
        trainer(packed.parent / "again").fit(resumed, loader, ckpt_path=packed.parent / "whole" / "step=16.ckpt")
    assert "the last 8 samples of this epoch cannot be dealt to 9 processes: it ends" in caplog.messages
    assert {epoch: len(seen) for epoch, seen in resumed.seen.items()} == {1: 14, 2: 14}  # of 120, dealt to 9


def test_batches_are_of_the_asked_size(packed: Path) -> None:
    batch = next(iter(faces(packed).loader("train", 7)))
    assert batch["image"].shape == (7, 3, 16, 16)
    assert batch["image"].dtype == torch.uint8
    assert np.isin(batch["label"], (0, 1, 2)).all()
