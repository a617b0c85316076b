"""Weights from a file, without ever executing what the file holds."""

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eac_lightning.errors import CheckpointError

_log = logging.getLogger(__name__)

# What training code wraps around the keys of a network: a Lightning module, DataParallel, an attribute.
_PREFIXES = ("module.", "model.", "backbone.", "net.")


def read_checkpoint(path: str | Path) -> dict[str, object]:
    """Read a torch or safetensors file onto the CPU.

    Raises:
        CheckpointError: If there is no such file, or it is not one that loads without executing code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint or a file of weights at {path}, but there is no such file.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a torch file that loads safely: it is damaged, of another format, or it holds Python "
            "objects that would have to be executed. Save a plain state dict with torch.save, or a .safetensors "
            "file, and load that."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} could not be read: it is truncated or not a file of weights ({error})."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"Expected {path} to hold a dict of tensors, but found a {type(content).__name__}.")
    return content


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Copy the tensors of a file into ``module`` wherever name and shape match, and say what did not.

    Tensors that the module names in its attribute ``unused_weights`` (prefixes) are passed over in silence.

    Args:
        module: The network to fill, such as a backbone.
        path: A torch file (a state dict, or a checkpoint that holds one as ``state_dict``) or ``.safetensors``.

    Raises:
        CheckpointError: If less than half of the network's numbers are in the file.
    """
    found = _strip_prefixes(_state_dict(read_checkpoint(path)), module.state_dict())
    wanted = module.state_dict()
    fitting = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    misshapen = [key for key in found if key in wanted and key not in fitting]
    # Counters are the one thing that every network shares: they prove nothing.
    if 2 * _numbers(fitting) < _numbers(wanted):
        raise CheckpointError(
            f"Less than half of {type(module).__name__} is in {path}: it wants names such as {_some(wanted)}, "
            f"the file has {_some(found)}. Is this the file of another network?"
        )
    module.load_state_dict(fitting, strict=False)
    missing = [key for key in wanted if key not in fitting and key not in misshapen]
    unused = tuple(getattr(module, "unused_weights", ()))
    unexpected = [key for key in found if key not in wanted and not key.startswith(unused)]
    for what, keys in (("missing from", missing), ("of another shape in", misshapen), ("not used of", unexpected)):
        if keys:
            _log.warning("%d tensors %s %s: %s", len(keys), what, path, _some(keys))
    _log.info("%d of %d tensors of %s loaded from %s", len(fitting), len(wanted), type(module).__name__, path)


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in tensors.values() if value.ndim)


def _state_dict(content: Mapping[str, object]) -> dict[str, Tensor]:
    nested = content.get("state_dict", content.get("model_state_dict", content))
    tensors = nested if isinstance(nested, Mapping) else content
    return {key: value for key, value in tensors.items() if isinstance(value, Tensor)}


def _strip_prefixes(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take wrappers' prefixes off the keys for as long as no key fits."""
    while tensors and not any(key in wanted for key in tensors):
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in tensors)), None)
        if prefix is None:
            break
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return tensors


def _some(keys: Mapping[str, Tensor] | list[str]) -> str:
    names = list(keys)
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
