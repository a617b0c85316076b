from collections import Counter

import numpy as np
import pytest
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from eac_lightning.data.samplers import DistributedBatches
from eac_lightning.errors import ConfigurationError, DataError

lengths = st.integers(1, 120)
batch_sizes = st.integers(1, 9)
worlds = st.integers(1, 5)
training = st.sampled_from(["shuffle", "balanced"])


def deal(length: int, batch_size: int, order: str, world: int, epoch: int = 0) -> list[list[list[int]]]:
    labels = np.arange(length) % 3
    samplers = [DistributedBatches(length, batch_size, order, 7, labels, world, rank) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    dealt = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(batches) for batches in dealt]
    return dealt


@given(lengths, batch_sizes, worlds, st.sampled_from(["shuffle", "sequential"]))
def test_every_sample_comes_exactly_once(length: int, batch_size: int, world: int, order: str) -> None:
    if order == "shuffle" and length < world:
        return
    dealt = deal(length, batch_size, order, world)
    assert sorted(i for batches in dealt for batch in batches for i in batch) == list(range(length))


@given(lengths, batch_sizes, worlds, training)
def test_every_process_trains_on_the_same_number_of_batches(
    length: int, batch_size: int, world: int, order: str
) -> None:
    if length < world:
        return
    dealt = deal(length, batch_size, order, world)
    assert len({len(batches) for batches in dealt}) == 1
    if batch_size > 1 and length >= 2 * world:
        assert min(len(batch) for batches in dealt for batch in batches) >= 2
    assert max(len(batch) for batches in dealt for batch in batches) <= batch_size + 2


@given(st.integers(1, 120), batch_sizes, worlds)
def test_evaluation_deals_every_process_as_many_batches(length: int, batch_size: int, world: int) -> None:
    assert len({len(batches) for batches in deal(length, batch_size, "sequential", world)}) == 1


@given(st.integers(8, 120), st.integers(1, 5), st.integers(2, 4), training)
def test_a_step_sees_the_same_samples_on_any_number_of_processes(
    length: int, batch_size: int, world: int, order: str
) -> None:
    tail = length % (batch_size * world)
    if 0 < tail < 2 * world:
        return  # such a tail is merged only where it is too small to deal
    alone = deal(length, batch_size * world, order, 1)[0]
    together = zip(*deal(length, batch_size, order, world), strict=True)
    steps = [[i for part in parts for i in part] for parts in together]
    assert list(map(sorted, alone)) == list(map(sorted, steps))


def test_one_process_gets_plain_chunks() -> None:
    sampler = DistributedBatches(10, 4, "sequential")
    assert list(sampler) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(batch) for batch in DistributedBatches(9, 4)] == [4, 5]


def test_an_order_follows_from_seed_and_epoch() -> None:
    first, again, later = (deal(50, 8, "shuffle", 1, epoch) for epoch in (0, 0, 1))
    assert first == again
    assert first != later
    assert list(DistributedBatches(50, 8, seed=1)) != list(DistributedBatches(50, 8, seed=2))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 3))
def test_balanced_draws_classes_equally_often(labels: list[int], epoch: int) -> None:
    sampler = DistributedBatches(len(labels), 8, "balanced", labels=labels)
    sampler.set_epoch(epoch)
    drawn = [i for batch in sampler for i in batch]
    assert len(drawn) == len(labels)
    per_class = Counter(labels[i] for i in drawn)
    assert set(per_class) == set(labels)
    assert max(per_class.values()) - min(per_class.values()) <= 1
    for label in per_class:
        repeats = Counter(i for i in drawn if labels[i] == label)
        members = labels.count(label)
        assert max(repeats.values()) <= -(-per_class[label] // members)


def test_a_loader_asks_for_whole_batches() -> None:
    class Squares(Dataset[list[int]]):
        def __getitem__(self, positions: list[int]) -> list[int]:
            return [i * i for i in positions]

    loader = DataLoader(Squares(), batch_size=None, sampler=DistributedBatches(5, 2, "sequential"))
    assert list(loader) == [[0, 1], [4, 9], [16]]


def test_rank_and_world_come_from_torch_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = DistributedBatches(6, 2, "sequential")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    assert list(sampler) == [[2, 3], [5]]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'shuffle'"):
        DistributedBatches(4, 2, "shuffel")
    with pytest.raises(ConfigurationError, match="at least 1, but is 0"):
        DistributedBatches(4, 0)
    with pytest.raises(ConfigurationError, match="needs the labels"):
        DistributedBatches(4, 2, "balanced")
    with pytest.raises(DataError, match="there is none"):
        DistributedBatches(0, 2)
    with pytest.raises(DataError, match="3 training samples cannot be dealt to 4 processes"):
        len(DistributedBatches(3, 2, world=4, rank=0))
