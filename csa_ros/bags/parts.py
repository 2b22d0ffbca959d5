"""How the work on recordings is cut into parts, and the parts dealt to processes."""

from dataclasses import dataclass
import re

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


@dataclass(frozen=True)
class Shard:
    """One of `count` processes that share the work; `index` counts from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Read `i/n`, 0 <= i < n; raise ValueError."""
        match = re.fullmatch(r'(\d+)/(\d+)', text, re.ASCII)
        if not match:
            raise ValueError(f'shard is {text!r}: write i/n, such as 0/4 for the first of four')
        index, count = map(int, match.groups())
        if index >= count:
            raise ValueError(f'shard is {text}: of {count} shards the first is 0/{count} and the '
                             f'last {max(count - 1, 0)}/{count}')
        return cls(index, count)

    def has(self, number: int) -> bool:
        """Return whether the part of this number is this shard's; they are dealt in turn."""
        return number % self.count == self.index


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
