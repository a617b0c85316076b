"""Looking at a network in the middle of its training without leaving a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from eac_lightning.seeding import seeded


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for the block; after it, or an exception in it, all is as it was.

    The mode of every submodule is given back by itself: a frozen part that was in eval mode inside a training
    network stays in it. torch's random state is given back too, in case a forward pass draws from it.
    """
    modes = [(part, part.training) for part in module.modules()]
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    try:
        with seeded(0, device):
            for part, _ in modes:
                part.training = False
            yield
    finally:
        for part, training in modes:
            part.training = training
