"""Batches for any number of processes: every sample once, none padded, none dropped."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.seeding import derive_seed

ORDERS = ("shuffle", "balanced", "sequential")

logger = logging.getLogger("eac_lightning")


class DistributedBatches(DistributedSampler[list[int]]):
    """Yields this process's batches of positions, for ``DataLoader(batch_size=None)``.

    Each global batch of ``batch_size * world`` samples is dealt to the processes in nearly equal parts, so
    that every process has the same number of batches (a step in which one is missing would hang) and two
    processes with half the batch size see in each step what one process sees. A tail too small to deal is
    merged into the batch before: in training one that would give a process fewer than two samples, which
    batch normalisation cannot take; in evaluation one that would give a process none. Where there are fewer
    samples to evaluate than processes, some get a batch of none, and so take part in what all do together. Where
    training goes on in mid epoch with more processes than there are samples left, the epoch ends there, with a warning.

    Lightning leaves any ``DistributedSampler`` as it is, and calls its ``set_epoch``.

    Args:
        length: Number of samples N.
        batch_size: Samples per process and batch.
        order: ``"shuffle"`` draws a permutation per epoch; ``"balanced"`` draws N samples with the classes
            equally often, each sample of a class about equally often; ``"sequential"`` keeps the order, for
            evaluation.
        seed: Seed of the orders; an order follows from ``(seed, epoch)``.
        labels: (N,) given labels; ``"balanced"`` needs them.
        world: Number of processes; None asks ``torch.distributed`` when the batches are drawn.
        rank: This process among them; None likewise.

    Attributes:
        done: How many samples of this epoch all processes together were given before; the next iteration begins there.

    Raises:
        ConfigurationError: If the order is unknown, the batch size below 1 or the labels missing.
        DataError: If there is no sample or, when drawn for training, fewer samples than processes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        order: str = "shuffle",
        seed: int = 0,
        labels: Sequence[int] | NDArray[np.int64] | None = None,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        # DistributedSampler.__init__ would fix rank and world before the processes have met.
        if order not in ORDERS:
            raise unknown_name("order", order, ORDERS)
        if length < 1:
            raise DataError("Expected at least one sample to draw batches from, but there is none.")
        if batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, but is {batch_size}.")
        if order == "balanced" and labels is None:
            raise ConfigurationError("The balanced order needs the labels of the samples.")
        self.length = length
        self.batch_size = batch_size
        self.order = order
        self.seed = seed
        self.labels = None if labels is None else np.asarray(labels)
        self.epoch = 0
        self.done = 0
        self._world = world
        self._rank = rank

    def __iter__(self) -> Iterator[list[int]]:
        world, rank = self._processes()
        starts = self.starts()
        if not starts and self.done < self.length and rank == 0:
            left = self.length - self.done
            logger.warning("the last %d samples of this epoch cannot be dealt to %d processes: it ends", left, world)
        order = self._draw()
        for step, start in enumerate(starts):
            stop = starts[step + 1] if step + 1 < len(starts) else self.length
            yield np.array_split(order[start:stop], world)[rank].tolist()

    def __len__(self) -> int:
        """Return the batches of the whole epoch, those that are done included."""
        return len(self.starts(0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; another one begins at its beginning."""
        if epoch != self.epoch:
            self.done = 0
        super().set_epoch(epoch)

    def starts(self, done: int | None = None) -> range:
        """Return where each global batch that is left starts; it stops where the next does, the last at the end."""
        world, _ = self._processes()
        training = self.order != "sequential"
        begin = self.done if done is None else done
        left = self.length - begin
        if training and 0 < left < world:
            if begin:  # with fewer processes, which could have dealt them
                return range(0)
            raise DataError(f"{left} training samples cannot be dealt to {world} processes: use fewer devices.")
        starts = range(begin, self.length, self.batch_size * world)
        smallest = world * min(2, self.batch_size) if training else world
        return starts[:-1] if len(starts) > 1 and self.length - starts[-1] < smallest else starts

    def _processes(self) -> tuple[int, int]:
        together = dist.is_available() and dist.is_initialized()
        world = self._world or (dist.get_world_size() if together else 1)
        rank = self._rank if self._rank is not None else (dist.get_rank() if together else 0)
        return world, rank

    def _draw(self) -> NDArray[np.int64]:
        """Return the positions of this epoch's samples, the same on every process."""
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.epoch))
        if self.order == "sequential":
            return np.arange(self.length)
        if self.labels is None or self.order == "shuffle":
            return rng.permutation(self.length)
        classes = rng.permutation(np.unique(self.labels))  # which classes get one more than the others
        shares = np.array_split(np.arange(self.length), len(classes))
        drawn = [
            _cycle(np.flatnonzero(self.labels == label), len(share), rng)
            for label, share in zip(classes, shares, strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def _cycle(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw ``count`` of ``members``: all of them before any comes again."""
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]
