"""A recorded bag: what it holds, its messages as they are, and pictures out of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
_TO_RGB = {IMAGE: images.to_rgb, COMPRESSED_IMAGE: compressed.to_rgb}
_STORAGES = {'mcap': 'mcap', 'db3': 'sqlite3'}


class BagError(ValueError):
    """A bag, or what is asked of it, cannot be used; the text names it and the next step."""


class Recording:
    """
    A rosbag2 recording, of any storage and compression that `rosbags` reads.

    `path` is a bag's folder, or one file of storage, which is opened; leaving it as a context
    manager closes it. Raises BagError if it is no bag. `start` and `end` are in nanoseconds of
    recording time, `end` after the last message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check()
        try:
            self._reader = Reader(path)
            self._reader.open()
        except Exception as error:  # damaged files make the library raise whatever comes
            raise BagError(
                f'{self.path} cannot be read as a bag: {str(error).rstrip(".")}. If the recorder '
                f'was cut off, repair it with `ros2 bag reindex {self.path}` or `mcap recover`'
            ) from error

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def name(self) -> str:
        """Name of the bag, without the suffix of a file."""
        return self.path.resolve().name.removesuffix('.db3').removesuffix('.mcap')

    @property
    def start(self) -> int:
        """Time of the first message."""
        return self._reader.start_time

    @property
    def end(self) -> int:
        """Time after the last message."""
        return self._reader.end_time

    @property
    def count(self) -> int:
        """Return the number of messages."""
        return self._reader.message_count

    @property
    def connections(self) -> list[Connection]:
        """Who published what; a topic may have several."""
        return self._reader.connections

    @property
    def storage(self) -> str:
        """Return `mcap` or `sqlite3`, the kind of its files."""
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        # A compressed file ends in `.mcap.zstd`.
        return next((_STORAGES[suffix] for file in files for suffix in file.name.split('.')[1:]
                     if suffix in _STORAGES), 'mcap')

    def messages(self, start: int | None = None, stop: int | None = None,
                 connections: tuple[Connection, ...] = ()
                 ) -> Iterator[tuple[Connection, int, bytes]]:
        """
        Yield the messages of `start` <= time < `stop` in order: who, when, and the bytes.

        Raises BagError where the storage is damaged.
        """
        try:
            yield from self._reader.messages(connections, start, stop)
        except Exception as error:
            raise BagError(
                f'{self.path} is damaged and cannot be read to its end: '
                f'{str(error).rstrip(".")}. Repair it with `ros2 bag reindex {self.path}` or '
                '`mcap recover`') from error

    def _check(self) -> None:
        """Find the usual mistakes, which the library has no words for."""
        if not self.path.exists():
            raise BagError(f'there is no bag {self.path}; check the path')
        if self.path.suffix == '.bag':
            raise BagError(f'{self.path} is a bag of ROS 1: convert it first, with '
                           f'`rosbags-convert --src {self.path} --dst FOLDER`')
        if self.path.is_dir() and not (self.path / 'metadata.yaml').exists():
            stored = any(file.suffix[1:] in _STORAGES for file in self.path.iterdir())
            raise BagError(
                f'{self.path} is no bag: it has no metadata.yaml; ' + (
                    f'the recorder was cut off, run `ros2 bag reindex {self.path}`' if stored
                    else 'name the folder that `ros2 bag record` made, or a .mcap or .db3 file'))


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
