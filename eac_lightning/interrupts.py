"""Ctrl-C: once ends in order, twice ends at once. SIGTERM to one of several processes."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def two_interrupts(to_the_end: bool = True) -> Iterator[None]:
    """Inside the block a first Ctrl-C is a ``KeyboardInterrupt``, a second one the end.

    Args:
        to_the_end: After a first one also behind the block, on the way out of Python; else the handler is given back.
    """
    heard = signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN)  # a shell has its background jobs ignore it
    if not heard or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, end_at_once if to_the_end else before)
        raise
    except BaseException:
        signal.signal(signal.SIGINT, before)
        raise
    signal.signal(signal.SIGINT, before)


def handle(number: signal.Signals, handler: Callable[[int, object], None]) -> None:
    """Set the handler of a signal where Python allows it: not where a trainer runs in a thread, as in Ray."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def interrupt(_signum: int, _frame: object) -> None:
    """Interrupt the main thread, and be ready for a second Ctrl-C."""
    signal.signal(signal.SIGINT, end_at_once)
    raise KeyboardInterrupt


def end_at_once(_signum: int, _frame: object) -> None:
    """End without tidying up: files are whole or not there, so nothing is lost but what was under way."""
    sys.stderr.write("\nInterrupted again: ended at once. What was finished is kept.\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def terminate(_signum: int, _frame: object) -> None:
    """End in order, with the status that shells have for it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TERMINATED)
