"""A thread that always works on the newest items it was given."""

from collections import deque
from collections.abc import Callable
from collections.abc import Hashable
import threading
import time
from typing import Generic
from typing import TypeVar

from csa_ros.process.threads import give_way

Item = TypeVar('Item')


class LatestWorker(Generic[Item]):
    """
    Hands the newest item of each source to `handle`, in a thread of its own.

    `handle` gets all that wait as one list, the source that has waited longest first. An item that
    still waits when its source has a newer one is lost: work that takes longer than items take to
    arrive thus never builds up a queue, no item is older than one of its source, and no source can
    keep another from its turn. `call` runs functions in the same thread, between lists, so that
    whatever `handle` uses can be changed there without a lock. `on_error` gets every exception
    that either raises; the thread goes on. A `background` worker lets the other threads of the
    process go first.
    """

    def __init__(self, name: str, handle: Callable[[list[Item]], None],
                 on_error: Callable[[Exception], None], background: bool = False) -> None:
        self._handle = handle
        self._on_error = on_error
        self._background = background
        self._changed = threading.Condition()
        # A newer item takes the place of its source's older one, and with that its turn.
        self._items: dict[Hashable, Item] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._busy = False
        self._stopping = False
        self._min_period = 0.0
        self._last_start = -float('inf')
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Item, source: Hashable = None) -> bool:
        """Make this the source's next item; return whether one that waited is lost by that."""
        with self._changed:
            replaced = source in self._items
            self._items[source] = item
            self._changed.notify_all()
        return replaced

    def offer_again(self, item: Item, source: Hashable = None) -> bool:
        """Make what was handed over already the source's next item, unless a newer one waits."""
        with self._changed:
            lost = source in self._items
            if not lost:
                self._items[source] = item
                self._changed.notify_all()
        return not lost

    def call(self, function: Callable[[], None]) -> None:
        """Run a function in the thread before the next list; functions keep their order."""
        with self._changed:
            self._calls.append(function)
            self._changed.notify_all()

    def set_min_period(self, seconds: float) -> None:
        """Leave at least this long between the starts of two lists, by the steady clock."""
        with self._changed:
            self._min_period = seconds
            self._changed.notify_all()

    def waive_period(self) -> None:
        """Let the next list start at once: the one that is handled came to nothing."""
        with self._changed:
            self._last_start = -float('inf')
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Drop what waits and wait for the work in progress; return whether it ended."""
        with self._changed:
            self._items.clear()
            return self._changed.wait_for(lambda: not self._busy and not self._calls, timeout)

    def stop(self, timeout: float) -> bool:
        """Drop what waits and end the thread; return whether it ended within `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._background:
            give_way()
        while (job := self._next_job()) is not None:
            try:
                job()
            except Exception as error:
                self._on_error(error)
            # What waits for the next job would keep this one's items alive.
            del job

    def _next_job(self) -> Callable[[], None] | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._stopping:
                if self._calls:
                    self._busy = True
                    return self._calls.popleft()
                delay = self._delay()
                if delay is not None and delay <= 0:
                    return self._take()
                self._changed.wait(delay)
            return None

    def _delay(self) -> float | None:
        """Return the seconds until what waits may start, None if nothing does."""
        if not self._items:
            return None
        return self._last_start + self._min_period - time.monotonic()

    def _take(self) -> Callable[[], None]:
        items, self._items = list(self._items.values()), {}
        self._busy = True
        self._last_start = time.monotonic()
        return lambda: self._handle(items)
