"""What a method remembers of each sample from one epoch to the next, by the sample's index."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from eac_lightning.batch import check_sample_index, sample_index
from eac_lightning.modules.base import FERModule
from eac_lightning.types import StepOutput


class SampleMemory(nn.Module):
    """One value a sample, found by the sample's index; it grows as indexes appear.

    It is saved with the module, of whatever length, and moves with it between devices. Under DDP each process
    writes of its own samples, until :meth:`synchronise` tells all.

    Args:
        shape: Shape of one value.
        default: The value of a sample that was never set; its type is that of the memory (int64 or float).
    """

    def __init__(self, shape: tuple[int, ...] = (), default: float = 0.0) -> None:
        super().__init__()
        self.default = default
        # No buffer: DDP would copy those of the first process over the others' in every step.
        self.values = torch.full((0, *shape), default)
        self._changed = torch.zeros(0, dtype=torch.bool)

    def get(self, index: Tensor) -> Tensor:
        """Return the (N, *shape) values of the samples with the (N,) indexes, which are at least 0."""
        check_sample_index(index)
        value = self.values.new_full((len(index), *self.values.shape[1:]), self.default)
        known = index < len(self.values)
        value[known] = self.values[index[known]]
        return value

    def set(self, index: Tensor, value: Tensor) -> None:
        """Remember (N, *shape) values of the samples with the (N,) indexes, which are at least 0."""
        check_sample_index(index)
        self._grow(index)
        self.values[index] = value.detach().to(self.values)
        self._changed[index] = True

    def clear(self) -> None:
        """Forget all samples."""
        self.set_extra_state(self.values[:0])

    def synchronise(self) -> None:
        """Tell every process what the others have set since the last time; all of them must call it.

        Where several have set the same sample, the one of the highest rank is believed by all.
        """
        index = self._changed.nonzero().flatten()
        self._changed.zero_()
        if not (dist.is_available() and dist.is_initialized()):
            return
        told: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(told, (index.cpu(), self.values[index].cpu()))
        for of_rank, values in told:
            self.set(of_rank.to(self.values.device), values)
        self._changed.zero_()

    def _grow(self, index: Tensor) -> None:
        missing = int(index.max()) + 1 - len(self.values) if len(index) else 0
        if missing > 0:
            more = self.values.new_full((missing, *self.values.shape[1:]), self.default)
            self.values = torch.cat([self.values, more])
            self._changed = torch.cat([self._changed, self._changed.new_zeros(missing)])

    def get_extra_state(self) -> Tensor:
        """Return the values, for the state dict."""
        return self.values

    def set_extra_state(self, state: Tensor) -> None:
        """Take the values of a state dict, however many."""
        self.values = state.to(self.values, copy=True)
        self._changed = torch.zeros(len(state), dtype=torch.bool, device=self.values.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SampleMemory":
        self.values, self._changed = fn(self.values), fn(self._changed)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class RememberingModule(FERModule):
    """Base of the methods that learn something of each sample; a subclass builds ``self.memory``.

    Its ``compute_loss`` reads the memory and returns what to keep as ``StepOutput.memory``; only a training step
    writes it. Batches need the samples' ``index``. A fit begins with an empty memory unless it is resumed.

    A loop without a Trainer calls :meth:`remember` after each step, and with several processes
    ``memory.synchronise()`` after each epoch.
    """

    memory: SampleMemory

    def remember(self, batch: Any, output: StepOutput) -> None:
        """Write ``output.memory`` of a batch in any accepted form into the memory."""
        if output.memory is not None:
            self.memory.set(sample_index(self.unpack(batch), type(self).__name__), output.memory)

    def on_train_start(self) -> None:
        """Forget what an earlier fit has left, perhaps of other data, unless this one goes on with it."""
        if not self.trainer.global_step:
            self.memory.clear()

    def on_validation_start(self) -> None:
        """Tell every process what the others remember, before a checkpoint that follows the validation."""
        self.memory.synchronise()

    def on_train_epoch_end(self) -> None:
        """Tell every process what the others remember, before the samples are dealt anew."""
        super().on_train_epoch_end()
        self.memory.synchronise()
