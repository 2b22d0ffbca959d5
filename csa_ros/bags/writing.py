"""Bags with masks beside the original messages: written a part at a time, then put together."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any
from typing import Final

from csa_ros.bags.jobs import Job
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.labelling import OUTPUTS
from csa_ros.bags.reading import IMAGE
from csa_ros.bags.reading import Recording
from csa_ros.bags.reading import TYPES
from csa_ros.bags.workspace import Workspace
from csa_ros.segmenter import Result
from csa_ros.urls import reached
import numpy as np
from rosbags.interfaces import Connection
from rosbags.interfaces import Qos
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosHistory
from rosbags.interfaces import QosLiveliness
from rosbags.interfaces import QosReliability
from rosbags.interfaces import QosTime
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores
from rosbags.typesys import TypesysError
import yaml

# Humble cannot read the QoS of version 9; all distributions read those of this one.
_VERSION: Final = 8
_PLUGINS = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
_STRING = 'std_msgs/msg/String'
_INFO = 'vision_msgs/msg/LabelInfo'
_CLASS = 'vision_msgs/msg/VisionClass'
_INFORMATION = 'rosbag2_bagfile_information'
# REP 2016. The writer asks for a hash, and of some types nothing more than the name is known.
_NO_HASH = f'RIHS01_{0:064x}'
_FOREVER = QosTime(9223372036, 854775807)
# Installed or not, the message is the same.
TYPES.register({
    **get_types_from_msg('uint16 class_id\nstring class_name', _CLASS),
    **get_types_from_msg(
        'std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold', _INFO)})


class BagPart:
    """
    One part of a bag: a bag of its own in `folder`, with one file.

    What masks mean (`legend` and `label_info`) comes before the first mask, with a stamp that is
    not after it, by the rule of `csa_ros.ros.outputs.LegendOutput`. That is so in each part: its
    file can be read without the others. A mask is recorded at the time of its image.
    """

    def __init__(self, folder: Path, index: int, recording: Recording, job: Job,
                 labeller: Labeller) -> None:
        self._writer = Writer(folder / _name(job, index), version=_VERSION,
                              storage_plugin=_PLUGINS[job.storage])
        self._recording = recording
        self._job = job
        self._labeller = labeller
        self._legend_stamp: int | None = None

    def __enter__(self) -> 'BagPart':
        self._writer.open()
        self._copies = {item.id: self._like(item) for item in self._recording.connections}
        self._legend = self._create('legend', _STRING, QosDurability.TRANSIENT_LOCAL)
        self._info = self._create('label_info', _INFO, QosDurability.TRANSIENT_LOCAL)
        self._masks = {(topic, output): self._create(camera + output, IMAGE,
                                                     QosDurability.VOLATILE)
                       for topic, camera in self._job.cameras.items()
                       for output in self._job.request.outputs}
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def copy(self, connection: Connection, time: int, data: bytes) -> None:
        """Write a message of the recording as it is."""
        self._writer.write(self._copies[connection.id], time, data)

    def add(self, topic: str, time: int, header: Any, result: Result) -> None:
        """Write the masks of an image of `topic`, which was recorded at `time`."""
        self._cover(header.stamp, time)
        for output, mask in self._labeller.masks(result).items():
            self._write(
                self._masks[topic, output], time, IMAGE, header=header, height=mask.shape[0],
                width=mask.shape[1], encoding=OUTPUTS[output], is_bigendian=0, step=mask[0].size,
                data=np.ascontiguousarray(mask).reshape(-1))

    def _cover(self, stamp: Any, time: int) -> None:
        """Make a legend hold for a mask of this stamp, which is written next."""
        nanoseconds = stamp.sec * 10**9 + stamp.nanosec
        if self._legend_stamp is None or nanoseconds < self._legend_stamp:
            self._legend_stamp = min(nanoseconds, 0)
            sec, nanosec = divmod(self._legend_stamp, 10**9)
            legend = {**self._labeller.legend, 'stamp': {'sec': sec, 'nanosec': nanosec}}
            self._write(self._legend, time, _STRING,
                        data=json.dumps(legend, ensure_ascii=False))
            self._write(self._info, time, _INFO,
                        header=_header(sec, nanosec),
                        class_map=[TYPES.types[_CLASS](item['id'], item['name'])
                                   for item in legend['classes']],
                        threshold=self._labeller.threshold)

    def _write(self, connection: Connection, time: int, kind: str, **fields: Any) -> None:
        message = TYPES.types[kind](**fields)
        self._writer.write(connection, time, TYPES.serialize_cdr(message, kind))

    def _create(self, topic: str, kind: str, durability: QosDurability) -> Connection:
        """Add a topic of the node, with the QoS that it has there."""
        return self._writer.add_connection(
            f'/{self._job.request.name}/{topic}', kind, typestore=TYPES,
            offered_qos_profiles=[Qos(
                QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, durability, _FOREVER, _FOREVER,
                QosLiveliness.AUTOMATIC, _FOREVER, False)])

    def _like(self, connection: Connection) -> Connection:
        """Add a topic as it is in the recording."""
        for known in self._writer.connections:
            # Several publishers of a topic, which the storage has told apart.
            if (known.topic, known.msgtype, known.ext) == (
                    connection.topic, connection.msgtype, connection.ext):
                return known
        definition, digest = _definition(connection)
        return self._writer.add_connection(
            connection.topic, connection.msgtype, msgdef=definition, rihs01=digest,
            **connection.ext._asdict())


def assemble(folders: Sequence[Path], job: Job, space: Workspace) -> None:
    """
    Make one bag of parts in this order, by moving their files and without reading them.

    It is no bag, for want of metadata.yaml, before all is there. After an interruption it may be
    called again.
    """
    found: list[dict[str, Any]] = []
    files: list[tuple[Path, str]] = []
    for index, folder in enumerate(folders):
        bag = folder / _name(job, index)
        with reached(bag):
            metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())[_INFORMATION]
        if metadata['message_count']:
            found.append(metadata)
            name, = metadata['relative_file_paths']
            files.append((bag / name, name))
    space.move(files, job.out)
    with space.written(job.out / 'metadata.yaml') as draft:
        draft.write_text(yaml.safe_dump({_INFORMATION: _merge(found)}, sort_keys=False))


def _name(job: Job, index: int) -> str:
    """Return what the file of a part is called, without its suffix."""
    # `ros2 bag record` numbers the files of a bag that is split like this.
    return f'{job.out.resolve().name}_{index}'


def _merge(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata of one bag with the files of several that have the same topics."""
    starts = [item['starting_time']['nanoseconds_since_epoch'] for item in found]
    ends = [start + item['duration']['nanoseconds'] for start, item in zip(starts, found)]
    topics = [{**same[0], 'message_count': sum(topic['message_count'] for topic in same)}
              for same in zip(*(item['topics_with_message_count'] for item in found))]
    for topic in topics:
        if topic['topic_metadata']['type_description_hash'] == _NO_HASH:
            # Readers compare any other with their own.
            topic['topic_metadata']['type_description_hash'] = ''
    return {
        **found[0],
        'relative_file_paths': [path for item in found for path in item['relative_file_paths']],
        'files': [file for item in found for file in item['files']],
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'message_count': sum(item['message_count'] for item in found),
        'topics_with_message_count': topics,
    }


def _header(sec: int, nanosec: int) -> Any:
    stamp = TYPES.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return TYPES.types['std_msgs/msg/Header'](stamp=stamp, frame_id='')


def _definition(connection: Connection) -> tuple[str, str]:
    """Return the definition of a connection's type and its hash, as far as they can be known."""
    definition, digest, kind = connection.msgdef.data, connection.digest, connection.msgtype
    if not definition and kind in TYPES.fielddefs:
        # Recorders up to Humble store none.
        definition, _ = TYPES.generate_msgdef(kind, ros_version=2)
    if not digest and definition:
        types = get_typestore(Stores.EMPTY)
        try:
            types.register(get_types_from_msg(definition, kind))
            digest = types.hash_rihs01(kind)
        except (TypesysError, KeyError):
            digest = _NO_HASH
    return definition, digest or _NO_HASH
