"""A trained module from its checkpoint, which is all that it takes."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

from eac_lightning.errors import CheckpointError, EACError
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.modules.base import FERModule
from eac_lightning.modules.checkpoint import CHECKPOINT_KEY


def load_module(path: str | Path) -> FERModule:
    """Return the module of a checkpoint, on the CPU and in eval mode.

    Modules of this package are found by themselves; those of another one only where it is imported already, so
    that a checkpoint cannot choose what code is run.

    Raises:
        CheckpointError: If the file is not a checkpoint of a FERModule, or its class is not imported.
    """
    checkpoint = read_checkpoint(path)
    about = checkpoint.get(CHECKPOINT_KEY)
    if not isinstance(about, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(
            f"{path} is no checkpoint of an eac_lightning module: it has no {CHECKPOINT_KEY!r} entry. Expected a "
            "file such as last.ckpt or best.ckpt of a run; plain weights go into a module's weights argument."
        )
    module_class = _find_class(str(about.get("class_path")), path)
    try:
        # The trained weights are in the checkpoint; what it names besides is not to be fetched or read.
        return module_class.load_from_checkpoint(path, map_location="cpu", weights_only=True, weights=None).eval()
    except EACError:
        raise
    except Exception as error:  # what was changed by hand, or by another version, ends in almost any of them
        raise CheckpointError(
            f"{path} says that it is a {module_class.__name__}, but none can be built from it "
            f"({type(error).__name__}: {error}). Was it written by another version, or changed?"
        ) from error


def _find_class(class_path: str, path: str | Path) -> type[FERModule]:
    module_name, _, class_name = class_path.rpartition(".")
    if module_name.startswith("eac_lightning."):
        with suppress(ImportError):
            importlib.import_module(module_name)
    found = getattr(sys.modules.get(module_name), class_name, None)
    if not isinstance(found, type) or not issubclass(found, FERModule):
        raise CheckpointError(
            f"{path} was made by {class_path}, which is not a FERModule that is imported here. Import "
            f"{module_name} first (on the command line: --import {module_name})."
        )
    return found
