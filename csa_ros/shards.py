"""The share of one process in work that several do: parts of recordings, pictures of data sets."""

from dataclasses import dataclass
import re


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
        """Return whether the piece of this number is this shard's; they are dealt in turn."""
        return number % self.count == self.index
