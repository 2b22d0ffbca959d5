"""Which topics of a bag are segmented, and what the topics of their masks are called."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
import json
import re

from csa_ros.bags.errors import BagError
from csa_ros.bags.reading import IMAGE
from csa_ros.bags.reading import IMAGES
from csa_ros.bags.reading import message_of
from csa_ros.bags.reading import Recording
from csa_ros.ros.content import Content
from csa_ros.ros.content import judge_compressed
from csa_ros.ros.content import judge_encoding
from csa_ros.ros.content import spelled
from csa_ros.ros.content import Verdict
from csa_ros.ros.images import ImageError
from rosbags.interfaces import Connection
from rosbags.interfaces import ConnectionExtRosbag2

_COMPRESSED = '/compressed'
_STRING = 'std_msgs/msg/String'
_LEGEND = 'legend'
_SILENT = 'it has no messages'
# Of the messages of a topic, those that may decide what it holds: the first can be damaged.
_DECIDING = 10
# Images that a segment node publishes, behind its name and that of a camera.
_OUTPUTS = ('labels', 'labels/compressed', 'overlay', 'overlay/compressed', 'confidence', 'mask',
            'autoware_mask', 'heat', 'segments')


def choose(recording: Recording, asked: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """
    Return the image topics to segment, sorted, and those left out with the reason.

    Without `asked` they are all that hold pictures, save those that a segment node published, and
    compressed ones of a camera whose raw images are there as well. Raises BagError for a topic
    that is not there or holds no images, and if there is none at all.
    """
    types = {connection.topic: connection.msgtype for connection in recording.connections}
    pictures = {connection.topic for connection in recording.connections
                if connection.msgtype in IMAGES}
    for topic in asked:
        if topic not in types:
            raise BagError(f'{recording.path} has no topic {topic}. {_list(types, pictures)}')
        if topic not in pictures:
            raise BagError(f'topic {topic} of {recording.path} holds {types[topic]}, no images. '
                           f'{_list(types, pictures)}')
        if foreign := _foreign(_connections(recording, topic)):
            raise BagError(f'topic {topic} of {recording.path} cannot be read: {foreign}')
        # A recording of which nothing is there, or that is compressed, shows now and not later.
        if next(recording.messages(connections=_connections(recording, topic)), None) is None \
                and not recording.count:
            raise BagError(f'{recording.path} has no messages: the recorder was ended before any '
                           'came, or nobody published; see `ros2 bag info`')
    if asked:
        return sorted(set(asked)), {}
    left_out = {topic: f'the segment node {node} published it'
                for topic, node in _published(recording, pictures)}
    for topic in sorted(pictures - set(left_out)):
        if reason := _why_not(recording, topic):
            left_out[topic] = reason
    for topic in sorted(pictures - set(left_out)):
        raw = topic.removesuffix(_COMPRESSED)
        if raw != topic and raw in pictures and left_out.get(raw) != _SILENT:
            left_out[topic] = f'{raw} is the same camera'
    chosen = sorted(pictures - set(left_out))
    if not chosen:
        reasons = ''.join(f' {topic} is left out: {why}.' for topic, why in left_out.items())
        raise BagError(f'{recording.path} has no image topic to segment.{reasons}' if reasons else
                       f'{recording.path} has no image topic. {_list(types, pictures)}')
    return chosen, left_out


def cameras(topics: Iterable[str]) -> dict[str, str]:
    """
    Return what stands before `labels` in the topics of the masks, for each image topic.

    It is empty for a single topic, as in the node. Of several it is the camera's namespace
    (`front` for `/front/image_raw`), or the whole topic if namespaces do not tell them apart.
    """
    topics = list(topics)
    if len(topics) == 1:
        return {topics[0]: ''}
    # Names in a file are whatever somebody put there; these become names of files, too.
    whole = {topic: re.sub(r'[^\w/]', '_', topic, flags=re.ASCII).strip('/') or '_'
             for topic in topics}
    spaces = {topic: name.removesuffix(_COMPRESSED).rpartition('/')[0]
              for topic, name in whole.items()}
    names = spaces if all(spaces.values()) and _differ(spaces) else whole
    if not _differ(names):
        raise BagError(f'the topics {", ".join(topics)} would have masks of the same name; '
                       'segment them one by one, with --topics')
    return {topic: f'{name}/' for topic, name in names.items()}


def _differ(names: dict[str, str]) -> bool:
    return len(set(names.values())) == len(names)


def _published(recording: Recording, pictures: set[str]) -> Iterator[tuple[str, str]]:
    """
    Yield the image topics that a segment node published, each with the name of the node.

    It is known by its legend, wherever that is; of a camera whose topic is called `overlay`
    nobody publishes one.
    """
    for connection in recording.connections:
        node, _, name = connection.topic.rpartition('/')
        if name != _LEGEND or connection.msgtype != _STRING or not node:
            continue
        known = _is_legend(recording, connection)
        for topic in sorted(pictures):
            for output in _OUTPUTS:
                camera = topic.removesuffix(f'/{output}')
                if camera != topic and f'{camera}/'.startswith(f'{node}/') and (
                        known or {f'{camera}/labels', f'{camera}/overlay'} <= pictures):
                    yield topic, node
                    break


def _is_legend(recording: Recording, connection: Connection) -> bool:
    """Tell whether a topic holds legends of a segment node."""
    for _, _, data in islice(recording.messages(connections=(connection,)), _DECIDING):
        with suppress(ImageError, ValueError):
            legend = json.loads(message_of(_STRING, data).data)
            if isinstance(legend, dict) and {'version', 'classes', 'unknown_id'} <= set(legend):
                return True
    return False


def _why_not(recording: Recording, topic: str) -> str:
    """Return why a topic holds no pictures, empty if it does or nothing can be told."""
    connections = _connections(recording, topic)
    if foreign := _foreign(connections):
        return foreign
    if not any(connection.msgcount for connection in connections):
        return _SILENT
    reasons = []
    for connection, _, data in islice(recording.messages(connections=connections), _DECIDING):
        verdict = _judge(connection.msgtype, data)
        if verdict.content is Content.PICTURE:
            return ''
        if verdict.content is not Content.DAMAGED:
            reasons.append(verdict.reason)
    return reasons[0] if reasons else ''


def _judge(msgtype: str, data: bytes) -> Verdict:
    """Return what a message holds; one that is damaged or empty says nothing of its topic."""
    try:
        message = message_of(msgtype, data)
    except ImageError as error:
        return Verdict(Content.DAMAGED, str(error))
    if not message.data.size:
        return Verdict(Content.DAMAGED, 'it has no data')
    if msgtype == IMAGE:
        verdict = judge_encoding(message.encoding)
        if spelled(message.encoding) == '16UC1':
            hint = 'name it with --topics if it is that of a thermal camera'
            return verdict._replace(reason=f'{verdict.reason}; {hint}')
        return verdict
    return judge_compressed(message.format, bytes(message.data[:16]))


def _foreign(connections: Iterable[Connection]) -> str:
    """Return why messages cannot be deserialized, empty if they can."""
    formats = {item.ext.serialization_format for item in connections
               if isinstance(item.ext, ConnectionExtRosbag2)} - {'cdr', ''}
    return (f'its messages are {", ".join(sorted(formats))}, not CDR as `ros2 bag record` writes '
            'it') if formats else ''


def _connections(recording: Recording, topic: str) -> tuple[Connection, ...]:
    return tuple(item for item in recording.connections
                 if item.topic == topic and item.msgtype in IMAGES)


def _list(types: dict[str, str], pictures: set[str]) -> str:
    shown = sorted(pictures) or [f'{topic} ({kind})' for topic, kind in sorted(types.items())]
    kind = 'Its image topics' if pictures else 'Its topics'
    return f'{kind}: {", ".join(shown) or "none"}'
