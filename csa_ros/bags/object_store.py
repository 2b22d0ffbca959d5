"""Results at URLs, in stores that have neither locks nor names that can be changed."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from fnmatch import fnmatch
import json
from pathlib import Path
import re
from typing import Any

from csa_ros import urls
from csa_ros.bags import scratch
from csa_ros.bags.workspace import COMPLETE
from csa_ros.bags.workspace import JOB
from csa_ros.bags.workspace import Workspace


class ObjectStore(Workspace):
    """
    A workspace at a URL.

        OUT/.parts/K.json    the record of part K, written when all else of it is there

    Files are whole as soon as they are seen. Processes that do the same at the same time write the
    same bytes. What is put together is copied, and parts are removed at the end: until then
    everything can be done again. Raises StorageError wherever the store cannot be reached.
    """

    @property
    def _system(self) -> Any:
        return urls.file_system(self.out)

    def check(self) -> None:
        with urls.reached(self.out):
            super().check()

    def begin(self) -> None:
        with urls.reached(self.out):
            if not (self._parts / JOB).exists():
                self._write(self._parts / JOB, {'job': self._identity})

    @property
    def begun(self) -> bool:
        with urls.reached(self.out):
            return super().begun

    @property
    def complete(self) -> bool:
        with urls.reached(self.out):
            return super().complete

    @property
    def missing(self) -> list[int]:
        if self.complete:
            return []
        done = self._done()
        return [index for index in range(self._count) if index not in done]

    def has(self, index: int) -> bool:
        with urls.reached(self.out):
            return self._record(index).exists() or self.complete

    @contextmanager
    def part(self, index: int) -> Iterator[tuple[Path, dict[str, Any]]]:
        record: dict[str, Any] = {}
        with scratch.draft() as folder:
            yield folder, record
            files = sorted(path for path in folder.rglob('*') if path.is_file())
            with urls.reached(self.out):
                self._put([(path, self._parts / str(index) / path.relative_to(folder).as_posix())
                           for path in files])
                self._write(self._record(index), record)

    def records(self) -> list[dict[str, Any]]:
        with urls.reached(self.out):
            if super().complete:
                return json.loads((self.out / COMPLETE).read_text())['parts']
        return self._read_records(sorted(self._done()))

    @contextmanager
    def finishing(self) -> Iterator[list[tuple[Path, dict[str, Any]]] | None]:
        made = None if self.complete else self._made()
        if made is None:
            self.tidy()
            yield None
            return
        try:
            yield made
        except OSError:
            # Another process may have finished, and removed what was to be copied.
            if not self.complete:
                raise
            return
        with urls.reached(self.out):
            self._write(self.out / COMPLETE, {
                'job': self._identity, 'parts': [record for _, record in made]})
        self.tidy()

    def move(self, files: Iterable[tuple[Path, str]], target: Path) -> None:
        pairs = [(urls.within(source), urls.within(target / name)) for source, name in files]
        with urls.reached(target):
            self._make_folder(target)
            self._system.copy([source for source, _ in pairs], [copy for _, copy in pairs])

    @contextmanager
    def fetched(self, folder: Path, pattern: str = '*') -> Iterator[Path]:
        with scratch.draft() as draft:
            with urls.reached(folder):
                found = [path for path in self._list(folder) if fnmatch(Path(path).name, pattern)]
                self._system.get(found, [str(draft / Path(path).name) for path in found])
            yield draft

    @contextmanager
    def written(self, path: Path) -> Iterator[Path]:
        with scratch.draft() as folder:
            draft = folder / path.name
            yield draft
            with urls.reached(path):
                self._put([(draft, path)])

    def again(self, folder: Path) -> str:
        return f'delete {folder}.json and run the same command again'

    def tidy(self) -> None:
        with urls.reached(self.out), suppress(FileNotFoundError):
            if super().complete:
                self._system.rm(urls.within(self._parts), recursive=True)

    def _record(self, index: int) -> Path:
        return self._parts / f'{index}.json'

    def _done(self) -> set[int]:
        """Return the parts that have a record."""
        with urls.reached(self.out):
            names = [Path(path).name for path in self._list(self._parts)]
        return {int(name[:-5]) for name in names if re.fullmatch(r'\d+\.json', name)}

    def _made(self) -> list[tuple[Path, dict[str, Any]]] | None:
        """Return the folders and records of all parts; None if another process has finished."""
        try:
            records = self._read_records(range(self._count))
        except OSError:
            if not self.complete:
                raise
            return None
        return [(self._parts / str(index), record) for index, record in enumerate(records)]

    def _read_records(self, indices: Iterable[int]) -> list[dict[str, Any]]:
        paths = [urls.within(self._record(index)) for index in indices]
        with urls.reached(self.out):
            return [json.loads(data) for data in self._system.cat_ranges(
                paths, [None] * len(paths), [None] * len(paths), on_error='raise')]

    def _list(self, folder: Path) -> list[str]:
        """Return the names in the store of what is in a folder, which is there if anything is."""
        try:
            return self._system.ls(urls.within(folder), detail=False)
        except FileNotFoundError:
            return []

    def _put(self, files: Sequence[tuple[Path, Path]]) -> None:
        self._system.put([str(source) for source, _ in files],
                         [urls.within(target) for _, target in files])

    def _write(self, path: Path, value: Any) -> None:
        self._make_folder(path.parent)
        self._system.pipe_file(urls.within(path), json.dumps(value).encode())

    def _make_folder(self, path: Path) -> None:
        # In a bucket there are none, and the bucket itself might be made.
        if not urls.in_bucket(path):
            self._system.makedirs(urls.within(path), exist_ok=True)
