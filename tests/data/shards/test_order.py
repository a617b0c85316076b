import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eac_lightning.data.shards.order import ShardBatches, WindowedOrder
from eac_lightning.errors import ConfigurationError
from tests.data.shards.conftest import flat

shard_lists = st.lists(st.integers(1, 12), min_size=1, max_size=14)
worlds = st.integers(1, 4)
windows = st.integers(1, 6)


def deal(faces: list[int], batch_size: int, world: int, order: str = "shuffle", done: int = 0) -> list[list[list[int]]]:
    samplers = [ShardBatches(faces, batch_size, order, 5, 3, world, rank) for rank in range(world)]
    for sampler in samplers:
        sampler.done = done
    return [list(sampler) for sampler in samplers]


@given(shard_lists, windows, st.booleans())
def test_any_part_of_an_order_is_that_of_the_whole(faces: list[int], window: int, shuffle: bool) -> None:
    order = WindowedOrder(faces, window, seed=1, epoch=2, shuffle=shuffle)
    whole = order[0 : len(order)].tolist()
    assert sorted(whole) == list(range(sum(faces)))
    pieces = [order[start : start + 5].tolist() for start in range(0, len(order), 5)]
    assert flat(pieces) == whole
    assert (whole == sorted(whole)) or shuffle


def test_faces_are_shuffled_within_a_window_and_windows_among_each_other() -> None:
    order = WindowedOrder([100] * 40, window=8, seed=0, epoch=0)
    shards = order[0:4000] // 100
    per_window = [set(shards[start : start + 800].tolist()) for start in range(0, 4000, 800)]
    assert [len(window) for window in per_window] == [8] * 5
    assert set.union(*per_window) == set(range(40))
    assert len(set(shards[:100].tolist())) == 8
    assert order.window_of(799) == 0
    assert order.window_of(800) == 1


def test_an_order_follows_from_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): WindowedOrder([9] * 9, 3, seed, epoch)[0:81].tolist() for seed in (0, 1) for epoch in (0, 1)
    }
    assert WindowedOrder([9] * 9, 3, 0, 0)[0:81].tolist() == orders[0, 0]
    assert len({tuple(order) for order in orders.values()}) == 4


@settings(deadline=None)
@given(shard_lists, st.integers(1, 7), worlds, st.sampled_from(["shuffle", "sequential"]))
def test_every_face_comes_once_whatever_the_processes(faces: list[int], size: int, world: int, order: str) -> None:
    if sum(faces) < world:
        return
    dealt = deal(faces, size, world, order)
    assert sorted(i for batches in dealt for batch in batches for i in batch) == list(range(sum(faces)))
    assert len({len(batches) for batches in dealt}) == 1
    one = WindowedOrder(faces, 3, 5, 0, order == "shuffle")[0 : sum(faces)].tolist()
    steps = [flat(parts) for parts in zip(*dealt, strict=True)]
    assert flat(steps) == one


@settings(deadline=None)
@given(shard_lists, st.integers(1, 7), worlds, worlds, st.integers(0, 20))
def test_the_rest_of_an_epoch_follows_on_any_number_of_processes(
    faces: list[int], size: int, world: int, again: int, batches: int
) -> None:
    length = sum(faces)
    if length < max(world, again):
        return
    sampler = ShardBatches(faces, size, "shuffle", 5, 3, world, 0)
    starts = sampler.starts()
    done = starts[batches] if batches < len(starts) else length
    if 0 < length - done < again:
        assert deal(faces, size, again, done=done) == [[]] * again
        return
    rest = [flat(parts) for parts in zip(*deal(faces, size, again, done=done), strict=True)]
    assert flat(rest) == WindowedOrder(faces, 3, 5, 0)[done:length].tolist() if done < length else rest == []


def test_another_epoch_begins_at_its_beginning() -> None:
    sampler = ShardBatches([10, 10], 4)
    sampler.done = 8
    sampler.set_epoch(0)
    assert sum(map(len, sampler)) == 12
    assert len(sampler) == 5
    sampler.set_epoch(1)
    assert sum(map(len, sampler)) == 20


def test_no_more_than_a_window_is_in_memory() -> None:
    order = WindowedOrder([1000] * 100_000, window=16, seed=0, epoch=0)  # 100 million faces
    middle = order[50_000_000:50_000_032]
    assert len(np.unique(middle)) == 32
    assert len(order._kept[1]) == 16_000
    assert len(ShardBatches([1000] * 100_000, 256, world=8, rank=3)) == 48829


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="balanced order: leave sampler"):
        ShardBatches([3], 2, "balanced")
    with pytest.raises(ConfigurationError, match="window of at least 1 shard, but got 0"):
        ShardBatches([3], 2, window=0)
