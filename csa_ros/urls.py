"""
Files at URLs such as `s3://bucket/name`, which fsspec reads and writes, beside those of here.

What is at a URL is a UPath of universal-pathlib, which passes for a pathlib.Path as far as it is
used here. Neither is imported before there is a URL.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
import errno
from glob import has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from typing import cast

_SEPARATOR = '://'
# What reads a scheme, and where the credentials come from.
_PACKAGES = {'s3': 's3fs', 'gs': 'gcsfs', 'hdfs': 'pyarrow'}
_CREDENTIALS = {
    's3': 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or ~/.aws',
    'gs': 'GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`',
    'hdfs': 'HADOOP_USER_NAME, or `kinit`'}
_ENDPOINTS = {'s3': ' and the endpoint (AWS_ENDPOINT_URL, FSSPEC_S3_ENDPOINT_URL)'}
# Many of their errors are no OSError.
_LIBRARIES = ('aiobotocore', 'aiohttp', 'botocore', 'fsspec', 'gcsfs', 'google', 'pyarrow', 's3fs')


class UrlError(ValueError):
    """A URL is none, or what it needs is not installed; the text says what to do."""


class StorageError(OSError):
    """What is at a URL cannot be reached; the text names it and the next step."""


def place(text: str) -> Path:
    """Return a path, or what passes for one if the text is a URL; raise UrlError."""
    scheme, separator, rest = text.partition(_SEPARATOR)
    if not separator:
        return Path(text)
    if scheme == 'file':
        return Path(rest)
    missing = [package for package, module in (
        ('universal-pathlib', 'upath'), (_PACKAGES.get(scheme),) * 2)
        if package and module and not find_spec(module)]
    if missing:
        raise UrlError(f'{text} needs what is not installed: pip install {" ".join(missing)}')
    import fsspec
    from upath import UPath
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise UrlError(f'{text} cannot be used: {error}. {", ".join(_PACKAGES)} are known to '
                       'work') from error
    # Others write there at the same time: what was there a moment ago may not be all.
    path = UPath(f'{scheme}{_SEPARATOR}{rest.rstrip("/")}', use_listings_cache=False)
    if not path.name:
        raise UrlError(f'{text} names no folder: write more of it, such as '
                       f'{scheme}{_SEPARATOR}bucket/folder')
    return cast(Path, path)


def is_remote(path: Path) -> bool:
    """Return whether a path is that of a URL."""
    return not isinstance(path, Path)


def file_system(path: Path) -> Any:
    """Return the file system of fsspec that a URL is in."""
    return cast(Any, path).fs


def within(path: Path) -> str:
    """Return what a URL is called in its file system."""
    return cast(Any, path).path


def in_bucket(path: Path) -> bool:
    """Return whether a URL is one of a store that knows no folders, beside buckets."""
    from upath.implementations.cloud import CloudPath
    return isinstance(path, CloudPath)


def matches(path: Path) -> list[Path]:
    """
    Return the URLs that one with `*`, `?` or `[` stands for, sorted; a path as it is.

    A shell does that for paths. Raises StorageError.
    """
    if not is_remote(path) or not has_magic(str(path)):
        return [path]
    remote = cast(Any, path)
    with reached(path):
        found = sorted(remote.fs.glob(remote.path))
    if not found:
        raise StorageError(f'nothing matches {path}; check the URL')
    return [type(remote)(remote.fs.unstrip_protocol(name), **remote.storage_options)
            for name in found]


def read_start(path: Path, size: int) -> bytes:
    """Return at most so many bytes that a file begins with."""
    # Of a remote file much more would be fetched ahead.
    options: Mapping[str, Any] = {'block_size': size} if is_remote(path) else {}
    with path.open('rb', **options) as file:
        return file.read(size)


@contextmanager
def reached(path: Path) -> Iterator[None]:
    """Raise StorageError for what a library raises if a URL cannot be reached."""
    try:
        yield
    except Exception as error:
        failure = failure_of(path, error)
        if failure is None or failure is error:
            raise
        raise failure from error


def failure_of(path: Path, error: BaseException) -> StorageError | None:
    """Return what an error means if it is, or follows from, one that a URL cannot be reached."""
    if not is_remote(path):
        return None
    for each in _causes(error):
        if isinstance(each, StorageError):
            return each
        if isinstance(each, (OSError, ImportError, NotImplementedError)) or _raised_by(
                each, _LIBRARIES):
            return StorageError(_explain(path, each))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _raised_by(error: BaseException, libraries: Sequence[str]) -> bool:
    return any(kind.__module__.partition('.')[0] in libraries for kind in type(error).__mro__)


def _explain(path: Path, error: BaseException) -> str:
    scheme = str(path).partition(_SEPARATOR)[0]
    reason = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f'{path} is not there, or its bucket is not: {reason}; check the URL'
    if isinstance(error, PermissionError) or 'Credentials' in type(error).__name__:
        return (f'{path} cannot be used: {reason}; check the credentials '
                f'({_CREDENTIALS.get(scheme, "those of fsspec")}) and what they may do there')
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f'{path} passes through a disk that is full: {reason}; let TMPDIR name another'
    if isinstance(error, (ImportError, NotImplementedError)):
        return f'{path} cannot be used: {reason}'
    return (f'{path} cannot be reached: {reason}; check the network{_ENDPOINTS.get(scheme, "")}, '
            'and run the same command again, which goes on')
