"""The options that say how a data set is read, which ``eac data`` and ``eac noise`` share."""

from argparse import Namespace
from typing import Any

from eac_lightning.errors import ConfigurationError


def layout_options(arguments: Namespace) -> dict[str, Any]:
    """Return the keyword arguments of ``read_annotations`` and ``inspect_dataset`` after root and layout.

    Raises:
        ConfigurationError: If a column is not given as ``ROLE=NAME``.
    """
    columns = {}
    for column in arguments.columns:
        role, equals, name = column.partition("=")
        if not equals:
            raise ConfigurationError(f"Expected --columns as ROLE=NAME, such as label=emotion, but got {column!r}.")
        columns[role] = name
    return {
        "classes": arguments.classes,
        "columns": columns or None,
        "votes": arguments.votes,
        "angles": arguments.angles,
        "allow_outside": arguments.allow_outside,
        "val_fraction": arguments.val_fraction,
        "test_fraction": arguments.test_fraction,
        "seed": arguments.seed,
    }
