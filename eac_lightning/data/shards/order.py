"""Which face comes when: a shuffle that reads a few shards at a time and is never in memory as a whole."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eac_lightning.data.samplers import DistributedBatches
from eac_lightning.errors import ConfigurationError
from eac_lightning.seeding import derive_seed

Positions = NDArray[np.int64]


class WindowedOrder:
    """The order of one epoch, of which any part can be asked for.

    The shards are permuted and taken in windows of nearly equal numbers of them; within a window all faces are
    permuted. Both follow from ``(seed, epoch)`` alone, so that any process can say what comes at any place.

    Args:
        faces: (S,) how many faces each shard has. Face f of shard s has the position ``sum(faces[:s]) + f``.
        window: How many shards at most are shuffled among each other.
        seed: Seed of the orders.
        epoch: Which epoch.
        shuffle: Whether anything is permuted; else the faces come as packed.
    """

    def __init__(self, faces: Sequence[int], window: int, seed: int, epoch: int, shuffle: bool = True) -> None:
        self.seed, self.epoch, self.shuffle = seed, epoch, shuffle
        self.faces = np.asarray(faces, np.int64)
        self.first = np.cumsum(self.faces) - self.faces
        shards = np.arange(len(self.faces))
        if shuffle:
            shards = np.random.default_rng(derive_seed(seed, "shards", epoch)).permutation(shards)
        self.windows = np.array_split(shards, -(-len(shards) // window))
        self.ends = np.cumsum([self.faces[part].sum() for part in self.windows])
        self._kept: tuple[int, Positions] = (-1, shards)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, part: slice) -> Positions:
        """Return the positions of the faces that come from ``part.start`` to before ``part.stop``."""
        start, stop = part.start, min(part.stop, len(self))
        found = []
        while start < stop:
            window = self.window_of(start)
            end = int(self.ends[window])
            begin = end - int(self.faces[self.windows[window]].sum())
            found.append(self._within(window)[start - begin : stop - begin])
            start = end
        return np.concatenate(found)

    def window_of(self, place: int) -> int:
        """Return the window that a place in the order lies in."""
        return int(np.searchsorted(self.ends, place, side="right"))

    def _within(self, window: int) -> Positions:
        if self._kept[0] != window:
            positions = [np.arange(self.first[s], self.first[s] + self.faces[s]) for s in self.windows[window]]
            order = np.concatenate(positions)
            if self.shuffle:
                rng = np.random.default_rng(derive_seed(self.seed, "window", self.epoch, window))
                order = rng.permutation(order)
            self._kept = (window, order)
        return self._kept[1]


class ShardBatches(DistributedBatches):
    """Deals the faces of shards as ``DistributedBatches`` deals those in memory, and can begin in mid epoch.

    Args:
        faces: (S,) how many faces each shard has.
        batch_size: Faces per process and batch.
        order: ``"shuffle"``, or ``"sequential"``: as packed.
        seed: Seed of the orders; an order follows from ``(seed, epoch)``.
        window: How many shards at most are shuffled among each other.
        world: Number of processes; None asks ``torch.distributed`` when the batches are drawn.
        rank: This process among them; None likewise.

    Raises:
        ConfigurationError: If the order is ``"balanced"``, which needs all labels at once, or the window below 1.
    """

    def __init__(
        self,
        faces: Sequence[int],
        batch_size: int,
        order: str = "shuffle",
        seed: int = 0,
        window: int = 16,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        if order == "balanced":
            raise ConfigurationError("Shards cannot be drawn in a balanced order: leave sampler at 'shuffle'.")
        if window < 1:
            raise ConfigurationError(f"Expected a window of at least 1 shard, but got {window}.")
        super().__init__(sum(faces), batch_size, order, seed, world=world, rank=rank)
        self.faces = faces
        self.window = window

    def windows(self) -> WindowedOrder:
        """Return the order of this epoch."""
        return WindowedOrder(self.faces, self.window, self.seed, self.epoch, self.order == "shuffle")

    def _draw(self) -> WindowedOrder:  # type: ignore[override]  # sliced as an array is
        return self.windows()
