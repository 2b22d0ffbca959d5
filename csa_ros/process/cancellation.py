"""
Giving up work that takes long: asked between its steps, in the thread that does it.

Whoever starts the work says by `cancellable` what it is to be given up for; `check` is called
wherever it is between two steps, however deep. Elsewhere `check` does nothing.
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
import threading


class Cancelled(Exception):
    """The work was given up."""


class _Thread(threading.local):
    """What the work in this thread is given up for."""

    cancelled: Callable[[], bool] | None = None


_thread = _Thread()


@contextmanager
def cancellable(cancelled: Callable[[], bool] | None) -> Iterator[None]:
    """Let `check` raise Cancelled in this thread once `cancelled` returns true; None: never."""
    before, _thread.cancelled = _thread.cancelled, cancelled
    try:
        yield
    finally:
        _thread.cancelled = before


def check() -> None:
    """Raise Cancelled if the work is to be given up."""
    if _thread.cancelled is not None and _thread.cancelled():
        raise Cancelled
