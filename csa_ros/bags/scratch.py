"""
Folders of this machine for what is on its way from or to a URL.

    TMPDIR/csa_ros-UID/NAME/lock    locked by all that need the folder; one of nobody's is removed

They are shared by the processes of a user and outlive those that are killed, until another comes.
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
import fcntl
import os
from pathlib import Path
import shutil
import tempfile
from typing import IO
from uuid import uuid4

_LOCK, _FILLING, _NEW, _FILLED = 'lock', 'filling', 'new', 'filled'


class Held:
    """The folder of a name, which is there as long as any process holds it."""

    def __init__(self, name: str) -> None:
        self.folder = _root() / name
        self._lock = self._acquire()

    def close(self) -> None:
        """Hold it no longer."""
        self._lock.close()

    def filled(self, fill: Callable[[Path], None]) -> Path:
        """
        Return a folder in it that `fill` has filled, once: one process does, and others wait.

        What `fill` raises passes through, and leaves nothing.
        """
        filled = self.folder / _FILLED
        with open(self.folder / _FILLING, 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not filled.exists():
                new = self.folder / _NEW
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                fill(new)
                os.rename(new, filled)
        return filled

    def _acquire(self) -> IO[str]:
        while True:
            self.folder.mkdir(exist_ok=True)
            # Another process may remove it until it is locked.
            with suppress(FileNotFoundError):
                lock = open(self.folder / _LOCK, 'w')
                fcntl.flock(lock, fcntl.LOCK_SH)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(lock.name), os.fstat(lock.fileno())):
                        return lock
                lock.close()


@contextmanager
def draft() -> Iterator[Path]:
    """Give a new folder, which is removed on leaving."""
    held = Held(f'draft-{uuid4().hex}')
    try:
        new = held.folder / _NEW
        new.mkdir()
        yield new
    finally:
        held.close()
        sweep()


def sweep() -> None:
    """Remove the folders that no process holds."""
    for folder in _root().iterdir():
        # What cannot be locked is held, and what is not there another process has removed.
        with suppress(OSError), open(folder / _LOCK, 'a') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # At once: whoever comes now makes another, and does not take what is left of this.
            removed = folder.with_name(f'removed-{uuid4().hex}')
            os.rename(folder, removed)
            shutil.rmtree(removed, ignore_errors=True)


def _root() -> Path:
    """Return where all are; raise PermissionError if it is somebody else's."""
    root = Path(tempfile.gettempdir(), f'csa_ros-{os.getuid()}')
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f'{root} belongs to another user; let TMPDIR name another folder')
    return root
