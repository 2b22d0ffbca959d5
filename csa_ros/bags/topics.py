"""Which topics of a bag are segmented, and what the topics of their masks are called."""

from collections.abc import Iterable
from collections.abc import Sequence
import re

from csa_ros.bags.reading import BagError
from csa_ros.bags.reading import COMPRESSED_IMAGE
from csa_ros.bags.reading import IMAGE
from csa_ros.bags.reading import message_of
from csa_ros.bags.reading import Recording
from csa_ros.ros.images import ImageError

# Of depth images, by REP 118; nobody asks for them by asking for all images.
_DEPTH = ('16UC1', '32FC1')
_COMPRESSED = '/compressed'


def choose(recording: Recording, asked: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """
    Return the image topics to segment, sorted, and those left out with the reason.

    Without `asked` they are all that hold pictures, save compressed ones of a camera whose raw
    images are there as well. Raises BagError for a topic that is not there or holds no images, and
    if there is none at all.
    """
    types = {connection.topic: connection.msgtype for connection in recording.connections}
    pictures = {topic for topic, kind in types.items() if kind in (IMAGE, COMPRESSED_IMAGE)}
    for topic in asked:
        if topic not in types:
            raise BagError(f'{recording.path} has no topic {topic}. {_list(types, pictures)}')
        if topic not in pictures:
            raise BagError(f'topic {topic} of {recording.path} holds {types[topic]}, no images. '
                           f'{_list(types, pictures)}')
    if asked:
        return sorted(set(asked)), {}
    left_out = {topic: reason for topic in sorted(pictures)
                if (reason := _why_not(recording, topic, pictures))}
    chosen = sorted(pictures - set(left_out))
    if not chosen:
        reasons = ''.join(f' {topic} is left out: {why}.' for topic, why in left_out.items())
        raise BagError(f'{recording.path} has no image topic.{reasons} {_list(types, pictures)}')
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


def _why_not(recording: Recording, topic: str, pictures: set[str]) -> str:
    """Return why a topic is not among all images, empty if it is."""
    if topic.endswith(_COMPRESSED) and topic.removesuffix(_COMPRESSED) in pictures:
        return f'{topic.removesuffix(_COMPRESSED)} is the same camera'
    connections = tuple(item for item in recording.connections if item.topic == topic)
    first = next(recording.messages(connections=connections), None)
    if first is None:
        return 'it has no messages'
    try:
        message = message_of(connections[0].msgtype, first[2])
    except ImageError:
        return ''  # the others may be sound
    layout = message.encoding if connections[0].msgtype == IMAGE else message.format
    if layout in _DEPTH or 'compressedDepth' in layout:
        return f'it holds depth ({layout})'
    return ''


def _list(types: dict[str, str], pictures: set[str]) -> str:
    shown = sorted(pictures) or [f'{topic} ({kind})' for topic, kind in sorted(types.items())]
    kind = 'Its image topics' if pictures else 'Its topics'
    return f'{kind}: {", ".join(shown) or "none"}'
