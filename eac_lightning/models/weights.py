"""Weights from a file, without ever executing what the file holds."""

import json
import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eac_lightning._files import replacing
from eac_lightning.errors import CheckpointError
from eac_lightning.models.pickled_arrays import read_pickled_arrays

# The entry that says of what network the tensors are: in a checkpoint and in a safetensors file's metadata.
_BUILT = "eac_lightning"

_log = logging.getLogger(__name__)

# What training code wraps around the keys of a network: a Lightning module, DataParallel, an attribute.
_PREFIXES = ("module.", "model.", "backbone.", "net.")

# How torch's files begin: a zip archive, and before torch 1.6 a pickled number. Suffixes do not tell them from others.
_TORCH = (b"PK\x03\x04", pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2))


def read_checkpoint(path: str | Path) -> dict[str, object]:
    """Read a torch or safetensors file, or a pickle of numpy arrays, onto the CPU.

    Raises:
        CheckpointError: If there is no such file, or it is not one that loads without executing code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint or a file of weights at {path}, but there is no such file.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with path.open("rb") as file:
            is_torch = file.read(16).startswith(_TORCH)
        _refuse_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True) if is_torch else None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a torch file that loads safely: it is damaged, of another format, or it holds Python "
            "objects that would have to be executed. Save a plain state dict with torch.save, or a .safetensors "
            "file, and load that."
        ) from error
    except Exception as error:  # a damaged file ends in almost any of them
        raise CheckpointError(
            f"{path} could not be read: it is truncated or not a file of weights ({type(error).__name__}: {error})."
        ) from error
    if not is_torch:
        return dict(read_pickled_arrays(path))
    if not isinstance(content, dict):
        raise CheckpointError(f"Expected {path} to hold a dict of tensors, but found a {type(content).__name__}.")
    return content


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that is smaller than what is in it: torch packs nothing, and a bomb would fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise zipfile.BadZipFile("there is more in it than its size, and torch never compresses")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name: those of its state dict, if it is a checkpoint with one.

    Raises:
        CheckpointError: See :func:`read_checkpoint`; also if there is no tensor in the file.
    """
    tensors = _state_dict(read_checkpoint(path))
    if not tensors:
        raise CheckpointError(f"Expected weights in {path}, but there is no tensor in it, nor in a state_dict of it.")
    return tensors


def load_weights(
    module: nn.Module, path: str | Path, adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
) -> None:
    """Copy the tensors of a file into ``module`` wherever name and shape match, and say what did not.

    Tensors that the module names in its attribute ``unused_weights`` (prefixes) are passed over in silence.

    Args:
        module: The network to fill, such as a backbone.
        path: A torch file (a state dict, or a checkpoint that holds one as ``state_dict``), ``.safetensors``, or a
            pickled dict of numpy arrays.
        adapt: Renames and resamples what is in the file for this module, before anything is compared.

    Raises:
        CheckpointError: If less than half of the network's numbers are in the file.
    """
    wanted = module.state_dict()
    found = _strip_prefixes(read_tensors(path), wanted)
    found = found if adapt is None else adapt(found)
    fitting = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    misshapen = {key: found[key] for key in found if key in wanted and key not in fitting}
    # Counters are the one thing that every network shares: they prove nothing.
    if 2 * _numbers(fitting) < _numbers(wanted):
        raise CheckpointError(
            f"Less than half of {type(module).__name__} is in {path}, where {len(fitting)} of its {len(wanted)} "
            f"tensors fit: it wants {_some(wanted)}; the file has {_some(found)}. Is this the file of another network?"
        )
    module.load_state_dict(fitting, strict=False)
    # Files older than torch 0.4.1 count no batches, and nothing here reads the counts.
    missing = {k: v for k, v in wanted.items() if k not in found and not k.endswith(".num_batches_tracked")}
    unused = tuple(getattr(module, "unused_weights", ()))
    unexpected = {key: value for key, value in found.items() if key not in wanted and not key.startswith(unused)}
    for what, tensors in (("missing from", missing), ("of another shape in", misshapen), ("not used of", unexpected)):
        if tensors:
            _log.warning("%d tensors %s %s: %s", len(tensors), what, path, _some(tensors))
    _log.info("%d of %d tensors of %s loaded from %s", len(fitting), len(wanted), type(module).__name__, path)


def save_weights(backbone: nn.Module, name: str, path: str | Path) -> None:
    """Write a backbone's tensors to a ``.safetensors`` file that also says how to build it again.

    Args:
        backbone: The network; what it was built with is read from its attribute ``options``, if it has that.
        name: The name that ``create_backbone`` knows it by.
        path: The file to write; one that is there is replaced.
    """
    built = {"backbone": name, "backbone_options": getattr(backbone, "options", None)}
    _write(backbone.state_dict(), built, Path(path))


def convert_weights(source: str | Path, target: str | Path) -> dict[str, Tensor]:
    """Write the tensors of any file that can be read to a ``.safetensors`` file, and return them.

    Args:
        source: See :func:`load_weights`. What a checkpoint of ours says of its backbone is kept.
        target: The file to write; one that is there is replaced.

    Raises:
        CheckpointError: If ``source`` cannot be read safely, or holds no tensors.
    """
    tensors = read_tensors(source)
    built = _built(Path(source))
    _write(tensors, {key: built[key] for key in ("backbone", "backbone_options") if key in built}, Path(target))
    return tensors


def _write(tensors: Mapping[str, Tensor], built: dict[str, Any], path: Path) -> None:
    # Clones, because tensors that share memory are refused.
    clones = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    with replacing(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(clones, partial, {_BUILT: json.dumps(built)})
        partial.chmod(mode)  # safetensors would keep the file from everybody else


def stored_options(path: str | Path, name: str) -> dict[str, Any]:
    """Return what the backbone ``name`` in a file of weights was built with; empty if the file does not say it."""
    path = Path(path)
    built = _built(path) if path.is_file() else {}
    options = built.get("backbone_options") if built.get("backbone") == name else None
    return dict(options) if isinstance(options, dict) else {}


def _built(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                built = json.loads((file.metadata() or {}).get(_BUILT, "{}"))
        except (SafetensorError, ValueError):
            return {}  # what is wrong with the file is said when it is loaded
    else:
        built = read_checkpoint(path).get(_BUILT)
    return built if isinstance(built, dict) else {}


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in tensors.values() if value.ndim)


def _state_dict(content: Mapping[str, object]) -> dict[str, Tensor]:
    nested = content.get("state_dict", content.get("model_state_dict", content.get("model", content)))
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


def _some(tensors: Mapping[str, Tensor]) -> str:
    shapes = [f"{key} {tuple(value.shape)}" for key, value in islice(tensors.items(), 4)]
    return ", ".join(shapes) + (", …" if len(tensors) > 4 else "")
