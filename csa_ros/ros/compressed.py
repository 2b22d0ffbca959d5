"""
Compressed camera images to RGB arrays, and overlays and labels to compressed messages.

JPEG and PNG are read as image_transport's compressed plugin reads them: pixels as they are stored,
so that labels lie on them whatever the EXIF orientation says, without alpha and colour profiles.
16-bit samples become 8-bit as in `csa_ros.ros.images`. What the bytes are is told by the bytes;
`format` only says what the publisher did to the picture before it was encoded.

OpenCV does not say a size before it has allocated the picture, so that Pillow reads the header
first, which decodes nothing. Pillow then decodes JPEG: the pixels are those of OpenCV, whose
libjpeg writes a line to stderr for every picture with a stray byte, past any log. OpenCV decodes
PNG, as it keeps 16 bits, and is given no more of the file than the pixels depend on, for libpng
does the same.
"""

import io
import struct
import zlib

from csa_ros.ros.content import Content
from csa_ros.ros.content import JPEG
from csa_ros.ros.content import judge_compressed
from csa_ros.ros.content import PNG
from csa_ros.ros.images import BAYER_CODES
from csa_ros.ros.images import ImageError
from csa_ros.sample_range import SampleRange
from csa_ros.sample_range import scale
import cv2
import numpy as np
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

# 8192 x 8192. A raw image is at most as large as its data, but a megabyte of PNG can hold 8
# gigapixels. All but a few scientific sensors stay below, and decoding the worst that passes
# (16-bit colour with alpha) takes 1 GB for a moment.
MAX_PIXELS = 2**26

# Beginning, reader of the header, and the pixels that a byte holds at most: a JPEG spends a bit on
# each block of 8 x 8 even if it is progressive, and 1032 bytes with 8 pixels each are what DEFLATE
# packs into one.
_FILES = (
    (JPEG, JpegImageFile, 8 * 64),
    (PNG, PngImageFile, 8 * 1032),
)

# Encodings whose red and blue image_transport puts back by what `format` says.
_RED_BLUE_ENCODINGS = frozenset(
    order + bits for order in ('rgb', 'bgr', 'rgba', 'bgra') for bits in ('8', '16'))

_FROM_BGR = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def to_rgb(msg: CompressedImage, samples: SampleRange | None = None) -> np.ndarray:
    """
    Decode a camera image to RGB.

    `msg` holds a JPEG or PNG file. Its `format` is `jpeg`, `png`, whatever else has no semicolon,
    or what image_transport writes: `ENCODING; CODEC compressed TARGET`, where ENCODING is that of
    the raw image and TARGET, which may be empty, the one in which it was handed to the encoder.
    `samples` is what is known of the camera's 16-bit samples; without it, they use all 16 bits.

    Returns (H, W, 3) uint8 RGB, C-contiguous. A JPEG has no checksum: damage in its middle may
    pass as a damaged picture.

    Raises ImageError if the data are empty, no JPEG or PNG, cut off or damaged, a depth image, in
    the colours of printing, or a picture of more than MAX_PIXELS or than the data can hold. All
    but damage is told before anything is decoded.
    """
    data = bytes(msg.data)
    if not data:
        raise ImageError(
            'compressed image without data; check the encoder of the camera that publishes it')
    verdict = judge_compressed(msg.format, data)
    if verdict.content is not Content.PICTURE:
        raise ImageError(f'{verdict.reason}; {verdict.remedy}')
    rgb = _arrange(_decode(data, _check_header(data)), msg.format)
    if rgb.dtype == np.uint16:
        rgb = samples.to_8_bit(rgb) if samples else scale(rgb)
    return np.ascontiguousarray(rgb)


def to_message(rgb: np.ndarray, header: Header, quality: int) -> CompressedImage:
    """
    Encode an overlay as JPEG.

    `rgb` is (H, W, 3) uint8 RGB and `quality` that of libjpeg, 1 to 100. `header` is that of the
    input image; stamp and frame are passed on unchanged. `format` is what image_transport writes
    for an `rgb8` image. Raises ImageError for another array, or a side beyond the 65535 pixels
    that JPEG knows.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ImageError(
            'JPEG needs a uint8 array of shape (height, width, 3), none of them 0, but got '
            f'{rgb.dtype} of shape {rgb.shape}; convert it first')
    if max(rgb.shape) > 65535:
        raise ImageError(
            f'{rgb.shape[1]} x {rgb.shape[0]} pixels exceed the 65535 a side that JPEG knows; '
            'use the raw topic or smaller images')
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    # Appending to the message's own array.array is one memcpy; see images.to_message.
    message.data.frombytes(data)
    return message


def labels_to_message(labels: np.ndarray, header: Header) -> CompressedImage:
    """
    Encode labels as PNG, which loses nothing.

    `labels` is (H, W) uint8. `header` is that of the input image; stamp and frame are passed on
    unchanged. `format` is what image_transport writes for a `mono8` image. Raises ImageError for
    another array.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2 or not labels.size:
        raise ImageError(
            'labels are a uint8 array of shape (height, width), none of them 0, but got '
            f'{labels.dtype} of shape {labels.shape}; convert it first')
    # With OpenCV's own settings, which look for runs: any level of compression switches that off,
    # takes three times as long, and gains little.
    _, data = cv2.imencode('.png', labels)
    message = CompressedImage(header=header, format='mono8; png compressed ')
    message.data.frombytes(data)
    return message


