"""
Recordings at URLs, as rosbags reads them: MCAP where it lies, all else from a copy here.

Of an MCAP no more is fetched than is read. SQLite asks for so many pieces, and a file that was
compressed as a whole for all, that the bag is copied.
"""

import atexit
from hashlib import sha256
import json
from pathlib import Path
from typing import Any

from csa_ros import urls
from csa_ros.bags import scratch
from csa_ros.bags import storage

# Bytes that are fetched at once. Twice as many save half the requests, and as much more than is
# read is fetched of each part.
_BLOCK = 4 << 20


class InBlocks:
    """A path for rosbags at a URL, the files of which are fetched in blocks as they are read."""

    def __init__(self, path: Any) -> None:
        self._path = path
        self.stem, self.suffix = path.stem, path.suffix

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: Any) -> 'InBlocks':
        return InBlocks(self._path / str(name))

    def exists(self) -> bool:
        """Return whether it is there."""
        return self._path.exists()

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self._path.is_dir()

    def read_text(self, encoding: str | None = None) -> str:
        """Return the text of a file."""
        return self._path.read_text(encoding)

    def stat(self) -> Any:
        """Return its size and time."""
        return self._path.stat()

    def open(self, mode: str) -> Any:  # noqa: A003
        """Open a file for reading."""
        return self._path.open(mode, block_size=_BLOCK, cache_type='readahead')


class _Copies:
    """
    Copies of bags, each one for all processes of a user.

    A process holds the last that it has read, as it may be given one part of a bag after another.
    """

    def __init__(self) -> None:
        self._held: scratch.Held | None = None

    def of(self, bag: Path) -> Path:
        """Return the copy of a bag, which is made if there is none."""
        files = storage.stored_files(bag)
        if files != [bag]:
            files.append(bag / storage.METADATA)
        system = urls.file_system(bag)
        sources = [urls.within(file) for file in files]
        # What was written anew is another.
        state = [str(bag), *(system.ukey(source) for source in sources)]
        held = scratch.Held(sha256(json.dumps(state).encode()).hexdigest())
        self.close()
        self._held = held
        folder = held.filled(lambda folder: system.get(
            sources, [str(folder / file.name) for file in files]))
        return folder / bag.name if files == [bag] else folder

    def close(self) -> None:
        """Remove copies that nobody holds."""
        if self._held:
            self._held.close()
            self._held = None
            scratch.sweep()


_copies = _Copies()
atexit.register(_copies.close)


def path_for_rosbags(bag: Path) -> Any:
    """Return what rosbags reads a recording at a URL from; errors of its library pass through."""
    if all(file.suffix == '.mcap' for file in storage.stored_files(bag)):
        return InBlocks(bag)
    return _copies.of(bag)
