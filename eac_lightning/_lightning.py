"""The one place that chooses between the two Lightning namespaces.

``pytorch_lightning`` and ``lightning.pytorch`` are the same code under two names, and each refuses the other's
classes. The choice is ``EAC_LIGHTNING_NAMESPACE``, else the one that the process has imported already, else
``pytorch_lightning``.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from eac_lightning.errors import ConfigurationError

VARIABLE = "EAC_LIGHTNING_NAMESPACE"
NAMESPACES = ("pytorch_lightning", "lightning.pytorch")


def choose_namespace() -> str:
    """Return the namespace that this process uses.

    Raises:
        ConfigurationError: If the variable names neither, or both are imported and no variable decides.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        if asked not in NAMESPACES:
            raise ConfigurationError(f"{VARIABLE} must be one of {', '.join(NAMESPACES)}, but is {asked!r}.")
        return asked
    imported = [name for name in NAMESPACES if name in sys.modules]
    if len(imported) == 2:
        raise ConfigurationError(
            "Both pytorch_lightning and lightning.pytorch are imported; each refuses the other's modules. "
            f"Import only one of them, or set {VARIABLE} to the one that your Trainer comes from."
        )
    return imported[0] if imported else NAMESPACES[0]


NAMESPACE = choose_namespace()

if TYPE_CHECKING:
    import pytorch_lightning as L
    import pytorch_lightning.callbacks as callbacks
    import pytorch_lightning.cli as cli
    import pytorch_lightning.loggers as loggers
    import pytorch_lightning.plugins as plugins
else:
    L = importlib.import_module(NAMESPACE)
    callbacks = importlib.import_module(f"{NAMESPACE}.callbacks")
    loggers = importlib.import_module(f"{NAMESPACE}.loggers")
    plugins = importlib.import_module(f"{NAMESPACE}.plugins")

    def __getattr__(name: str):
        # LightningCLI pulls jsonargparse in, which only the command line needs.
        if name == "cli":
            return importlib.import_module(f"{NAMESPACE}.cli")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check_same_namespace(trainer: object) -> None:
    """Refuse a Trainer of the other class tree, whose own complaint would not say what to do.

    Raises:
        ConfigurationError: If ``trainer`` is not a Trainer of the chosen namespace.
    """
    if not isinstance(trainer, L.Trainer):
        raise ConfigurationError(
            f"eac_lightning uses {NAMESPACE}, but this Trainer comes from {type(trainer).__module__}. "
            f"Import your Trainer from {NAMESPACE}, or set {VARIABLE} to the namespace that you use."
        )


__all__ = ["NAMESPACE", "L", "callbacks", "check_same_namespace", "choose_namespace", "cli", "loggers", "plugins"]
