"""Weights of timm's networks: by name, and where that is not to be had from a file, also of another size."""

from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor, nn

from eac_lightning.errors import CheckpointError, ConfigurationError, unknown_name
from eac_lightning.models.weights import load_weights

PATIENCE = 5
"""Seconds that the hub may take to answer."""

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def check_tag(tagged: str) -> None:
    """Refuse weights that timm does not publish; with a tag or, for the default ones, without.

    Raises:
        ConfigurationError: If there are none by that name; the error lists those that there are.
    """
    name, dot, tag = tagged.partition(".")
    published = (known.partition(".") for known in timm.list_pretrained(f"{name}*"))
    tags = [known_tag for network, _, known_tag in published if network == name]
    if not tags:
        raise ConfigurationError(f"timm publishes no weights for {name}. Leave weights out, or give a file.")
    if dot and tag not in tags:
        raise unknown_name(
            f"weights of timm/{name} (a file ends in .pt, .pth or .safetensors)", tag, ["pretrained", *tags]
        )


def check_download(tagged: str) -> None:
    """Ask the hub once for weights that are not here: without a network timm would go on asking for a minute.

    Raises:
        CheckpointError: If they are neither in the cache nor to be had; it says how to put them in place.
    """
    source: Any = timm.get_pretrained_cfg(tagged)
    if not source.hf_hub_id:
        return
    files = (source.hf_hub_filename,) if source.hf_hub_filename else _HUB_FILES
    if any(isinstance(try_to_load_from_cache(source.hf_hub_id, file), str) for file in files):
        return
    try:
        get_hf_file_metadata(hf_hub_url(source.hf_hub_id, files[0]), timeout=PATIENCE)
    except EntryNotFoundError:
        return  # the hub has answered, and timm knows what else the file may be called
    except Exception as error:  # every version has its own ways to say that there is no network
        raise no_download(tagged, error) from error


def no_download(tagged: str, error: Exception) -> CheckpointError:
    """Return the error that says how weights get to a machine without a network."""
    source: Any = timm.get_pretrained_cfg(tagged)
    if source.hf_hub_id:
        url = hf_hub_url(source.hf_hub_id, source.hf_hub_filename or _HUB_FILES[0])
        folder = f"models--{source.hf_hub_id.replace('/', '--')}"
        place = f"copy the folder {folder} of a machine that has it into {constants.HF_HUB_CACHE}"
    else:
        url, place = source.url, f"put it into {Path(torch.hub.get_dir()) / 'checkpoints'}"
    said = next(iter(str(error).splitlines()), "")
    return CheckpointError(
        f"timm/{tagged} begins from weights that have to be downloaded, and that failed ({type(error).__name__}: "
        f"{said}). Where there is a network, get {url}, and give the file's path as weights (--model.weights FILE); "
        f"or {place}."
    )


def load_timm_weights(network: Any, family: object, path: str) -> None:
    """Fill a timm network from a file with timm's key names, or those of the network's authors.

    Position embeddings and patch projections of another size are resampled as timm does it for what it downloads.

    Args:
        network: What ``timm.create_model`` has made.
        family: The module of timm that it comes from.
        path: See :func:`~eac_lightning.models.weights.load_weights`.

    Raises:
        CheckpointError: If the file is that of another network, or none.
    """
    fit = getattr(family, "checkpoint_filter_fn", None)

    def adapt(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        try:
            adapted: dict[str, Tensor] = fit(tensors, network) if fit is not None else tensors
        except Exception as error:  # whatever a file of another network makes of timm's code
            raise CheckpointError(
                f"timm cannot fit what is in {path} to {network.pretrained_cfg['architecture']} "
                f"({type(error).__name__}: {error}). Is this the file of another network?"
            ) from error
        return adapted

    network.unused_weights = tuple(f"{head}." for head in _heads(network))
    load_weights(network, path, adapt)


def _heads(network: Any) -> list[str]:
    """Return what a network without classes has left away: its classifiers, or the whole head that they stand in."""
    classifier = network.pretrained_cfg.get("classifier") or ()
    paths = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    tops = [path.partition(".")[0] for path in paths]
    left_away = [isinstance(getattr(network, top, None), nn.Identity) for top in tops]
    return [top if gone else path for path, top, gone in zip(paths, tops, left_away, strict=True)]
