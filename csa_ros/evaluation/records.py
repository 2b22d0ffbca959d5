"""
What is known of each picture of a data set: kept as it comes, so that a run can go on.

    FOLDER/method.json          all that the results depend on
    FOLDER/pictures.I-N.jsonl   a line for each picture that process I of N has segmented

A line is whole when it ends; a process may be killed at any moment, and what it was writing then
is dropped by the next. A folder belongs to one method: its name holds a digest of it.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import fcntl
import hashlib
import json
import os
from pathlib import Path
import tempfile
from typing import Any
from typing import BinaryIO
from typing import IO

from csa_ros.labels.score import iou
from csa_ros.shards import Shard
import numpy as np

_METHOD = 'method.json'


class RecordsError(RuntimeError):
    """The records cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class Record:
    """
    What became of one picture.

    `cells` (n,) int64 are the places in the flat confusion matrix that are not 0, and `pixels`
    (n,) int64 what they hold; `seconds` is what the model took.
    """

    picture: str
    cells: np.ndarray
    pixels: np.ndarray
    seconds: float

    @classmethod
    def of(cls, picture: str, matrix: np.ndarray, seconds: float) -> 'Record':
        """Make the record of a confusion matrix."""
        flat = matrix.ravel()
        cells = np.flatnonzero(flat)
        return cls(picture, cells, flat[cells], seconds)

    @classmethod
    def parse(cls, line: bytes) -> 'Record':
        """Read a line; ValueError, KeyError or TypeError for anything else."""
        fields = json.loads(line)
        return cls(fields['picture'], np.array(fields['cells'], np.int64),
                   np.array(fields['pixels'], np.int64), float(fields['seconds']))

    @property
    def line(self) -> bytes:
        """Return the record as a line."""
        fields = {'picture': self.picture, 'seconds': round(self.seconds, 6),
                  'cells': self.cells.tolist(), 'pixels': self.pixels.tolist()}
        return json.dumps(fields, separators=(',', ':')).encode() + b'\n'

    def add_to(self, matrix: np.ndarray) -> None:
        """Add the pixels to a confusion matrix (classes, classes + 1) int64."""
        # The cells are distinct.
        matrix.reshape(-1)[self.cells] += self.pixels

    def score(self, classes: int) -> float:
        """Return the mean IoU of this picture alone, NaN if nothing in it counts."""
        matrix = np.zeros((classes, classes + 1), np.int64)
        self.add_to(matrix)
        values = iou(matrix)
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float('nan')


class Records:
    """
    The records of one method on one data set, in a folder.

    `method`, of what JSON can hold, is all that the results depend on. Several processes, each
    with a `shard` of its own, may work in the same folder.
    """

    def __init__(self, folder: Path, method: Mapping[str, Any], shard: Shard = Shard()) -> None:
        self.folder = folder
        self._method = json.loads(json.dumps(method))
        self._path = folder / f'pictures.{shard.index}-{shard.count}.jsonl'

    def read(self) -> dict[str, Record]:
        """
        Return the records of all processes until now, by picture.

        Raises RecordsError for a file that something else has written.
        """
        records = {}
        for path in sorted(self.folder.glob('pictures.*.jsonl')):
            for number, line in enumerate(_whole_lines(path), 1):
                try:
                    record = Record.parse(line)
                except (KeyError, TypeError, ValueError) as error:
                    raise RecordsError(f'line {number} of {path} is damaged: remove the file to '
                                       'segment its pictures again') from error
                records[record.picture] = record
        return records

    @contextmanager
    def writing(self) -> Iterator['Writer']:
        """
        Give what adds records.

        Raises RecordsError if another process writes the same file, or if the folder belongs to
        another method; OSError if it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim()
        with open(self._path.with_suffix('.lock'), 'w') as lock, open(self._path, 'ab') as file:
            if not _locked(lock):
                raise RecordsError(f'another process is writing {self._path}: wait for it, or '
                                   'share the work with --shard')
            # What a process that was killed has begun to write.
            file.truncate(sum(map(len, _whole_lines(self._path))))
            yield Writer(file)

    def _claim(self) -> None:
        path = self.folder / _METHOD
        if not path.exists():
            write_whole(path, json.dumps(self._method, indent=1) + '\n')
        elif json.loads(path.read_text()) != self._method:
            raise RecordsError(f'{self.folder} holds results of another method, see {path}: '
                               'remove it, or name another folder with --out')


class Writer:
    """Appends records to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, record: Record) -> None:
        """Write a record; it stays even if the process is killed right afterwards."""
        self._file.write(record.line)
        self._file.flush()


def digest(method: Mapping[str, Any]) -> str:
    """Return eight characters that tell a method from others."""
    text = json.dumps(method, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    content = content.encode() if isinstance(content, str) else content
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.draft.') as folder:
        draft = Path(folder, path.name)
        draft.write_bytes(content)
        os.replace(draft, path)


def _locked(file: IO[str]) -> bool:
    """Lock a file until it is closed, or the process ends; return whether nobody else has."""
    try:
        # Not flock: processes that read pictures would inherit that, and outlive this one a bit.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # Some file systems of clusters have no locks.
        return True
    return True


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b'\n')]
