"""What files of a recording are, by their bytes, and what to do about those that are none."""

from pathlib import Path
import struct
from typing import Any

from csa_ros.bags.errors import BagError
from csa_ros.urls import read_start
import yaml

# By the suffix that rosbags opens them by.
STORAGES = {'mcap': 'mcap', 'db3': 'sqlite3'}
ZSTD = b'\x28\xb5\x2f\xfd'
_MAGICS = {
    b'\x89MCAP0\r\n': 'mcap',
    b'SQLite format 3\0': 'sqlite3',
    b'#ROSBAG V': 'ros1',
    ZSTD: 'zstd',
    b'version https://git-lfs': 'lfs',
}
METADATA = 'metadata.yaml'
_MOST_PROFILE = 100


def check(path: Path) -> None:
    """Raise BagError if a folder or file is no recording of ROS 2, and say what it is."""
    if not path.exists():
        raise BagError(f'there is no bag {path}; check the path')
    if path.is_dir():
        _check_folder(path)
    else:
        _check_file(path)
        if path.suffix.removeprefix('.') not in STORAGES:
            suffix = next(key for key, kind in STORAGES.items() if kind == _kind(path))
            raise BagError(f'{path} is a file of {_kind(path)} storage by its bytes, but not by '
                           f'its name: let that end in .{suffix}')
        if STORAGES[path.suffix[1:]] != _kind(path):
            raise BagError(f'{path} is a file of {_kind(path)} storage by its bytes, not of '
                           f'{STORAGES[path.suffix[1:]]} as its name says; rename it')


def remedy(path: Path) -> str:
    """Return what repairs a recording whose files are what they should be, and damaged."""
    name = 'FILE' if path.is_dir() else path
    advice = {
        'mcap': f'write anew what can be read of a file with `mcap recover {name} -o NEW.mcap`',
        # `.recover` ends with an error at files that are cut off.
        'sqlite3': f'write anew what can be read of a file with `sqlite3 {name} .dump | sed '
                   "'s/^ROLLBACK.*/COMMIT;/' | sqlite3 NEW.db3`"}
    kinds = {_kind(file) for file in stored_files(path)}
    steps = [text for kind, text in advice.items() if kind in kinds]
    if path.is_dir():
        steps.append(f'make another {METADATA} with `ros2 bag reindex {path}`')
    return f'If the recorder was cut off, {", and ".join(steps)}'