def _check_header(data: bytes) -> ImageFile:
    """Return a complete JPEG or PNG that may be decoded, of which the header has been read."""
    file_type, pixels_per_byte = next(
        (file_type, density) for magic, file_type, density in _FILES if data.startswith(magic))
    name = file_type.format
    try:
        file = file_type(io.BytesIO(data))
    except Exception as reason:  # SyntaxError, OSError, ValueError and more, by what is wrong
        raise ImageError(
            f'the header of a {name} of {len(data)} bytes cannot be read ({reason}); check the '
            'encoder and the connection of the camera that publishes it') from reason
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f'{name} says {width} x {height} pixels in {len(data)} bytes; more than {MAX_PIXELS} '
            'are not decoded, to bound the memory; let the camera publish smaller images')
    if width * height > len(data) * pixels_per_byte:
        raise ImageError(
            f'{name} says {width} x {height} pixels, which {len(data)} bytes cannot hold; check '
            'the encoder and the connection of the camera that publishes it')
    if file.mode == 'CMYK':
        raise ImageError(
            f'{name} of {width} x {height} pixels is in CMYK, the colours of printing; let the '
            'camera publish RGB or grey')
    if not _is_complete(data):
        raise ImageError(
            f'{name} of {width} x {height} pixels is cut off after {len(data)} bytes; check the '
            'connection of the camera and the size of its buffers')
    return file


def _is_complete(data: bytes) -> bool:
    """
    Tell whether a file has its end; what is missing, older versions of OpenCV make grey.

    Within the scan of a JPEG, 0xff stands before 0x00 or a restart marker, so that an end-of-image
    marker behind the start of the last scan is one. (The thumbnail in a header has both, too.)
    Cameras pad their buffers behind it. A PNG ends with the chunk IEND; that a chunk claims more
    than there is, is told on the way there, before OpenCV gives it the memory.
    """
    if data.startswith(JPEG):
        return data.rfind(b'\xff\xd9') > data.rfind(b'\xff\xda')
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, at)
        if name == b'IEND':
            return True
        at += 12 + length
    return False


def _decode(data: bytes, file: ImageFile) -> np.ndarray:
    """Return (H, W), (H, W, 3) or (H, W, 4) uint8 or uint16 samples: grey, RGB or RGBA."""
    if isinstance(file, JpegImageFile):
        try:
            # Not asarray: what shares Pillow's bytes could not be written to.
            return np.array(file)
        except OSError:
            # What libjpeg gives up half way, OpenCV may return as far as it came.
            pass
    else:
        data = _needed(data)
    width, height = file.size
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as reason:
        raise ImageError(
            f'OpenCV refuses an image of {width} x {height} pixels in {len(data)} bytes: '
            f'{reason.err}') from reason
    if picture is None or picture.shape[:2] != (height, width):
        raise ImageError(
            f'the {len(data)} bytes of an image of {width} x {height} pixels are damaged; check '
            'the encoder and the connection of the camera that publishes it')
    channels = picture.shape[2] if picture.ndim == 3 else 1
    return picture if channels == 1 else cv2.cvtColor(picture, _FROM_BGR[channels])


def _needed(data: bytes) -> bytes:
    """
    Return a PNG without the chunks that its pixels do not depend on; raise ImageError for damage.

    These, by their names, are the ancillary ones (PNG specification, 5.4): profiles, times, texts.
    The others have a checksum, which is checked first, as libpng would.
    """
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, at)
        end = at + 12 + length
        if end > len(data):
            raise ImageError(
                f'chunk {name!r} of a PNG claims more than its {len(data)} bytes; check the '
                'connection of the camera that publishes it')
        if name[:1].isupper():
            checksum, = struct.unpack_from('>I', data, end - 4)
            if zlib.crc32(data[at + 4:end - 4]) != checksum:
                raise ImageError(
                    f'chunk {name!r} of a PNG of {len(data)} bytes is damaged; check the '
                    'connection of the camera that publishes it')
            parts.append(data[at:end])
        if name == b'IEND':
            break
        at = end
    return b''.join(parts)


def _arrange(picture: np.ndarray, declared: str) -> np.ndarray:
    """Bring what is grey, RGB or RGBA in the file into the order of RGB."""
    encoding, described, codec = declared.lower().partition(';')
    encoding = encoding.strip()
    if picture.ndim == 2 and encoding.startswith('bayer_') and 'compressed mono' not in codec:
        # PNG keeps the mosaic. For JPEG image_transport turns it into grey, `compressed mono8`.
        pattern = encoding.removeprefix('bayer_').rstrip('0123456789')
        if pattern not in BAYER_CODES:
            raise ImageError(
                f'format {declared[:60]!r} has an unknown Bayer pattern; let the camera publish '
                f'one of {", ".join(BAYER_CODES)}')
        if min(picture.shape) < 3:
            raise ImageError(
                f'{encoding} image of {picture.shape[1]} x {picture.shape[0]} pixels is too '
                'small, at least 3 x 3 are needed; check what the camera publishes')
        return cv2.cvtColor(picture, BAYER_CODES[pattern])
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    if described and encoding in _RED_BLUE_ENCODINGS and 'compressed bgr' not in codec:
        # The encoder, which takes BGR, was given RGB: red and blue are swapped in the file.
        return picture[..., 2::-1]
    return picture[..., :3]
