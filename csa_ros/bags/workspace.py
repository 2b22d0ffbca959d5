"""
The folder of a result while it is being made: whatever is in it under its name is complete.

    OUT/.parts/job.json     what is being made
    OUT/.parts/K/           part K; made under another name, so that it is all there or not at all
    OUT/segment_bag.json    written last: the result is complete, and this is what it was made of

Any number of processes may work in it, on one machine or on several that share the folder, and
each may end at any time. What they leave is used or replaced by the next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
import fcntl
import json
import os
from pathlib import Path
import shutil
import tempfile
from typing import Any

_PARTS = '.parts'
_JOB = 'job.json'
_LOCK = 'lock'
_RECORD = 'record.json'
COMPLETE = 'segment_bag.json'


class OutputError(ValueError):
    """The place of the result is taken; the text says by what, and what to do."""


class Workspace:
    """The folder `out`, of a job that `identity` tells from others and that has `count` parts."""

    def __init__(self, out: Path, identity: dict[str, Any], count: int) -> None:
        self.out = out
        # As JSON gives it back, so that it can be compared.
        self._identity = json.loads(json.dumps(identity))
        self._count = count
        self._parts = out / _PARTS

    def check(self) -> None:
        """Raise OutputError if something else is there."""
        if not self.out.exists():
            return
        if not self.out.is_dir():
            raise OutputError(f'{self.out} exists and is a file; name another place')
        for path in (self.out / COMPLETE, self._parts / _JOB):
            if path.exists():
                self._compare(json.loads(path.read_text())['job'])
                return
        strangers = sorted(path.name for path in self.out.iterdir() if path.name != _PARTS)
        if strangers:
            raise OutputError(f'{self.out} exists and holds {strangers[0]}, which segment_bag did '
                              'not write; nothing is overwritten, name another place')

    def begin(self) -> None:
        """Make the folder; OSError if that is impossible."""
        self._parts.mkdir(parents=True, exist_ok=True)
        if not (self._parts / _JOB).exists():
            self._write(self._parts / _JOB, {'job': self._identity})

    @property
    def begun(self) -> bool:
        """Whether `begin` was called, by any process that has the same folder."""
        return (self._parts / _JOB).exists() or self.complete

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out / COMPLETE).exists()

    @property
    def missing(self) -> list[int]:
        """Return the parts that are not done."""
        return [index for index in range(self._count) if not self.has(index)]

    def has(self, index: int) -> bool:
        """Return whether a part is done."""
        return self._folder(index).exists() or self.complete

    @contextmanager
    def part(self, index: int) -> Iterator[tuple[Path, dict[str, Any]]]:
        """
        Give a folder and a record (for JSON) to fill, which become the part on leaving.

        If that is by an exception they are dropped.
        """
        self._remove_leftovers(index)
        with tempfile.TemporaryDirectory(
                dir=self._parts, prefix=f'{index}.', ignore_cleanup_errors=True) as folder, \
                _locked(Path(folder, _LOCK)):
            draft = Path(folder, 'part')
            record: dict[str, Any] = {}
            draft.mkdir()
            yield draft, record
            self._write(draft / _RECORD, record)
            _to_disk(draft)
            try:
                os.rename(draft, self._folder(index))
            except OSError:
                # A process that was given the same part may have been faster; it made the same.
                if not self._folder(index).exists():
                    raise

    @contextmanager
    def finishing(self) -> Iterator[list[tuple[Path, dict[str, Any]]] | None]:
        """
        Give the folders and records of all parts, in order, to put together in `out`.

        On leaving, the result is complete. Whatever is done meanwhile must bear to be done again
        after an interruption. One process at a time; gives None if another has done it.
        """
        # Made where another process has taken all away, as it has finished a moment ago.
        self._parts.mkdir(exist_ok=True)
        with _locked(self._parts / _LOCK):
            if self.complete:
                shutil.rmtree(self._parts, ignore_errors=True)
                yield None
                return
            folders = [self._folder(index) for index in range(self._count)]
            records = [json.loads((folder / _RECORD).read_text()) for folder in folders]
            yield list(zip(folders, records))
            self._write(self.out / COMPLETE, {'job': self._identity, 'parts': records})
            shutil.rmtree(self._parts, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a process that was ended at its last step has left of a complete result."""
        if self.complete:
            shutil.rmtree(self._parts, ignore_errors=True)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the parts that are done."""
        records = []
        for index in range(self._count):
            # Not there yet; or no more, as another process finishes.
            with suppress(FileNotFoundError):
                records.append(json.loads((self._folder(index) / _RECORD).read_text()))
        if self.complete:
            return json.loads((self.out / COMPLETE).read_text())['parts']
        return records

    def _folder(self, index: int) -> Path:
        return self._parts / str(index)

    def _remove_leftovers(self, index: int) -> None:
        """Remove what processes that were killed have left of a part."""
        for leftover in self._parts.glob(f'{index}.*'):
            # Not that of one that is alive, which has the lock.
            with suppress(OSError), open(leftover / _LOCK, 'w') as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(leftover, ignore_errors=True)

    def _compare(self, other: dict[str, Any]) -> None:
        differing = sorted(key for key in self._identity.keys() | other.keys()
                           if self._identity.get(key) != other.get(key))
        if differing:
            key = differing[0]
            raise OutputError(
                f'{self.out} was begun with another {key}: {other.get(key)!r}, now '
                f'{self._identity.get(key)!r}. Repeat the command it was begun with to go on, '
                'remove it, or name another place')

    def _write(self, path: Path, value: Any) -> None:
        """Replace a JSON file as a whole."""
        with tempfile.TemporaryDirectory(dir=self._parts, prefix='json.') as folder:
            draft = Path(folder, path.name)
            draft.write_text(json.dumps(value))
            os.replace(draft, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """
    Keep other processes out; the lock ends with the process.

    Some file systems of clusters have no locks. Two processes may then do the same at the same
    time: one may fail, and the result is right.
    """
    with open(path, 'w') as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _to_disk(folder: Path) -> None:
    """Wait until what is in a folder would survive a loss of power."""
    for path in folder.rglob('*'):
        if path.is_file():
            with open(path, 'rb') as file:
                os.fsync(file.fileno())
