"""The callbacks' first question to a module."""

from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError
from eac_lightning.modules.base import FERModule


def fer_module(module: L.LightningModule, callback: str) -> FERModule:
    """Return the module as what the callback needs it to be.

    Raises:
        ConfigurationError: If it is no FERModule.
    """
    if not isinstance(module, FERModule):
        raise ConfigurationError(
            f"{callback} needs a FERModule, which knows its classes, its metrics and its maps, but got a "
            f"{type(module).__name__}. Derive your module from eac_lightning.FERModule."
        )
    return module
