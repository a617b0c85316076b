"""Checks of a method's arguments."""

import math

from eac_lightning.errors import ConfigurationError


def check_range(name: str, value: float, high: float | None = None) -> None:
    """Refuse a value below 0, none at all (NaN) or, where there is one, above ``high``.

    Raises:
        ConfigurationError: If it lies outside.
    """
    if not 0 <= value <= (math.inf if high is None else high):
        bounds = "at least 0" if high is None else f"from 0 to {high:g}"
        raise ConfigurationError(f"Expected {name} to be {bounds}, but got {value}.")
