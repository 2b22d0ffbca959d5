"""
When the messages of a file of storage were recorded, as far as they can be reached.

rosbags finds messages by the indexes of a file and believes them, so that messages which no index
lists are passed over in silence. Here the indexes are read and compared with one another; a file
whose indexes are not complete is read from one end to the other instead.
"""

from collections.abc import Iterable
import struct
from typing import Any

import numpy as np
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

_MESSAGE_INDEX = 0x07
# Opcode and length of a record; channel and number of bytes of a message index.
_HEAD = struct.Struct('<BQHI')


def times(storage: Any) -> dict[int, np.ndarray]:
    """
    Return the recording times of each connection's messages in nanoseconds, int64, by its id.

    `storage` is an open reader of `rosbags` for one file; it can reach all of these messages
    afterwards. What rosbags raises for damaged files passes through.
    """
    if isinstance(storage, Sqlite3Reader):
        database: Any = storage.dbconn
        return _grouped(database.execute('SELECT topic_id, timestamp FROM messages'))
    if isinstance(storage, McapReader) and storage.chunks:
        found = _indexed(storage)
        if found is not None:
            return found
        # Without them rosbags reads the file from one end to the other, and the scan finds the
        # channels that the summary leaves out.
        storage.chunks.clear()
        storage.meta_scan()
    return _grouped((connection.id, time)
                    for connection, time, _ in storage.messages(storage.connections))


def _grouped(rows: Iterable[tuple[int, int]]) -> dict[int, np.ndarray]:
    table = np.fromiter((value for row in rows for value in row), np.int64).reshape(-1, 2)
    return {int(key): table[table[:, 0] == key, 1] for key in np.unique(table[:, 0])}


def _indexed(storage: McapReader) -> dict[int, np.ndarray] | None:
    """Return what the message indexes of an MCAP say; None if they do not list all messages."""
    known = {connection.id for connection in storage.connections}
    found: dict[int, list[np.ndarray]] = {}
    for chunk in storage.chunks:
        if not chunk.message_index_offsets or set(chunk.message_index_offsets) - known:
            return None
        for channel, offset in chunk.message_index_offsets.items():
            entries = _entries(storage.bio, channel, offset)
            # rosbags passes over chunks of which it counts no messages, and those of other times.
            if (entries is None or len(entries) != chunk.channel_count.get(channel)
                    or (entries < chunk.message_start_time).any()
                    or (entries > chunk.message_end_time).any()):
                return None
            found.setdefault(channel, []).append(entries)
    listed = {channel: np.concatenate(entries) for channel, entries in found.items()}
    claimed = storage.statistics.message_count if storage.statistics else 0
    return listed if sum(map(len, listed.values())) >= claimed else None


def _entries(file: Any, channel: int, offset: int) -> np.ndarray | None:
    """Return the times in the message index at an offset; None if there is no such index."""
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
