"""
The place of a result while it is being made: whatever is in it under its name is complete.

    OUT/.parts/job.json     what is being made
    OUT/.parts/K/           part K
    OUT/segment_bag.json    written last: the result is complete, and this is what it was made of

Any number of processes may work in it, on one machine or on several that share it, and each may
end at any time. What they leave is used or replaced by the next.
"""

from abc import ABC
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
import json
from pathlib import Path
from typing import Any

PARTS = '.parts'
JOB = 'job.json'
COMPLETE = 'segment_bag.json'


class OutputError(ValueError):
    """The place of the result is taken; the text says by what, and what to do."""


class Workspace(ABC):
    """The folder `out`, of a job that `identity` tells from others and that has `count` parts."""

    def __init__(self, out: Path, identity: dict[str, Any], count: int) -> None:
        self.out = out
        # As JSON gives it back, so that it can be compared.
        self._identity = json.loads(json.dumps(identity))
        self._count = count
        self._parts = out / PARTS

    def check(self) -> None:
        """Raise OutputError if something else is there."""
        if not self.out.exists():
            return
        if not self.out.is_dir():
            raise OutputError(f'{self.out} exists and is a file; name another place')
        for path in (self.out / COMPLETE, self._parts / JOB):
            if path.exists():
                self._compare(json.loads(path.read_text())['job'])
                return
        strangers = sorted(path.name for path in self.out.iterdir() if path.name != PARTS)
        if strangers:
            raise OutputError(f'{self.out} exists and holds {strangers[0]}, which segment_bag did '
                              'not write; nothing is overwritten, name another place')

    @abstractmethod
    def begin(self) -> None:
        """Make the folder; OSError if that is impossible."""

    @property
    def begun(self) -> bool:
        """Whether `begin` was called, by any process that has the same folder."""
        return (self._parts / JOB).exists() or self.complete

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out / COMPLETE).exists()

    @property
    @abstractmethod
    def missing(self) -> list[int]:
        """Return the parts that are not done."""

    @abstractmethod
    def has(self, index: int) -> bool:
        """Return whether a part is done."""

    @abstractmethod
    def part(self, index: int) -> AbstractContextManager[tuple[Path, dict[str, Any]]]:
        """
        Give a folder of this machine and a record (for JSON) to fill; they become the part.

        If it is left by an exception they are dropped.
        """

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Return the records of the parts that are done."""

    @abstractmethod
    def finishing(self) -> AbstractContextManager[list[tuple[Path, dict[str, Any]]] | None]:
        """
        Give the folders and records of all parts, in order, to put together in `out`.

        On leaving, the result is complete. Whatever is done meanwhile must bear to be done again
        after an interruption: it is done with the three methods below. Gives None if another
        process has done it.
        """

    @abstractmethod
    def move(self, files: Iterable[tuple[Path, str]], target: Path) -> None:
        """Move files of parts into a folder by new names; those are skipped that were before."""

    @abstractmethod
    def fetched(self, folder: Path, pattern: str = '*') -> AbstractContextManager[Path]:
        """Give a folder of this machine with the files of a part's folder that match."""

    @abstractmethod
    def written(self, path: Path) -> AbstractContextManager[Path]:
        """Give a file of this machine to write, which becomes that of the result on leaving."""

    @abstractmethod
    def again(self, folder: Path) -> str:
        """Return what to do so that the part of a folder is made again."""

    @abstractmethod
    def tidy(self) -> None:
        """Remove what a process that was ended at its last step has left of a complete result."""

    def _compare(self, other: dict[str, Any]) -> None:
        differing = sorted(key for key in self._identity.keys() | other.keys()
                           if self._identity.get(key) != other.get(key))
        if differing:
            key = differing[0]
            raise OutputError(
                f'{self.out} was begun with another {key}: {other.get(key)!r}, now '
                f'{self._identity.get(key)!r}. Repeat the command it was begun with to go on, '
                'remove it, or name another place')
