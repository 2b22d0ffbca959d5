"""Puts the messages of one camera together that have the same stamp."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

# Seconds and nanoseconds.
Stamp = tuple[int, int]
IMAGE, LABELS = 'image', 'labels'
# What a node makes of an image, all of it with the stamp of the image.
OUTPUTS = (LABELS, 'confidence', 'heat', 'found', 'objects')
KINDS = (IMAGE, *OUTPUTS)
# Images that wait for their labels: those of some seconds, but no more memory than this.
MOST_IMAGES, MOST_BYTES = 64, 96 * 2**20
# Seconds after which a topic is taken to be silent, and not waited for.
SILENT = 2.0


@dataclass(eq=False)
class Frame:
    """The messages of one moment, by their kinds, and what was made of them for viewers."""

    number: int
    stamp: Stamp
    parts: dict[str, Any]
    frozen: bool = False
    made: dict[Any, Any] = field(default_factory=dict)


class Assembler:
    """
    Gathers messages into frames; `clock` tells the time in seconds.

    A frame is whole when all that is wanted of it has come; what has been silent for SILENT
    seconds is not waited for, and nothing is waited for once the next frame begins. Images alone
    are frames while there are no labels.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.wanted: frozenset[str] = frozenset()
        # The stamp of the image that the node holds, None if it holds none.
        self.frozen_stamp: Stamp | None = None
        self.frozen: Frame | None = None
        self._clock = clock
        self._number = 0
        self._last: dict[str, float] = {}
        self._images: OrderedDict[Stamp, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._begun: OrderedDict[Stamp, dict[str, Any]] = OrderedDict()

    def freeze(self, stamp: Stamp | None) -> None:
        """Take it that the node holds the image with a stamp, or none."""
        if stamp != self.frozen_stamp:
            self.frozen_stamp, self.frozen = stamp, None
            if stamp and stamp in self._images:
                self._hold(self._images[stamp][0])

    def add(self, kind: str, stamp: Stamp, message: Any, size: int = 0) -> Frame | None:
        """Take a message of so many bytes; return the frame that goes out for it, if one does."""
        now = self._last[kind] = self._clock()
        if kind == IMAGE:
            self._keep(stamp, message, size)
            if stamp == self.frozen_stamp and not self.frozen:
                self._hold(message)
            if not self._expected(now):
                self._begun.clear()
                return self._frame(stamp, {})
        else:
            self._begun.setdefault(stamp, {})[kind] = message
        if stamp in self._begun and self._is_whole(stamp, now):
            parts = self._begun.pop(stamp)
            self._begun.clear()
            return self._frame(stamp, parts)
        if len(self._begun) > 1:
            return self._frame(*self._begun.popitem(last=False))
        return None

    def forget(self) -> None:
        """Let go of all that waits."""
        self._images.clear()
        self._begun.clear()
        self._bytes = 0

    def _expected(self, now: float) -> set[str]:
        """Return which outputs are waited for."""
        return {kind for kind in self.wanted.intersection(OUTPUTS)
                if now - self._last.get(kind, -SILENT) < SILENT}

    def _is_whole(self, stamp: Stamp, now: float) -> bool:
        heard = IMAGE not in self.wanted or now - self._last.get(IMAGE, -SILENT) >= SILENT
        return self._begun[stamp].keys() >= self._expected(now) and (
            heard or stamp in self._images)

    def _keep(self, stamp: Stamp, message: Any, size: int) -> None:
        _, before = self._images.pop(stamp, (None, 0))
        self._images[stamp] = message, size
        self._bytes += size - before
        while len(self._images) > MOST_IMAGES or (
                self._bytes > MOST_BYTES and len(self._images) > 1):
            _, (_, old) = self._images.popitem(last=False)
            self._bytes -= old

    def _hold(self, image: Any) -> None:
        self._number += 1
        assert self.frozen_stamp
        self.frozen = Frame(self._number, self.frozen_stamp, {IMAGE: image}, frozen=True)

    def _frame(self, stamp: Stamp, parts: dict[str, Any]) -> Frame:
        self._number += 1
        image = self._images.get(stamp)
        return Frame(self._number, stamp, {IMAGE: image[0], **parts} if image else parts)
