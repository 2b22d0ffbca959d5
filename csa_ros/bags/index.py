"""
When the messages of a file of storage were recorded, as far as they can be reached.

rosbags finds messages by the indexes of a file and believes them, so that messages which no index
lists are passed over in silence. Here the indexes are read and compared with one another; a file
whose indexes are not complete is read from one end to the other instead.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from io import BytesIO
import struct
from typing import Any

import numpy as np
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

_MESSAGE_INDEX = 0x07
# Opcode and length of a record; channel and number of bytes of a message index.
_HEAD = struct.Struct('<BQHI')


def times(storage: Any) -> tuple[dict[int, np.ndarray], bool]:
    """
    Return the recording times of each connection's messages in nanoseconds, int64, by its id.

    With them whether the indexes were not complete, so that `scan` was needed. `storage` is an
    open reader of `rosbags` for one file; it can reach all of these messages afterwards. What
    rosbags raises for damaged files passes through.
    """
    if isinstance(storage, Sqlite3Reader):
        database: Any = storage.dbconn
        return _grouped(database.execute('SELECT topic_id, timestamp FROM messages')), False
    scanned = False
    if isinstance(storage, McapReader) and storage.chunks:
        found = _indexed(storage)
        if found is not None:
            return found, False
        scan(storage)
        scanned = True
    return _grouped((connection.id, time)
                    for connection, time, _ in storage.messages(storage.connections)), scanned


def scan(storage: McapReader) -> None:
    """Let a reader do without indexes, and find the channels that the summary leaves out."""
    # Without them rosbags reads the file from one end to the other.
    storage.chunks.clear()
    storage.meta_scan()


def _grouped(rows: Iterable[tuple[int, int]]) -> dict[int, np.ndarray]:
    table = np.fromiter((value for row in rows for value in row), np.int64).reshape(-1, 2)
    return {int(key): table[table[:, 0] == key, 1] for key in np.unique(table[:, 0])}


def _indexed(storage: McapReader) -> dict[int, np.ndarray] | None:
    """Return what the message indexes of an MCAP say; None if they do not list all messages."""
    known = {connection.id for connection in storage.connections}
    found: dict[int, list[np.ndarray]] = {}
    if any(not chunk.message_index_offsets or set(chunk.message_index_offsets) - known
           for chunk in storage.chunks):
        return None
    for chunk, (file, start) in zip(storage.chunks, _sections(storage)):
        for channel, offset in chunk.message_index_offsets.items():
            entries = _entries(file, channel, offset - start)
            # rosbags passes over chunks of which it counts no messages, and those of other times.
            if (entries is None or len(entries) != chunk.channel_count.get(channel)
                    or (entries < chunk.message_start_time).any()
                    or (entries > chunk.message_end_time).any()):
                return None
            found.setdefault(channel, []).append(entries)
    listed = {channel: np.concatenate(entries) for channel, entries in found.items()}
    claimed = storage.statistics.message_count if storage.statistics else 0
    return listed if sum(map(len, listed.values())) >= claimed else None


def _sections(storage: McapReader) -> Iterator[tuple[Any, int]]:
    """Yield where to read the message indexes of each chunk, and which offset this begins at."""
    file: Any = storage.bio
    if not hasattr(file, 'fs'):
        for _ in storage.chunks:
            yield file, 0
        return
    # A remote file gives thousands of pieces soon if they are asked for at once.
    starts = [chunk.chunk_start_offset + chunk.chunk_length for chunk in storage.chunks]
    ends = [start + chunk.message_index_length for start, chunk in zip(starts, storage.chunks)]
    sections = file.fs.cat_ranges([file.path] * len(starts), starts, ends, on_error='raise')
    for section, start in zip(sections, starts):
        yield BytesIO(section), start


def _entries(file: Any, channel: int, offset: int) -> np.ndarray | None:
    """Return the times in the message index at an offset; None if there is no such index."""
    if offset < 0:
        return None
    file.seek(offset)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    opcode, _, owner, size = _HEAD.unpack(head)
    data = file.read(size)
    if opcode != _MESSAGE_INDEX or owner != channel or len(data) < size or size % 16:
        return None
    # Pairs of a time and the place in the chunk.
    return np.frombuffer(data, '<u8').astype(np.int64)[::2]
