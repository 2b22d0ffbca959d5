"""
A link between two network devices, which delays, loses and slows down packets as netem does.

The kernel's own netem is a module that many machines lack, containers and CI among them; this
needs none, and counts what passes.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
import os
import random
import select
import threading
import time

# Of one packet; more than any device here lets through.
_MOST_BYTES = 2**16
# Packets read from one device before the other gets its turn.
_BURST = 64


@dataclass(frozen=True)
class Conditions:
    """
    What happens to packets in one direction.

    `delay` and `jitter` are in seconds: a packet takes `delay`, give or take up to `jitter`, each
    as likely. `loss` is the share of packets that get lost, each for itself. `rate` is in bits a
    second, 0 for no limit; packets that would wait for longer than `queue` seconds until it is
    their turn are dropped, as tc's tbf does by its `latency`.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float = 0.0
    queue: float = 0.2


# Nothing gets through.
CUT = Conditions(loss=1.0)


@dataclass
class Counts:
    """Packets that came and their size in bytes; how many of them got lost or did not fit."""

    packets: int = 0
    size: int = 0
    lost: int = 0
    dropped: int = 0


class Direction:
    """
    One way through a link: packets on their way, and what was counted.

    Packets keep their order, as on a radio link, which sends one after the other; those of netem
    overtake each other where there is jitter. Times are in seconds by any steady clock.
    """

    def __init__(self, conditions: Conditions, seed: int = 0) -> None:
        self.conditions = conditions
        self.counts = Counts()
        self._rng = random.Random(seed)
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._free = self._newest = float('-inf')

    @property
    def due(self) -> float:
        """Return when the next packet arrives; infinity if there is none."""
        return self._under_way[0][0] if self._under_way else float('inf')

    def send(self, packet: bytes, now: float) -> None:
        """Take a packet at a time that is not before that of the last one."""
        conditions = self.conditions
        self.counts.packets += 1
        self.counts.size += len(packet)
        begin = now
        if conditions.rate:
            begin = max(now, self._free)
            if begin - now > conditions.queue:
                self.counts.dropped += 1
                return
            begin = self._free = begin + 8 * len(packet) / conditions.rate
        # What gets lost on the air has taken its time there.
        if self._rng.random() < conditions.loss:
            self.counts.lost += 1
            return
        spread = conditions.jitter * self._rng.uniform(-1.0, 1.0)
        self._newest = max(self._newest, begin + max(conditions.delay + spread, 0.0))
        self._under_way.append((self._newest, packet))

    def arrived(self, now: float) -> Iterator[bytes]:
        """Yield the packets that arrive until a time, each once, in their order."""
        while self.due <= now:
            yield self._under_way.popleft()[1]


class Relay:
    """
    Carries packets between two devices, in a thread.

    `devices` are file descriptors that give and take one packet at a time, as those of TUN devices
    do; they stay open. `directions` are those from the first to the second, and back.
    """

    def __init__(self, devices: tuple[int, int], conditions: Conditions, seed: int = 0) -> None:
        self.directions = (Direction(conditions, 2 * seed), Direction(conditions, 2 * seed + 1))
        self._devices = devices
        self._stopping = threading.Event()
        for device in devices:
            os.set_blocking(device, False)
        self._thread = threading.Thread(target=self._run, name='relay')

    def __enter__(self) -> 'Relay':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def set_conditions(self, conditions: Conditions) -> None:
        """Let other conditions hold for what is sent from now on, in both directions."""
        for direction in self.directions:
            direction.conditions = conditions

    def _run(self) -> None:
        ways = list(zip(self._devices, self._devices[::-1], self.directions))
        while not self._stopping.is_set():
            due = min(direction.due for direction in self.directions)
            # Not epoll, whose times are in milliseconds.
            ready, _, _ = select.select(
                self._devices, [], [], min(max(due - time.monotonic(), 0.0), 0.1))
            for source, target, direction in ways:
                if source in ready:
                    _take(source, direction)
                for packet in direction.arrived(time.monotonic()):
                    os.write(target, packet)


def _take(device: int, direction: Direction) -> None:
    for _ in range(_BURST):
        try:
            packet = os.read(device, _MOST_BYTES)
        except BlockingIOError:
            return
        direction.send(packet, time.monotonic())
