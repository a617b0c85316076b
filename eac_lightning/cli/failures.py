"""How a training command ends: with the explanation that a callback has left, and a status as shells have it."""

from collections.abc import Iterator
from contextlib import contextmanager

from eac_lightning.errors import EACError
from eac_lightning.interrupts import TERMINATED


@contextmanager
def explained() -> Iterator[None]:
    """Raise the explanation in the place of what it explains; Ctrl-C and SIGTERM as themselves.

    Raises:
        EACError: What a ``FailureReport`` has found to be the cause.
        KeyboardInterrupt: Where Lightning has turned it into an exit with 1.
        SystemExit: After SIGTERM, with status 143; Lightning's has none, which would be success.
    """
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if type(error).__name__ == "SIGTERMException":
            raise SystemExit(TERMINATED) from None
        raise
    except Exception as error:
        if isinstance(error.__cause__, EACError):
            raise error.__cause__ from None
        raise
