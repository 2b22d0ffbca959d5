"""
Where the files of a user go: caches, and all that libraries put below the home.

The home of a process is not always one: a container may run under a user id that has no name, a
service without HOME.
"""

import os
from pathlib import Path
import tempfile

_CACHE = 'XDG_CACHE_HOME'


def cache_dir() -> Path:
    """
    Return the folder for what csa_ros keeps: `$XDG_CACHE_HOME/csa_ros`, as a rule ~/.cache.

    As the XDG Base Directory Specification has it, a relative path in the variable counts for
    nothing; one that begins with `~`, which a shell would have replaced, is in the home.
    """
    return (_absolute(os.environ.get(_CACHE, '')) or _home() / '.cache') / 'csa_ros'


def settle() -> str:
    """
    Make the environment say what holds for all libraries; return what the user should know.

    HOME is set if it is not, and XDG_CACHE_HOME made absolute or removed: each library would read
    them in its own way, and some make a folder called `~` where the process happens to run.
    """
    lost = ''
    stated = os.environ.get(_CACHE)
    if stated is not None:
        path = _absolute(stated)
        if path:
            os.environ[_CACHE] = str(path)
        else:
            del os.environ[_CACHE]
    if not os.environ.get('HOME'):
        known = _known_home()
        os.environ['HOME'] = str(known or _temporary())
        if not known:
            lost = (f'the user with the id {os.getuid()} has no home: words, weights and logs are '
                    f'kept in {os.environ["HOME"]}, which may not last; set HOME to a folder that '
                    'does')
    return lost


def _absolute(path: str) -> Path | None:
    """Return a path, `~` replaced, if that makes it absolute."""
    if path == '~' or path.startswith('~/'):
        return _home() / path[2:]
    expanded = os.path.expanduser(path)
    return Path(expanded) if os.path.isabs(expanded) else None


def _home() -> Path:
    return _known_home() or _temporary()


def _known_home() -> Path | None:
    """Return what HOME says, or the list of users; None if neither does."""
    home = os.path.expanduser('~')
    return Path(home) if os.path.isabs(home) else None


def _temporary() -> Path:
    """Return a folder that nobody else can have put anything into."""
    try:
        folder = Path(tempfile.gettempdir()) / f'csa_ros-{os.getuid()}'
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
            folder = Path(tempfile.mkdtemp(prefix='csa_ros-'))
    except OSError:
        # As Debian has it for users without a home: whoever writes there says that it failed.
        return Path('/nonexistent')
    return folder