def stored_files(path: Path) -> list[Path]:
    """Return a file, or those of storage in a folder by their names, compressed ones as well."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir()
                  if file.name.removesuffix('.zstd').rpartition('.')[2] in STORAGES
                  and not file.name.startswith('.'))


def strangers(path: Path) -> list[str]:
    """Return sentences on files beside a recording that may hold messages and are not read."""
    found = []
    stored = stored_files(path)
    for log in (file.with_name(f'{file.name}-wal') for file in stored):
        if log.exists() and log.stat().st_size:
            found.append(f'{log.name} may hold its last messages, which are not read: let SQLite '
                         f'move them with `sqlite3 {log.with_name(log.name[:-4])} "PRAGMA '
                         'wal_checkpoint(TRUNCATE)"`')
    listed = _information(path).get('relative_file_paths') or []
    names = {Path(str(name)).name for name in listed}
    # Of a file that is compressed both forms may lie there.
    known = {name.removesuffix('.zstd') for name in names}
    unlisted = [file.name for file in stored if file.name.removesuffix('.zstd') not in known]
    if path.is_dir() and names and unlisted:
        found.append(f'{unlisted[0]} is not in {METADATA} and is not read; `ros2 bag reindex '
                     f'{path}` takes it in')
    return found


def explain_compressed(path: Path) -> str:
    """Return what to do about messages that have turned out to be compressed, each by itself."""
    if path.is_dir():
        return (f'the messages of {path} are compressed one by one (zstd), which its {METADATA} '
                'does not say, as after `ros2 bag reindex`: write `compression_format: zstd` and '
                '`compression_mode: MESSAGE` there')
    return (f'the messages of {path} are compressed one by one (zstd), which only the {METADATA} '
            'of its bag says: name the folder of that')


def _information(path: Path) -> dict[str, Any]:
    """Return the metadata of a folder; nothing if rosbags will have to say what is wrong."""
    try:
        loaded = yaml.safe_load((path / METADATA).read_text())['rosbag2_bagfile_information']
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError,
            yaml.YAMLError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _check_folder(path: Path) -> None:
    stored = stored_files(path)
    if not (path / METADATA).exists():
        raise BagError(
            f'{path} is no bag: it has no {METADATA}; ' + (
                f'the recorder was cut off, run `ros2 bag reindex {path}`' if stored
                else 'name the folder that `ros2 bag record` made, or a .mcap or .db3 file'))
    said = _information(path)
    if not said:
        raise BagError(f'{path / METADATA} is damaged, or not that of a bag: make another with '
                       f'`ros2 bag reindex {path}`')
    mode = str(said.get('compression_mode') or '').upper()
    for name in said.get('relative_file_paths') or []:
        file = path / Path(str(name)).name
        if not file.exists():
            raise BagError(
                f'{file} is missing, which is in {METADATA}: copy it there, or do without it '
                f'after `ros2 bag reindex {path}`')
        if mode == 'FILE':
            _check_compressed(file)
            continue
        if _kind(file) == 'zstd':
            raise BagError(f'{file} is compressed as a whole, which {METADATA} does not say: '
                           'write `compression_format: zstd` and `compression_mode: FILE` there')
        _check_file(file)
        kind = said.get('storage_identifier')
        if kind in STORAGES.values() and kind != _kind(file):
            raise BagError(f'{file} is a file of {_kind(file)} storage, not of {kind} as '
                           f'{METADATA} says: correct that with `ros2 bag reindex {path}`')


def _check_compressed(file: Path) -> None:
    if _kind(file) != 'zstd':
        raise BagError(f'{file} is not compressed, as {METADATA} says it is: correct that with '
                       f'`ros2 bag reindex {file.parent}`')


def _check_file(path: Path) -> None:
    kind = _kind(path)
    if kind == 'ros1':
        raise BagError(f'{path} is a bag of ROS 1: convert it first, with '
                       f'`rosbags-convert --src {path} --dst FOLDER`')
    if kind == 'zstd':
        plain = path.name.removesuffix('.zstd').removesuffix('.zst')
        raise BagError(
            f'{path} is a file that was compressed as a whole: name the folder of its bag, whose '
            f'{METADATA} says so, or unpack it with `zstd -dc {path} > NEW{Path(plain).suffix}`')
    if kind == 'lfs':
        raise BagError(f'{path} is a pointer of Git LFS to a recording: get that with '
                       '`git lfs pull`')
    if kind == 'empty':
        raise BagError(f'{path} is empty: the recorder was ended before it wrote anything, or a '
                       'copy was; record or copy it again')
    if not kind:
        raise BagError(f'{path} is no recording: it begins with {read_start(path, 12)!r}; name '
                       'the folder that `ros2 bag record` made, or a .mcap or .db3 file')
    if kind == 'mcap' and (profile := _profile(path)) not in ('ros2', None):
        raise BagError(
            f'{path} is an MCAP of the profile {profile!r}, not of ROS 2: ' + (
                'convert the bag of ROS 1 that it was made of, with `rosbags-convert --src X.bag '
                '--dst FOLDER`' if profile == 'ros1'
                else 'only messages in CDR, as `ros2 bag record` writes them, can be read'))


def _kind(path: Path) -> str:
    """Return what a file is by its first bytes: a value of _MAGICS, `empty`, or nothing known."""
    start = read_start(path, max(map(len, _MAGICS)))
    if not start:
        return 'empty'
    return next((kind for magic, kind in _MAGICS.items() if start.startswith(magic)), '')


def _profile(path: Path) -> str | None:
    """Return the profile in the header of an MCAP; None if it is cut off before that."""
    # Magic, opcode and length of the header, length of the profile.
    head = 8 + 1 + 8 + 4
    start = read_start(path, head + _MOST_PROFILE)
    if len(start) < head:
        return None
    size, = struct.unpack_from('<I', start, head - 4)
    return start[head:head + min(size, _MOST_PROFILE)].decode(errors='replace')
