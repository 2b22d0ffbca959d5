"""How the work on recordings is cut into parts."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rosbags.interfaces import Connection

_SECOND = 10**9


class Edge(NamedTuple):
    """
    A place in a recording: at a time in nanoseconds, behind so many images of this very time.

    Clocks stand still in some recordings, so that a time alone would not tell images apart.
    """

    time: int
    images: int


@dataclass(frozen=True)
class Part:
    """
    A stretch of a recording that is worked on as a whole: from `start` and before `stop`.

    None is before the first and after the last message. `images` are those that it holds.
    """

    index: int
    start: Edge | None
    stop: Edge | None
    images: int

    def holds(self, place: Edge) -> bool:
        """Return whether what is at a place belongs to this part."""
        return (self.start is None or self.start <= place) and (
            self.stop is None or place < self.stop)


def period_of(rate: float) -> int:
    """Return the nanoseconds between images at a rate per second; 0, which is no limit, for 0."""
    return max(round(_SECOND / rate), 1) if rate else 0


def cut(times: np.ndarray, per_part: int, period: int, start: int) -> list[Part]:
    """
    Cut a recording into parts of equally many images, at most `per_part`.

    `times` are those of its images in nanoseconds, (N,) int64, ascending. No part ends within a
    `period` (nanoseconds, counted from `start`; 0: none), for which it may hold more images. The
    parts follow from the arguments alone, and not from how many processes share them.
    """
    count = max(-(-len(times) // per_part), 1)
    firsts = {len(times) * index // count for index in range(1, count)}
    if period:
        firsts = _at_periods(sorted(firsts), (times - start) // period)
    edges = [(first, _edge(times, first)) for first in sorted(firsts)]
    limits = [(0, None), *edges, (len(times), None)]
    return [Part(index, edge, stop, last - first)
            for index, ((first, edge), (last, stop)) in enumerate(zip(limits, limits[1:]))]


def select(messages: Iterable[tuple[Connection, int, bytes]], part: Part, topics: Iterable[str]
           ) -> Iterator[tuple[Connection, int, bytes]]:
    """
    Yield those of messages that belong to a part, in their order.

    `messages` are all from the time of its `start` to that of its `stop`, these included, and
    `topics` those of the images that were counted.
    """
    topics = frozenset(topics)
    seen: Counter[int] = Counter()
    edges = {edge.time for edge in (part.start, part.stop) if edge}
    for connection, time, data in messages:
        if part.holds(Edge(time, seen[time])):
            yield connection, time, data
        if time in edges and connection.topic in topics:
            seen[time] += 1


def _edge(times: np.ndarray, first: int) -> Edge:
    """Return the place before an image, by its number."""
    time = int(times[first])
    return Edge(time, first - int(np.searchsorted(times, time)))


def _at_periods(firsts: list[int], periods: np.ndarray) -> set[int]:
    """Move the first images of parts to first ones of periods, those before if there is one."""
    moved = {0}
    for first in firsts:
        before, after = (int(np.searchsorted(periods, periods[first], side))
                         for side in ('left', 'right'))
        moved.add(after if before in moved else before)
    return moved - {0, len(periods)}
