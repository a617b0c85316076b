import numpy as np
import torch
from torch.utils.data import DataLoader

from eac_lightning.data.dataset import BatchLoader, FaceDataset, identity
from eac_lightning.data.samplers import DistributedBatches


def make_dataset(**columns: np.ndarray) -> FaceDataset:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    return FaceDataset(images, np.array([0, 1, 2, 1, 0]), np.array([10, 11, 12, 13, 14]), **columns)


def test_a_sample_is_a_copy() -> None:
    dataset = make_dataset()
    sample = dataset[3]
    assert sample["image"].shape == (1, 2, 2)
    assert (int(sample["label"]), int(sample["index"])) == (1, 13)
    sample["image"].zero_()
    assert int(dataset[3]["image"].max()) == 3


def test_a_batch_comes_at_once() -> None:
    dataset = make_dataset()
    batch = dataset[[3, 0]]
    assert batch["image"][:, 0, 0, 0].tolist() == [3, 0]
    assert batch["label"].tolist() == [1, 0]
    assert batch["index"].tolist() == [13, 10]
    assert dataset.__getitems__([3, 0])["index"].tolist() == [13, 10]
    assert len(dataset) == 5


def test_clean_labels_are_there_only_where_one_is_known() -> None:
    assert "clean_label" not in make_dataset(clean_labels=np.full(5, -1))[[0]]
    batch = make_dataset(clean_labels=np.array([-1, -1, 2, -1, -1]))[[1, 2]]
    assert batch["clean_label"].tolist() == [-1, 2]


def test_soft_labels_follow() -> None:
    soft = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0]]
    assert make_dataset(soft_labels=soft)[[2, 0]]["soft_label"].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_collating_loader_gets_whole_batches() -> None:
    loader = DataLoader(make_dataset(), 2, collate_fn=identity)
    assert [batch["index"].tolist() for batch in loader] == [[10, 11], [12, 13], [14]]


def test_workers_follow_the_epoch_that_is_set_after_the_iterator_is_made() -> None:
    def first(workers: int) -> list[int]:
        sampler = DistributedBatches(5, 5)
        loader = BatchLoader(make_dataset(), None, sampler=sampler, num_workers=workers, collate_fn=identity)
        batches = iter(loader)
        sampler.set_epoch(3)
        index: torch.Tensor = next(batches)["index"]
        return index.tolist()

    sampler = DistributedBatches(5, 5)
    sampler.set_epoch(3)
    assert first(0) == first(1) == [10 + position for position in next(iter(sampler))]
