"""A recorded bag: what it holds, its messages as they are, and pictures out of them."""

from collections.abc import Collection
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from csa_ros import urls
from csa_ros.bags import index
from csa_ros.bags import remote
from csa_ros.bags import storage
from csa_ros.bags.errors import BagError
from csa_ros.ros import compressed
from csa_ros.ros import images
from csa_ros.ros.images import ImageError
from csa_ros.sample_range import SampleRange
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
# Of the messages that are read and written here, all distributions have the same definitions; of
# the others, the bytes are copied.
TYPES = get_typestore(Stores.ROS2_HUMBLE)
IMAGES = (IMAGE, COMPRESSED_IMAGE)
_TO_RGB = {IMAGE: images.to_rgb, COMPRESSED_IMAGE: compressed.to_rgb}


@dataclass(frozen=True)
class Survey:
    """
    What the indexes of a recording say: its `start` and `end`, 0 if it has no message.

    Of each file, `scanned` tells whether its indexes are not complete.
    """

    start: int
    end: int
    scanned: tuple[bool, ...]


class Recording:
    """
    A rosbag2 recording, of any storage and compression that `rosbags` reads.

    `path` is a bag's folder, or one file of storage, which is opened; leaving it as a context
    manager closes it. Raises BagError if it is no bag. `start` and `end` are in nanoseconds of
    recording time, `end` after the last message; both are 0 if there is none.

    What it says of its messages is what its files hold. `remarks` are sentences on what its
    metadata say otherwise.

    `survey` is that of the same recording, opened before, which then need not be made again. This
    saves the reading of all indexes, so that it tells no `times`, and counts by the metadata.
    Raises StorageError if a URL cannot be reached.
    """

    def __init__(self, path: Path, survey: Survey | None = None) -> None:
        self.path = path
        self.remarks: list[str] = []
        with urls.reached(path):
            if not survey:
                storage.check(path)
            self._reader = Reader(remote.path_for_rosbags(path) if urls.is_remote(path) else path)
        try:
            self._reader.open()
        except Exception as error:  # damaged files make the library raise whatever comes
            raise urls.failure_of(path, error) or BagError(
                f'{path} cannot be read as a bag: {_reason(error)}. '
                f'{_advice(path, error)}') from error
        # A folder has several.
        self._files = getattr(self._reader.storage, 'storages', [self._reader.storage])
        self.connections: list[Connection] = []
        self._times: dict[int, np.ndarray] = {}
        try:
            self.survey = self._follow(survey) if survey else self._make_survey()
        except Exception as error:
            self._reader.close()
            raise self._damaged(error) from error
        self.start, self.end = self.survey.start, self.survey.end
        self._owners = {_key(item): _like(item, self.connections) for item in self._stored}

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def name(self) -> str:
        """Name of the bag, without the suffix of a file."""
        return self.path.resolve().name.removesuffix('.db3').removesuffix('.mcap')

    @property
    def count(self) -> int:
        """Return the number of messages."""
        return sum(connection.msgcount for connection in self.connections)

    @property
    def storage(self) -> str:
        """Return `mcap` or `sqlite3`, the kind of its files."""
        # A compressed file ends in `.mcap.zstd`.
        return next((storage.STORAGES[suffix] for file in storage.stored_files(self.path)
                     for suffix in file.name.split('.')[1:] if suffix in storage.STORAGES), 'mcap')

    def times(self, topics: Collection[str]) -> np.ndarray:
        """Return when the messages of these topics were recorded: (N,) int64, ascending."""
        chosen = [self._times[connection.id] for connection in self.connections
                  if connection.topic in topics]
        return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))

    def messages(self, start: int | None = None, stop: int | None = None,
                 connections: Collection[Connection] = ()
                 ) -> Iterator[tuple[Connection, int, bytes]]:
        """
        Yield the messages of `start` <= time < `stop` in order: who, when, and the bytes.

        Of one time the order is always the same. Raises BagError where the storage is damaged.
        """
        wanted = {connection.id for connection in connections or self.connections}
        stored = [item for item in self._stored if self._owners[_key(item)].id in wanted]
        if not stored:
            return
        try:
            # With both limits, whatever they are, as databases may order by the question.
            for item, time, data in self._reader.messages(
                    stored, self.start if start is None else start,
                    self.end if stop is None else stop):
                if data[:4] == storage.ZSTD:
                    raise BagError(storage.explain_compressed(self.path))
                yield self._owners[_key(item)], time, data
        except BagError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def _make_survey(self) -> Survey:
        """Find what there is, in the files themselves."""
        claimed = {item.topic: 0 for item in self._reader.connections}
        for item in self._reader.connections:
            claimed[item.topic] += item.msgcount
        surveyed = [index.times(file) for file in self._files]
        times = [found for found, _ in surveyed]
        self._find_connections()
        stamps: dict[int, list[np.ndarray]] = {item.id: [] for item in self.connections}
        for file, of_file in zip(self._files, times):
            for item in file.connections:
                if item.id in of_file:
                    stamps[_like(item, self.connections).id].append(of_file.pop(item.id))
        self._times = {number: np.concatenate([np.empty(0, np.int64), *parts])
                       for number, parts in stamps.items()}
        self.connections = [item._replace(msgcount=len(self._times[item.id]))
                            for item in self.connections]
        every = self.times(claimed.keys() | {item.topic for item in self.connections})
        start, end = (int(every[0]), int(every[-1]) + 1) if every.size else (0, 0)
        self._compare(claimed, sum(len(rest) for of_file in times for rest in of_file.values()))
        return Survey(start, end, tuple(scanned for _, scanned in surveyed))

    def _follow(self, survey: Survey) -> Survey:
        """Go by what another has found in the files."""
        for file in compress(self._files, survey.scanned):
            index.scan(file)
        self._find_connections()
        return survey

    def _find_connections(self) -> None:
        self._stored = [item for file in self._files for item in file.connections]
        self.connections = _merge(self._reader.connections, self._stored)

    def _compare(self, claimed: dict[str, int], nameless: int) -> None:
        """Remark on what is said to be there and is not."""
        self.remarks += storage.strangers(self.path)
        if nameless:
            self.remarks.append(f'{nameless} messages belong to no topic that it names, and are '
                                'left out')
        held = dict.fromkeys(claimed, 0)
        for item in self.connections:
            held[item.topic] = held.get(item.topic, 0) + item.msgcount
        lost = [topic for topic in sorted(claimed) if claimed[topic] > held[topic]]
        if lost:
            topic = lost[0]
            self.remarks.append(
                f'it counts {claimed[topic]} messages of {topic}, and holds {held[topic]}; '
                'what is there is used')

    def _damaged(self, error: Exception) -> Exception:
        return urls.failure_of(self.path, error) or BagError(
            f'{self.path} is damaged and cannot be read to its end: '
            f'{_reason(error)}. {_advice(self.path, error)}')


