"""Recorded bags for tests: written and read back with rosbags, beside what writes the results."""

from dataclasses import dataclass
import json

import cv2
import mcap.writer
import numpy as np
from rosbags.interfaces import Qos
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosHistory
from rosbags.interfaces import QosLiveliness
from rosbags.interfaces import QosReliability
from rosbags.interfaces import QosTime
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
STRING = 'std_msgs/msg/String'
STAMP = 1_700_000_000
SECOND = 10**9
# Recorded this long after the stamp, as every message is.
DELAY = 5_000_000
PERIOD = SECOND // 10
TYPES = get_typestore(Stores.ROS2_JAZZY)
BEST_EFFORT = Qos(
    QosHistory.KEEP_LAST, 5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, QosTime(0, 0),
    QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False)


@dataclass(frozen=True)
class Stored:
    """One message of a bag."""

    topic: str
    kind: str
    time: int
    data: bytes

    @property
    def message(self):
        return TYPES.deserialize_cdr(self.data, self.kind)


def frame(index, size=(120, 90)):
    """Return a picture that differs from those of all other indices: (h, w, 3) uint8."""
    width, height = size
    noise = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def header(index, frame_id='camera_optical'):
    sec, nanosec = divmod(STAMP * SECOND + index * PERIOD, SECOND)
    return TYPES.types['std_msgs/msg/Header'](
        stamp=TYPES.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec),
        frame_id=frame_id)


def raw(index, picture=None, encoding='rgb8', **changes):
    """Return an image message; `changes` replace fields of it."""
    picture = frame(index) if picture is None else picture
    fields = {'header': header(index), 'height': picture.shape[0], 'width': picture.shape[1],
              'encoding': encoding, 'is_bigendian': 0, 'step': picture[0].nbytes,
              'data': np.frombuffer(picture.tobytes(), np.uint8), **changes}
    return IMAGE, TYPES.types[IMAGE](**fields)


def compressed(index, declared, data):
    """Return a compressed image message of a format and bytes."""
    return COMPRESSED_IMAGE, TYPES.types[COMPRESSED_IMAGE](
        header=header(index), format=declared, data=np.frombuffer(data, np.uint8))


def jpeg(index):
    _, data = cv2.imencode('.jpg', cv2.cvtColor(frame(index), cv2.COLOR_RGB2BGR))
    return compressed(index, 'rgb8; jpeg compressed bgr8', data.tobytes())


def text(index):
    return STRING, TYPES.types[STRING](data=f'message {index}')


def time_of(index):
    """Return when the message of an index is recorded, in nanoseconds."""
    return STAMP * SECOND + index * PERIOD + DELAY


def camera(count, make=raw):
    return [make(index) for index in range(count)]


def kind_of(name, messages):
    """Return the type of a topic; of one without messages, by its name."""
    return messages[0][0] if messages else STRING if name.endswith('legend') else IMAGE


def record(path, storage='mcap', compression=CompressionMode.NONE, clock=None, **topics):
    """
    Write a bag with the messages of each topic, one every PERIOD, and return its path.

    `clock` gives the time of recording of each index, if that is another. A keyword is a topic's
    name, with `__` for a slash. Messages are a type with a message, or with the bytes that are
    stored for it.
    """
    plugin = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}[storage]
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        rows = []
        for name, messages in topics.items():
            connection = writer.add_connection(
                '/' + name.replace('__', '/'), kind_of(name, messages), typestore=TYPES,
                offered_qos_profiles=[BEST_EFFORT])
            rows += [((clock or time_of)(index), connection, kind, message)
                     for index, (kind, message) in enumerate(messages)]
        for time, connection, kind, message in sorted(rows, key=lambda row: row[0]):
            data = message if isinstance(message, bytes) else TYPES.serialize_cdr(message, kind)
            writer.write(connection, time, data)
    return path


def rewrite(bag, path, types=str, profile='ros2', coding='cdr', **options):
    """
    Write the messages of a bag to an MCAP with the library of MCAP, and return its path.

    `types` gives the name of a type there, and `options` are those of `mcap.writer.Writer`.
    """
    with open(path, 'wb') as file:
        writer = mcap.writer.Writer(file, **options)
        writer.start(profile)
        channels = {}
        for item in contents(bag):
            if item.topic not in channels:
                schema = writer.register_schema(types(item.kind), 'ros2msg', TYPES.generate_msgdef(
                    item.kind, ros_version=2)[0].encode())
                channels[item.topic] = writer.register_channel(item.topic, coding, schema)
            writer.add_message(channels[item.topic], item.time, item.data, item.time)
        writer.finish()
    return path


def contents(path):
    """Return all messages of a bag, in order."""
    with Reader(path) as reader:
        return [Stored(connection.topic, connection.msgtype, time, bytes(data))
                for connection, time, data in reader.messages()]


def of(stored, topic):
    """Return the messages of a topic."""
    return [item for item in stored if item.topic == topic]


def pixels(item):
    """Return the array of a stored rgb8 or mono8 image."""
    message = item.message
    return message.data.reshape(message.height, message.width, -1).squeeze()


def legend(item):
    return json.loads(item.message.data)
