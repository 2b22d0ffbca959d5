"""How far the pieces of work are, wherever they are done: kept in one place, told by workers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
import time


@dataclass(frozen=True)
class NodeWork:
    """
    What a node has done until now.

    `images` and `amount`, in the unit of the work, are sums over its pieces; `rate` is the images
    a second since its first worker began.
    """

    node: str
    images: int
    amount: float
    rate: float


class Board:
    """
    What workers tell of their pieces.

    Each tells the whole of its piece every time, so that nothing counts twice when a piece is done
    again after its worker has died.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[str, int, float]] = {}
        self._sums: dict[str, tuple[int, float]] = {}
        self._since: dict[str, float] = {}
        self._begun: Counter[int] = Counter()

    def begin(self, piece: int) -> None:
        """Note that a worker begins a piece."""
        self._begun[piece] += 1

    def begun(self, piece: int) -> int:
        """Return how often a piece was begun."""
        return self._begun[piece]

    def tell(self, piece: int, node: str, images: int, amount: float) -> None:
        """Note how many images of a piece are done, and how much of it."""
        self._since.setdefault(node, time.monotonic())
        former, lost_images, lost_amount = self._pieces.get(piece, (node, 0, 0.0))
        self._add(former, -lost_images, -lost_amount)
        self._add(node, images, amount)
        self._pieces[piece] = node, images, amount

    def nodes(self) -> list[NodeWork]:
        """Return what each node has done, by name."""
        now = time.monotonic()
        return [NodeWork(node, images, amount, images / max(now - self._since[node], 1e-9))
                for node, (images, amount) in sorted(self._sums.items())]

    def _add(self, node: str, images: int, amount: float) -> None:
        before = self._sums.get(node, (0, 0.0))
        self._sums[node] = before[0] + images, before[1] + amount


class Reporter:
    """
    Counts what is done of one piece, and tells it now and then.

    `tell` is called with the images and the amount until now.
    """

    # Seconds.
    PERIOD = 1.0

    def __init__(self, tell: Callable[[int, float], None]) -> None:
        self._tell = tell
        self._images = 0
        self._amount = 0.0
        self.now()

    def image(self) -> None:
        """Count an image that is done."""
        self._images += 1
        self._tell_now_and_then()

    def advance(self, amount: float) -> None:
        """Count some of the piece as done."""
        self._amount += amount
        self._tell_now_and_then()

    def now(self) -> None:
        """Tell what has been counted."""
        self._told = time.monotonic()
        self._tell(self._images, self._amount)

    def _tell_now_and_then(self) -> None:
        if time.monotonic() - self._told > self.PERIOD:
            self.now()
