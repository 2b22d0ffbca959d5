"""How the work on recordings is cut into parts."""

from dataclasses import dataclass

_SECOND = 10**9


@dataclass(frozen=True)
class Part:
    """
    A stretch of a recording that is worked on as a whole: `start` <= time < `stop`.

    Times are in nanoseconds; None is before the first and after the last message.
    """

    index: int
    start: int | None
    stop: int | None


def period_of(rate: float) -> int:
    """Return the nanoseconds between images at a rate per second; 0, which is no limit, for 0."""
    return max(round(_SECOND / rate), 1) if rate else 0


def cut(start: int, end: int, images: int, per_part: int, period: int) -> list[Part]:
    """
    Cut a recording into parts of equal time with about `per_part` images each.

    `start` and `end` are its times in nanoseconds and `images` its number of images. No part ends
    within a `period` (nanoseconds, counted from `start`; 0: none). The parts follow from the
    arguments alone, and not from how many processes share them.
    """
    count = max(-(-images // per_part), 1)
    edges = [start + (end - start) * index // count for index in range(1, count)]
    if period:
        edges = [start + (edge - start) // period * period for edge in edges]
    return [Part(index, *times) for index, times in enumerate(zip([None, *edges], [*edges, None]))]
