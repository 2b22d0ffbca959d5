"""Why nothing can arrive on a topic that is listened to, as far as the graph tells."""

from collections.abc import Mapping
from difflib import SequenceMatcher

from rclpy.node import Node

CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
# What image_transport puts behind the topic of the images.
_COMPRESSED = '/compressed'
# Transports that send CompressedImage, too, but no picture that we can read.
_UNREADABLE = ('/compressedDepth', '/zstd')
_SHOWN = 3


def explain_images(node: Node, asked: str, transport: str) -> str:
    """
    Return why no image can arrive and what to do; nothing if they are published on the topic.

    `asked` is the topic of the raw images, before remapping. The answer calls the topic that is
    listened to `it`.
    """
    base = node.resolve_topic_name(asked)
    topic, type_name = ((base, IMAGE) if transport == 'raw' else
                        (node.resolve_topic_name(base + _COMPRESSED), COMPRESSED_IMAGE))
    types = _published(node, topic)
    if type_name in types:
        return ''
    advice = (_find_images(node, asked, base, transport)
              or _choose_images(node, asked, transport))
    return f'{_describe("it", types, type_name)}: {advice}'


def explain_topic(node: Node, asked: str, type_name: str, parameter: str) -> str:
    """
    Return what is wrong with a topic and what to do; nothing if its type is published on it.

    `asked` is the topic before remapping, and `parameter` where it can be given.
    """
    topic = node.resolve_topic_name(asked)
    types = _published(node, topic)
    if type_name in types:
        return ''
    others = [name for name, kinds in _others(node).items() if type_name in kinds]
    return (f'{_describe(topic, types, type_name)}: '
            f'{_choose(node, asked, parameter, dict(zip(others, others)))}')


def _find_images(node: Node, asked: str, base: str, transport: str) -> str:
    """Return what to do if there is a topic that must be meant."""
    topic = node.resolve_topic_name(base + _COMPRESSED)
    # Elsewhere, if there is a rule for it beside that for the images.
    remapped = node.resolve_topic_name(asked + _COMPRESSED)
    if COMPRESSED_IMAGE in _published(node, base) and not base.endswith(_UNREADABLE):
        if base.endswith(_COMPRESSED):
            return ('with `transport: compressed` give the base topic, '
                    f'{base.removesuffix(_COMPRESSED)}, as image_topic')
        return ('with `transport: compressed` remap what that listens to: --ros-args -r '
                f'{base}{_COMPRESSED}:={base}')
    if transport == 'raw' and COMPRESSED_IMAGE in _published(node, topic):
        return f'there is {topic}, for which set `transport: compressed`'
    if transport == 'compressed' and IMAGE in _published(node, base):
        return f'there is {base}, for which set `transport: raw`'
    if transport == 'compressed' and IMAGE in _published(node, topic):
        return f'with `transport: raw` give {topic} as image_topic'
    if remapped != topic and COMPRESSED_IMAGE in _published(node, remapped):
        return (f'{asked}{_COMPRESSED} is remapped to {remapped}: for that set `transport: '
                f'compressed` and leave {asked} as it is')
    return ''


def _choose_images(node: Node, asked: str, transport: str) -> str:
    shown: dict[str, str] = {}
    for topic, types in _others(node).items():
        if IMAGE in types and (transport == 'raw' or topic not in shown):
            shown[topic] = topic if transport == 'raw' else f'{topic} (`transport: raw`)'
        base = topic.removesuffix(_COMPRESSED)
        if COMPRESSED_IMAGE in types and base != topic:
            if transport == 'compressed':
                shown[base] = base
            else:
                shown.setdefault(base, f'{base} (`transport: compressed`)')
    return _choose(node, asked, 'image_topic', shown)


def _choose(node: Node, asked: str, parameter: str, shown: Mapping[str, str]) -> str:
    """Return what to do with what may be meant, which is shown as the values of its topics."""
    topic = node.resolve_topic_name(asked)
    nearest = sorted(shown, key=lambda name: (-SequenceMatcher(None, topic, name).ratio(), name))
    remap = f'--ros-args -r {asked}:={nearest[0] if nearest else "/the/topic"}'
    if not nearest:
        return (f'find the camera with `ros2 topic list -t` and give its topic as {parameter}, or '
                f'remap: {remap}')
    more = f' and {len(nearest) - _SHOWN} more' if len(nearest) > _SHOWN else ''
    there = ', '.join(shown[name] for name in nearest[:_SHOWN])
    return f'there is {there}{more}; give the right one as {parameter}, or remap: {remap}'


def _describe(topic: str, types: set[str], type_name: str) -> str:
    if not types:
        return f'nobody publishes {topic}'
    return f'{topic} carries {", ".join(sorted(types))}, not {type_name}'


def _published(node: Node, topic: str) -> set[str]:
    """Return the types that are published on a topic."""
    return {item.topic_type for item in node.get_publishers_info_by_topic(topic)}


def _others(node: Node) -> dict[str, set[str]]:
    """Return the types that others than this node publish, by their topics."""
    own = (node.get_name(), node.get_namespace())
    found = {topic: {item.topic_type for item in node.get_publishers_info_by_topic(topic)
                     if (item.node_name, item.node_namespace) != own}
             for topic, _ in node.get_topic_names_and_types()}
    return {topic: types for topic, types in found.items() if types}
