"""Which batch size would have fitted, found by trying."""

import gc
import traceback
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eac_lightning._lightning import L
from eac_lightning.modules.base import FERModule

_SAID = ("can't allocate memory", "out of memory")


def is_out_of_memory(exception: BaseException) -> bool:
    """Say whether memory ran out: that of a device, of torch on the CPU, or of Python."""
    known = isinstance(exception, (MemoryError, torch.OutOfMemoryError))
    return known or (isinstance(exception, RuntimeError) and any(text in str(exception).lower() for text in _SAID))


def said_by(exception: BaseException) -> str:
    """Return the first line of what an exception says; a bare one says what it is."""
    return (str(exception) or type(exception).__name__).splitlines()[0]


def fitting_batch(trainer: L.Trainer, module: L.LightningModule, batch: Any, exception: BaseException) -> str:
    """Return what to do about a batch for which memory ran out.

    A forward pass (and in training a backward pass) of ever smaller halves of it is tried on the module as it stands;
    not where batch norm is of all processes, of which the others would have to take part.

    Args:
        trainer: The trainer in which it happened.
        module: Its module.
        batch: The batch, as the step got it.
        exception: What was raised; what its frames hold is let go.
    """
    traceback.clear_frames(exception.__traceback__)  # they hold what the step had computed
    samples = _samples(batch)
    said = f"Memory ran out on a batch of {samples} faces: {said_by(exception)}"
    alone = not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())
    fewest = min(samples, 2 if trainer.training else 1)  # batch norm cannot train on one
    fitting = None
    if alone and isinstance(module, FERModule):
        fitting = _largest_that_fits(trainer, module, batch, samples, fewest)
    if fitting is None:
        return (
            f"{said}\nTry half of it, --data.batch_size {max(1, samples // 2)}, or a smaller --data.image_size, or "
            "--trainer.precision bf16-mixed."
        )
    if not fitting:
        return (
            f"{said}\nNot even a batch of {fewest} fits. Take a smaller --data.image_size or --model.backbone, or "
            "--trainer.precision bf16-mixed."
        )
    advice = f"{said}\nA batch of {fitting} fitted when it was tried just now: --data.batch_size {fitting}"
    if not trainer.training:
        return f"{advice}."
    steps = -(-samples // fitting) * trainer.accumulate_grad_batches
    return (
        f"{advice} --trainer.accumulate_grad_batches {steps} takes as many faces a step as before, in smaller parts. "
        "--trainer.precision bf16-mixed needs less memory, too."
    )


def _largest_that_fits(trainer: L.Trainer, module: FERModule, batch: Any, samples: int, fewest: int) -> int | None:
    """Return the largest of samples/2, samples/4, …, fewest that fits; 0 if none does, None if it cannot be tried."""
    size, fits = samples, False
    while size > fewest and not fits:
        size = max(size // 2, fewest)
        _release(module)
        try:
            with trainer.precision_plugin.forward_context():
                _try(trainer, module, _head(batch, size, samples))
            fits = True
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            if not is_out_of_memory(error):
                return None
    _release(module)
    return size if fits else 0


def _try(trainer: L.Trainer, module: FERModule, batch: Any) -> None:
    if not trainer.training:
        with torch.no_grad():
            module(module.unpack(batch)["image"])
        return
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # Not backward(), which would have DDP wait for the other processes.
    held: list[Any] = [torch.autograd.grad(module.compute_loss(batch).loss, parameters, allow_unused=True)]
    if not any(optimizer.state for optimizer in trainer.optimizers):  # Adam's two moments come with its first step
        held += [torch.empty_like(parameter) for parameter in parameters for _ in range(2)]


def _release(module: FERModule) -> None:
    module.zero_grad(set_to_none=True)
    gc.collect()
    torch.cuda.empty_cache()


def _samples(batch: Any) -> int:
    fields = batch.values() if isinstance(batch, Mapping) else batch
    return next(len(field) for field in fields if isinstance(field, Tensor))


def _head(batch: Any, size: int, samples: int) -> Any:
    """Return the first ``size`` samples of a batch."""

    def cut(field: Any) -> Any:
        return field[:size] if isinstance(field, Tensor) and len(field) == samples else field

    if isinstance(batch, Mapping):
        return {name: cut(field) for name, field in batch.items()}
    return [cut(field) for field in batch]
