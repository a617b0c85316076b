"""Stateless randomness: every draw follows from a seed and from where in the run it happens."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def default_seed() -> int:
    """Return the seed of ``seed_everything`` where it was called, else 0; never a random one."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that follows from ``parts`` alone, on every machine and in every process.

    ``derive_seed(seed, "augment", epoch, step)`` gives neighbouring steps unrelated streams, which adding the
    numbers up would not.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch inside the block and give the random state back as it was.

    Args:
        seed: Any non-negative integer below 2**63.
        device: The accelerator whose generator is forked too; the CPU's always is.
    """
    devices = [device] if device is not None and device.type != "cpu" else []
    with torch.random.fork_rng(devices=devices, device_type=device.type if devices and device else "cuda"):
        torch.manual_seed(seed)
        yield
