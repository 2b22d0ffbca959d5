"""
Files of pictures, read as the node reads the compressed images of a camera.

Pixels are as they are stored, whatever the EXIF orientation says: the node sees those of a camera
so, and labels and masks lie on them without being turned.
"""

from pathlib import Path

from csa_ros.sample_range import SampleRange
from csa_ros.sample_range import scale
import cv2
import numpy as np
from PIL import Image

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
# The tag of EXIF, and what it says of a picture that is not to be turned.
_ORIENTATION, _UPRIGHT = 0x0112, 1


class PictureError(ValueError):
    """A file is no picture that can be read; the message says which."""


def read_picture(path: Path, samples: SampleRange | None = None) -> np.ndarray:
    """
    Return a picture, (H, W, 3) uint8 RGB, without alpha.

    `samples` is what is known of the 16-bit samples of the camera that took it; without it they
    use all 16 bits. Raises PictureError.
    """
    try:
        data = path.read_bytes()
        return decode_picture(data, samples)
    except OSError as error:
        raise PictureError(f'{path} cannot be read: {error.strerror}') from error
    except PictureError as error:
        raise PictureError(f'{path} cannot be read as a picture: {error}') from error


def decode_picture(data: bytes, samples: SampleRange | None = None) -> np.ndarray:
    """Return what `read_picture` does of the bytes of a file; raise PictureError."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise PictureError(str(error.err)) from error
    if picture is None:
        raise PictureError('OpenCV knows no such format, or it is damaged')
    if picture.dtype == np.uint16:
        picture = samples.to_8_bit(picture) if samples else scale(picture)
    if picture.dtype != np.uint8:
        raise PictureError(f'its samples are {picture.dtype}, and those of a picture are of 8 or '
                           '16 bits')
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def orientation(path: Path) -> int:
    """Return the EXIF orientation of a picture, 1 to 8, where 1 is upright or nothing is said."""
    try:
        with Image.open(path) as picture:
            return int(picture.getexif().get(_ORIENTATION, _UPRIGHT))
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError):
        return _UPRIGHT
