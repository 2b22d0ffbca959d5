"""Which cameras there are, and which topics each of them is read from."""

from collections.abc import Mapping
from dataclasses import dataclass
import re
from typing import Any

from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.names import read_names

MAX_CAMERAS = 16
# Of the 247 characters that a topic may have; the rest is for namespaces and /compressed.
MAX_TOPIC = 230
# The name of the only camera, whose topics have no name of a camera before them.
ONLY_CAMERA = ''
# Parameters by what they are the topics of.
TOPICS = {'image': 'image_topic', 'depth': 'depth_topic', 'camera_info': 'camera_info_topic'}
# Relative topics without substitutions, and none that is hidden, as those with _ in front are.
_CAMERA = re.compile(r'[A-Za-z]\w*(/[A-Za-z_]\w*)*', re.ASCII)
_TOPIC = re.compile(r'(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
# What stands for the name of a camera in a pattern, with what to put if it has none.
_PLACEHOLDER = re.compile(r'{camera(?::(?P<nameless>[^{}]*))?}')
_BRACES = re.compile(r'{[^{}]*}?|}')


@dataclass(frozen=True)
class CameraTopics:
    """A camera by its name, and the topics that it is read from, before remapping."""

    name: str
    image: str
    depth: str
    camera_info: str


def read_cameras(values: Mapping[str, Any]) -> tuple[CameraTopics, ...]:
    """
    Return the cameras of the parameters `cameras`, `image_topic`, `depth_topic`, ...

    A topic may be a pattern for all cameras, or a list with one for each. In a pattern `{camera}`
    stands for the name of the camera, and `{camera:zed}` for `zed` if it has none. One that is
    empty or not given is `image`, `depth` or `camera_info`, with the name before it if there is
    one. Raises ParameterError.
    """
    names = _read_cameras(values.get('cameras', ''))
    topics = [_read_topics(parameter, values.get(parameter, ''), kind, names)
              for kind, parameter in TOPICS.items()]
    return tuple(map(CameraTopics, names, *topics))


def _read_cameras(value: Any) -> tuple[str, ...]:
    names = read_names('cameras', value)
    if len(names) > MAX_CAMERAS:
        raise ParameterError(f'cameras has {len(names)} names, more than {MAX_CAMERAS}: start '
                             'another node for the rest')
    for name in names:
        if not _CAMERA.fullmatch(name):
            raise ParameterError(f'cameras: {name!r} is no name for topics: use letters, digits '
                                 'and _, with / between names, and begin with a letter, as it is '
                                 "put before 'image' and after '~/'")
    return names or (ONLY_CAMERA,)


def _read_topics(parameter: str, value: Any, kind: str, cameras: tuple[str, ...]
                 ) -> list[str]:
    """Return the topic of each camera."""
    named = cameras != (ONLY_CAMERA,)
    patterns = read_names(parameter, value) or (f'{{camera}}/{kind}' if named else kind,)
    if len(patterns) == 1:
        patterns *= len(cameras)
    if len(patterns) != len(cameras):
        raise ParameterError(
            f'{parameter} has {len(patterns)} topics, but cameras has '
            f'{len(cameras) if named else "no"} names: give one topic with {{camera}} in it, or '
            'one for each camera, in their order')
    owners: dict[str, str] = {}
    for pattern, camera in zip(patterns, cameras):
        topic = _fill(parameter, pattern, camera)
        _check_topic(parameter, topic)
        if topic in owners:
            raise ParameterError(
                f'{parameter} gives the cameras {owners[topic]} and {camera} the same topic, '
                f'{topic}: put {{camera}} where their names stand in it, as in '
                f'/{{camera}}/{kind}, or list one topic for each')
        owners[topic] = camera
    return list(owners)


def _fill(parameter: str, pattern: str, camera: str) -> str:
    """Return a pattern with the name of a camera in it."""
    for found in _BRACES.findall(pattern):
        place = _PLACEHOLDER.fullmatch(found)
        if not place:
            raise ParameterError(f'{parameter} is {pattern!r}: it cannot have {found}, only '
                                 '{camera}, for which the names in cameras are put')
        if camera == ONLY_CAMERA and place['nameless'] is None:
            raise ParameterError(f'{parameter} is {pattern!r}, but cameras has no name to put for '
                                 '{camera}: name them, as in cameras: [front, left], or write '
                                 'the topic as it is')
    return _PLACEHOLDER.sub(lambda place: camera or place['nameless'], pattern)


def _check_topic(parameter: str, topic: str) -> None:
    if len(topic) > MAX_TOPIC:
        raise ParameterError(f'{parameter} has a topic of {len(topic)} characters, more than '
                             f'{MAX_TOPIC}: shorten {topic[:40]!r}...')
    if not _TOPIC.fullmatch(topic):
        raise ParameterError(f'{parameter}: {topic!r} is no name of a topic: use letters, digits '
                             'and _, with single / between names that begin with no digit, as '
                             "in '/camera/color/image_raw'")
