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
# What stands for the name of a camera in a pattern.
PLACEHOLDER = '{camera}'
# Parameters by what they are the topics of.
TOPICS = {'image': 'image_topic', 'depth': 'depth_topic', 'camera_info': 'camera_info_topic'}
# Relative topics without substitutions, and none that is hidden, as those with _ in front are.
_CAMERA = re.compile(r'[A-Za-z]\w*(/[A-Za-z_]\w*)*', re.ASCII)
_TOPIC = re.compile(r'(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
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

    A topic may be a pattern for all cameras, or a list with one for each. One that is empty or not
    given is `image`, `depth` or `camera_info`, with the name of the camera before it if it has
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
    patterns = read_names(parameter, value) or (f'{PLACEHOLDER}/{kind}' if named else kind,)
    for pattern in patterns:
        _check_placeholders(parameter, pattern, named)
    if len(patterns) == 1:
        patterns *= len(cameras)
    if len(patterns) != len(cameras):
        raise ParameterError(
            f'{parameter} has {len(patterns)} topics, but cameras has '
            f'{len(cameras) if named else "no"} names: give one topic with {PLACEHOLDER} in it, '
            'or one for each camera, in their order')
    topics = [pattern.replace(PLACEHOLDER, camera) for pattern, camera in zip(patterns, cameras)]
    owners: dict[str, str] = {}
    for topic, camera in zip(topics, cameras):
        _check_topic(parameter, topic)
        if topic in owners:
            raise ParameterError(
                f'{parameter} gives the cameras {owners[topic]} and {camera} the same topic, '
                f'{topic}: put {PLACEHOLDER} where their names stand in it, as in '
                f'/{PLACEHOLDER}/{kind}, or list one topic for each')
        owners[topic] = camera
    return topics


def _check_placeholders(parameter: str, pattern: str, named: bool) -> None:
    for found in _BRACES.findall(pattern):
        if found != PLACEHOLDER:
            raise ParameterError(f'{parameter} is {pattern!r}: it cannot have {found}, only '
                                 f'{PLACEHOLDER}, for which the names in cameras are put')
    if PLACEHOLDER in pattern and not named:
        raise ParameterError(f'{parameter} is {pattern!r}, but cameras has no name to put for '
                             f'{PLACEHOLDER}: name them, as in cameras: [front, left], or write '
                             'the topic as it is')


def _check_topic(parameter: str, topic: str) -> None:
    if len(topic) > MAX_TOPIC:
        raise ParameterError(f'{parameter} has a topic of {len(topic)} characters, more than '
                             f'{MAX_TOPIC}: shorten {topic[:40]!r}...')
    if not _TOPIC.fullmatch(topic):
        raise ParameterError(f'{parameter}: {topic!r} is no name of a topic: use letters, digits '
                             'and _, with single / between names that begin with no digit, as '
                             "in '/camera/color/image_raw'")
