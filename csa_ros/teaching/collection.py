"""Examples by the names of their classes, which are never changed, only joined by others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import ClassVar
from typing import Generic
from typing import Protocol
from typing import TypeVar

from csa_ros.teaching.errors import TeachingError


class Seen(Protocol):
    """What was seen of something, on the host, and what people are told of it."""

    @property
    def fingerprint(self) -> str:
        """Return that of what has seen it: what another has seen cannot be compared with it."""

    @property
    def model(self) -> str:
        """Return what the model is called that has seen it."""

    @property
    def camera(self) -> str:
        """Return the name of the camera."""

    @property
    def stamp(self) -> int:
        """Return when it was shown, in nanoseconds."""

    @property
    def thumbnail(self) -> bytes:
        """Return a small picture of it, as JPEG."""


Shown = TypeVar('Shown', bound=Seen)
Own = TypeVar('Own', bound='Collection')


@dataclass(frozen=True, eq=False)
class Example(Generic[Shown]):
    """What was seen of something of a class: `name` is that of the class."""

    name: str
    look: Shown


@dataclass(frozen=True, eq=False)
class Collection(Sequence[Example[Shown]], Generic[Shown]):
    """
    Examples in the order in which they were shown.

    `forgotten` counts those that had to make room. A name has at most `most_per_name`, and all of
    them have `most`; `others` says what else may have seen what cannot be added.
    """

    items: tuple[Example[Shown], ...] = ()
    forgotten: int = field(default=0)

    most_per_name: ClassVar[int]
    most: ClassVar[int]
    others: ClassVar[str]

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

    def add(self: Own, name: str, look: Shown) -> Own:
        """
        Return these and one more.

        Where there is no room, the oldest of the same name makes it, or the oldest of the name
        that has most. Raises TeachingError for a name that is no word, and what another model has
        seen.
        """
        name = name.strip()
        if not name:
            raise TeachingError('the name of what is shown is empty: give the name of its class')
        if self.items and look.fingerprint != self.fingerprint:
            raise TeachingError(
                f'this was seen {self.others} than what was shown before: forget that, or go back '
                'to it')
        items = list(self.items)
        counts = self.counts
        if counts.get(name, 0) >= self.most_per_name:
            items.remove(next(item for item in items if item.name == name))
        elif len(items) >= self.most:
            largest = name if name in counts else max(counts, key=counts.__getitem__)
            items.remove(next(item for item in items if item.name == largest))
        forgotten = self.forgotten + len(self.items) - len(items)
        return replace(self, items=(*items, Example(name, look)), forgotten=forgotten)

    def forget(self: Own, name: str = '') -> Own:
        """Return these without the last, or without those of a name."""
        if not name:
            return replace(self, items=self.items[:-1])
        return replace(self, items=tuple(item for item in self.items if item.name != name))