def _full(kind: str) -> str:
    """Return the name of a type with its `msg`, which rosbag2 takes to be there."""
    package, _, name = kind.partition('/')
    return kind if '/' in name or not name else f'{package}/msg/{name}'


def _merge(claimed: Collection[Connection], stored: Collection[Connection]) -> list[Connection]:
    """
    Return what the metadata claim and, beyond that, what the files hold, numbered from 1.

    Types are spelled out.
    """
    merged: list[Connection] = []
    for item in [*claimed, *stored]:
        full = item._replace(id=len(merged) + 1, msgtype=_full(item.msgtype))
        if len(merged) < len(claimed):
            definitions = [other.msgdef for other in stored if other.msgdef.data
                           and _full(other.msgtype) == full.msgtype]
            merged.append(full if full.msgdef.data or not definitions
                          else full._replace(msgdef=definitions[0]))
        elif _like(item, merged) is None:
            merged.append(full)
    return merged


def _like(item: Connection, among: Collection[Connection]) -> Any:
    """Return the connection of the same topic and type, and of the same QoS if one is, or None."""
    alike = [other for other in among
             if (other.topic, other.msgtype) == (item.topic, _full(item.msgtype))]
    return next((other for other in alike if other.ext == item.ext), alike[0] if alike else None)


def _key(connection: Connection) -> tuple[int, int]:
    """Return what tells a connection of a file from those of all files."""
    return id(connection.owner), connection.id


def _advice(path: Path, error: Exception) -> str:
    """Return what to do about what rosbags has raised."""
    # A key that it does not know is an encoding of types; of other things it says so.
    if isinstance(error, KeyError) or 'not supported' in str(error):
        return ('It may be sound, and is in a form that rosbags does not read: convert it with '
                '`ros2 bag convert`')
    return storage.remedy(path)


def _reason(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.')


def message_of(msgtype: str, data: bytes) -> Any:
    """Deserialize a message that TYPES knows; ImageError if the bytes are no such message."""
    try:
        return TYPES.deserialize_cdr(memoryview(data), msgtype)
    except SerdeError as error:
        raise ImageError(f'its {len(data)} bytes are no {msgtype}: {error}') from error


def picture_of(msgtype: str, data: bytes, samples: SampleRange | None = None
               ) -> tuple[Any, np.ndarray]:
    """
    Return the header of an image message and its picture, (H, W, 3) uint8 RGB.

    `msgtype` is IMAGE or COMPRESSED_IMAGE, `samples` what is known of 16-bit samples. Raises
    ImageError for what the node would drop.
    """
    message = message_of(msgtype, data)
    return message.header, _TO_RGB[msgtype](message, samples)
