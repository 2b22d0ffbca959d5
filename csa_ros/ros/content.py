"""
What an image message holds, by what it says of itself: a picture, depth, or neither.

One judgement for the node, which refuses what is no picture, and for bags, whose cameras are the
topics with pictures. Names are taken in upper and lower case and with blanks around them, as
drivers write them. This module needs no ROS.

`16UC1` is depth by REP 118. Thermal cameras publish it as well, so that `csa_ros.ros.images` reads
it for whoever subscribes to such a topic by name; nobody is given it for asking for all cameras.
"""

from enum import Enum
import re
from typing import NamedTuple

# Of sensor_msgs/image_encodings, with those of OpenCV's layouts that cv_bridge displays.
PICTURES = (
    'rgb8', 'rgb16', 'bgr8', 'bgr16', 'rgba8', 'rgba16', 'bgra8', 'bgra16', 'mono8', 'mono16',
    '8UC1', '8UC3', '8UC4', '16UC3', '16UC4',
    *(f'bayer_{pattern}{bits}' for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')
      for bits in (8, 16)),
    'yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21', 'nv24')
# REP 118: in millimetres and in metres.
_DEPTHS = ('16UC1', '32FC1')
_LAYOUT = re.compile(r'(8|16|32|64)[USF]C?\d*')
_SPELLINGS = {name.lower(): name for name in (*PICTURES, *_DEPTHS)}

JPEG, PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
# What begins a unit of H.264 and H.265 in a stream of bytes (Annex B of both).
_UNITS = (b'\0\0\1', b'\0\0\0\1')
_VIDEO = re.compile(
    r'(?<![a-z])(h\.?26[1-6]|[xh]26[456]|libx26[45]|avc1?|hevc|hvc1|av0?1|libaom|vp[89]|theora'
    r'|mpeg-?[124]?|mp4v?|ffmpeg)(?![a-z0-9])')
_STILL = re.compile(r'jpe?g|png')


class Content(Enum):
    """What is in an image message."""

    PICTURE = 'a colour or grey picture'
    DEPTH = 'depth'
    OTHER = 'something else'
    DAMAGED = 'nothing that can be told'


class Verdict(NamedTuple):
    """What an image message holds; unless a picture, why it is none and what to do instead."""

    content: Content
    reason: str = ''
    remedy: str = ''


def spelled(encoding: str) -> str:
    """Return an encoding as `sensor_msgs/image_encodings` spells it."""
    stripped = encoding.strip(' \t\r\n\0')
    if stripped.lower() in _SPELLINGS:
        return _SPELLINGS[stripped.lower()]
    return stripped.upper() if _LAYOUT.fullmatch(stripped.upper()) else stripped


def judge_encoding(encoding: str) -> Verdict:
    """Return what a `sensor_msgs/Image` of this encoding holds."""
    name = spelled(encoding)
    if name in PICTURES:
        return Verdict(Content.PICTURE)
    return _judge_measurements(name, 'encoding', encoding) or Verdict(
        Content.OTHER, f'encoding {encoding[:40]!r} is unknown',
        f'let the camera publish one of {", ".join(PICTURES)}')


def judge_compressed(declared: str, data: bytes) -> Verdict:
    """
    Return what a `sensor_msgs/CompressedImage` holds.

    `declared` is its `format` and `data` its bytes, of which the first dozen will do. A JPEG or
    PNG is a picture whatever the format, unless that says depth; of what claims to be one and is
    not, nothing can be told.
    """
    words = declared.lower()
    encoding = '32FC1' if 'compresseddepth' in words else spelled(words.partition(';')[0])
    if measured := _judge_measurements(encoding, 'format', declared):
        return measured
    if data.startswith((JPEG, PNG)):
        return Verdict(Content.PICTURE)
    if data.startswith(_UNITS) or _VIDEO.search(words):
        return Verdict(
            Content.OTHER, f'format {declared[:60]!r} is a video stream, not single pictures',
            'let the camera publish jpeg or png, or republish it decoded '
            '(`ros2 run image_transport republish`)')
    claimed = _STILL.search(words)
    return Verdict(
        Content.DAMAGED if claimed or not data else Content.OTHER,
        f'data that begin with {data[:12]!r} are neither JPEG nor PNG (format says '
        f'{declared[:60]!r})', 'let the camera publish jpeg or png')


def _judge_measurements(name: str, field: str, said: str) -> Verdict | None:
    """Return the verdict on an encoding of numbers that are no brightness; None for another."""
    if name in PICTURES or not _LAYOUT.fullmatch(name):
        return None
    what = 'measurements of depth' if name in _DEPTHS else 'measurements'
    return Verdict(
        Content.DEPTH if name in _DEPTHS else Content.OTHER,
        f'{field} {said[:60]!r} holds {what}, not a colour or grey picture',
        'subscribe to the topic of a colour or mono camera')
