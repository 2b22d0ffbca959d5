"""What has been shown: examples of classes, which are never changed, only joined by others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from csa_ros.teaching.errors import TeachingError
import torch
from torch import Tensor

# More say nothing new, and the search among all of them takes its share of each frame.
MAX_PER_NAME = 64
MAX_EXAMPLES = 1024


@dataclass(frozen=True, eq=False)
class Look:
    """
    A region as a model sees it.

    `key` (D,) float32 of length 1 is the mean of its patches. `patches` (N, D) float16 are some of
    all patches of the picture, `inside` (N,) float32 says which share of each lies in the region,
    and `stands_for` (N,) float32 for how many patches each is there. All are on the host.
    `fingerprint` is that of model, attention and windows: keys of another cannot be compared.
    `camera`, `stamp` (nanoseconds) and `thumbnail` (JPEG) tell people what was shown, and `model`
    what that model is called.
    """

    key: Tensor
    patches: Tensor
    inside: Tensor
    stands_for: Tensor
    fingerprint: str
    camera: str = ''
    stamp: int = 0
    thumbnail: bytes = b''
    model: str = ''


@dataclass(frozen=True, eq=False)
class Example:
    """A look at something of a class: `name` is that of the class."""

    name: str
    look: Look


@dataclass(frozen=True, eq=False)
class Examples(Sequence[Example]):
    """
    Examples in the order in which they were shown.

    `forgotten` counts those that had to make room.
    """

    items: tuple[Example, ...] = ()
    forgotten: int = field(default=0)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.items[index]

    @property
    def fingerprint(self) -> str:
        """Return that of all examples, '' if there is none."""
        return self.items[0].look.fingerprint if self.items else ''

    @property
    def counts(self) -> dict[str, int]:
        """Return how many examples each name has, by the order of its first."""
        return dict(Counter(example.name for example in self.items))

    def add(self, name: str, look: Look) -> 'Examples':
        """
        Return these and one more.

        A name has at most MAX_PER_NAME, and all of them have MAX_EXAMPLES: the oldest of the same
        name makes room, or the oldest of the name that has most. Raises TeachingError for a name
        that is no word, and a look by another model.
        """
        name = name.strip()
        if not name:
            raise TeachingError('the name of what is shown is empty: give the name of its class')
        if self.items and look.fingerprint != self.fingerprint:
            raise TeachingError(
                'this was seen by another model, with another attention or in other windows than '
                'what was shown before: forget that, or go back to it')
        items = list(self.items)
        counts = self.counts
        if counts.get(name, 0) >= MAX_PER_NAME:
            items.remove(next(item for item in items if item.name == name))
        elif len(items) >= MAX_EXAMPLES:
            largest = name if name in counts else max(counts, key=counts.__getitem__)
            items.remove(next(item for item in items if item.name == largest))
        forgotten = self.forgotten + len(self.items) - len(items)
        return replace(self, items=(*items, Example(name, look)), forgotten=forgotten)

    def forget(self, name: str = '') -> 'Examples':
        """Return these without the last, or without those of a name."""
        if not name:
            return replace(self, items=self.items[:-1])
        return replace(self, items=tuple(item for item in self.items if item.name != name))

    def of(self, names: Sequence[str]) -> tuple[list[Example], Tensor]:
        """Return the examples of any of some names, and the index of the name of each, (K,)."""
        index = {name: place for place, name in enumerate(names)}
        chosen = [item for item in self.items if item.name in index]
        return chosen, torch.tensor([index[item.name] for item in chosen], dtype=torch.int64)
