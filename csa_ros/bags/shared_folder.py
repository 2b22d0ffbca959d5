"""Results in folders of this machine, or of several that share a file system."""

from collections.abc import Iterable
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

from csa_ros.bags.workspace import COMPLETE
from csa_ros.bags.workspace import JOB
from csa_ros.bags.workspace import Workspace

_LOCK = 'lock'
_RECORD = 'record.json'


class SharedFolder(Workspace):
    """
    A workspace in a folder, with locks and what is renamed at once.

    A part is made under another name, so that it is all there or not at all. One process at a time
    puts the result together.
    """

    def begin(self) -> None:
        self._parts.mkdir(parents=True, exist_ok=True)
        if not (self._parts / JOB).exists():
            self._write(self._parts / JOB, {'job': self._identity})

    @property
    def missing(self) -> list[int]:
        return [index for index in range(self._count) if not self.has(index)]

    def has(self, index: int) -> bool:
        return self._folder(index).exists() or self.complete

    @contextmanager
    def part(self, index: int) -> Iterator[tuple[Path, dict[str, Any]]]:
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

    def move(self, files: Iterable[tuple[Path, str]], target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for source, name in files:
            if source.exists():
                os.replace(source, target / name)

    @contextmanager
    def fetched(self, folder: Path, pattern: str = '*') -> Iterator[Path]:
        yield folder

    @contextmanager
    def written(self, path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._parts, prefix='new.') as folder:
            draft = Path(folder, path.name)
            yield draft
            os.replace(draft, path)

    def again(self, folder: Path) -> str:
        return f'delete {folder} and run the same command again'

    def tidy(self) -> None:
        if self.complete:
            shutil.rmtree(self._parts, ignore_errors=True)

    def records(self) -> list[dict[str, Any]]:
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
