"""Frames as they are sent to browsers: a description as JSON, and pictures as JPEG and PNG."""

import json
import struct
from typing import Any

from csa_ros.ros import compressed
from csa_ros.ros import images
from csa_ros.sample_range import SampleRange
from csa_ros.web.frames import Frame
from csa_ros.web.frames import IMAGE
import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

# Pixels of the long side beyond which a picture is made smaller: a browser shows no more.
LONG_SIDE = 1280
# Of the pictures, for people to look at.
QUALITY = 80
# Ids must stay what they are, so that they are sent without loss; the least effort makes them as
# small as more does, within a third, in a quarter of the time.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_EXIF = b'Exif\0\0'


def encode_image(message: Image | CompressedImage, samples: SampleRange) -> dict[str, Any]:
    """
    Return a camera image as JPEG.

    `samples` is what is known of the camera's 16-bit samples. The result has `data`, the size
    `width`, `height` of the message in pixels, and raises ImageError as `to_rgb` does.
    """
    if isinstance(message, CompressedImage):
        rgb = compressed.to_rgb(message, samples)
    else:
        rgb = images.to_rgb(message, samples)
    height, width = rgb.shape[:2]
    data = bytes(message.data) if isinstance(message, CompressedImage) else b''
    # A browser would turn a picture as EXIF says, and the node does not.
    if not (data.startswith(b'\xff\xd8') and max(width, height) <= LONG_SIDE
            and _EXIF not in data[:2**16]):
        bgr = cv2.cvtColor(_reduced(rgb, cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return {'data': data, 'width': width, 'height': height}


def encode_values(message: Image) -> dict[str, Any]:
    """Return labels, confidence or heat (mono8) as PNG, and their size; raise ImageError."""
    values = images.read_samples(message, 1)
    height, width = values.shape
    data = cv2.imencode('.png', _reduced(values, cv2.INTER_NEAREST), _PNG)[1].tobytes()
    return {'data': data, 'width': width, 'height': height}


def pack(frame: Frame, node: str, camera: str, parts: dict[str, Any]) -> bytes:
    """
    Return the message of a frame.

    It is the length of the description in bytes (uint32, big endian), the description as JSON, and
    the pictures one after the other, in the order in which the description has them. `parts` are
    those of `encode_image` and `encode_values`, or JSON as it came.
    """
    pictures = {kind: part for kind, part in parts.items() if 'data' in part}
    described = [{'kind': kind, 'bytes': len(part['data'])} for kind, part in pictures.items()]
    size = next(([part['width'], part['height']] for part in pictures.values()), None)
    header = json.dumps({
        'number': frame.number, 'stamp': frame.stamp, 'frozen': frame.frozen, 'node': node,
        'camera': camera, 'size': size, 'pictures': described,
        **{kind: part for kind, part in parts.items() if 'data' not in part}}).encode()
    return b''.join([struct.pack('>I', len(header)), header,
                     *(part['data'] for part in pictures.values())])


def encode(kind: str, message: Any, samples: SampleRange) -> dict[str, Any]:
    """Return a part of a frame as `pack` takes it; raise ImageError or ValueError."""
    if kind == IMAGE:
        return encode_image(message, samples)
    if isinstance(message, Image):
        return encode_values(message)
    return json.loads(message.data)


def _reduced(picture: np.ndarray, interpolation: int) -> np.ndarray:
    """Return a picture with no side beyond LONG_SIDE."""
    height, width = picture.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(picture, size, interpolation=interpolation)
