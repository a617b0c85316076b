"""Errors that say what was expected, what was found, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class EACError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(EACError, ValueError):
    """An argument, an option or a recipe asks for something that cannot be."""


class DataError(EACError, ValueError):
    """A data set is not what its layout, its labels or its pictures should be."""


class CheckpointError(EACError, ValueError):
    """A checkpoint or a file of weights does not fit what is to be loaded."""


class StorageError(EACError, OSError):
    """A file cannot be written."""


class TrainingDivergedError(EACError, RuntimeError):
    """The loss is no longer a finite number."""


class ProcessDiedError(EACError, RuntimeError):
    """Another process of the training is gone."""


class OutOfMemoryError(EACError, MemoryError):
    """A batch, or the pictures, need more memory than there is."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """Return the error for a look-up that failed: the nearest names first, then all that are known.

    Args:
        kind: What was looked up, such as ``"backbone"``.
        name: What was asked for.
        known: Every name that would have been found.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(match) for match in near)}?" if near else ""
    listed = ", ".join(names[:30]) + (f", … ({len(names)} in all)" if len(names) > 30 else "")
    return ConfigurationError(f"Unknown {kind} {name!r}.{hint} Known: {listed}.")
