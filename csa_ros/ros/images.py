"""
Camera messages to RGB arrays, and result arrays to image messages.

Every encoding of `sensor_msgs/image_encodings` that is a picture is read, with padded rows and
in either byte order. 16-bit samples become 8-bit by `round(v / 257)`, as cv_bridge does it
(`255 / 65535`), unless a `csa_ros.sample_range.SampleRange` knows better. YUV is ITU-R
BT.601 in the limited range (Y 16..235), the convention of cv_bridge, OpenCV and UVC cameras.

`8UC1`, `8UC3`, `8UC4` and their 16-bit siblings name a memory layout, not colours. They are
read as grey, BGR and BGRA, the order in which OpenCV keeps pictures: nodes publish them by handing
an OpenCV matrix to cv_bridge without an encoding, and cv_bridge's own display conversion guesses
the same. `16UC1` is depth by REP 118 and for bags, but also what thermal cameras publish: whoever
subscribes to such a topic gets it as grey.
"""

import functools
import importlib.util
import subprocess
import sys
from typing import Any
from typing import Callable
from typing import NamedTuple

from csa_ros.ros.content import judge_encoding
from csa_ros.ros.content import spelled
from csa_ros.sample_range import SampleRange
from csa_ros.sample_range import scale
import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header


class ImageError(ValueError):
    """An image cannot be converted; the text says what is wrong with it and what to do."""


def to_rgb(msg: Image, samples: SampleRange | None = None) -> np.ndarray:
    """
    Convert a camera image to RGB.

    `msg` is a `sensor_msgs/Image` in any picture encoding, and `samples` what is known of the
    camera's 16-bit samples; without it, they are taken to use all 16 bits. Returns (H, W, 3) uint8
    RGB, C-contiguous. It shares the message's memory when the message already is RGB without
    padding (`rgb8`): draw on a copy of it if the message is still needed.

    Raises ImageError if the encoding is no picture or unknown, or if the size, `step` or data
    contradict each other. It is raised before anything is allocated, so that memory is bounded by
    the data that really arrived and not by what a broken message claims.
    """
    form = _format_of(msg.encoding)
    _check_layout(msg, form)
    ranged = samples is not None and form.sample_bytes == 2
    if _BRIDGE is not None and not ranged and _suits_cv_bridge(msg, form):
        return _BRIDGE.imgmsg_to_cv2(msg, 'rgb8')
    rgb = form.convert(msg, form)
    if form.sample_bytes == 2:
        rgb = samples.to_8_bit(rgb) if samples else scale(rgb)
    return np.ascontiguousarray(rgb)


def to_message(array: np.ndarray, encoding: str, header: Header) -> Image:
    """
    Build the message of a label, confidence or overlay image.

    `encoding` is `mono8` or `rgb8`; `array` is uint8, (H, W) for `mono8` or (H, W, 3) for `rgb8`,
    and is copied. `header` is that of the input image; stamp and frame are passed on unchanged.
    Raises ImageError for another encoding, or an array which does not fit it.
    """
    if encoding not in _OUTPUT_CHANNELS:
        raise ImageError(f'cannot publish encoding {encoding!r}; use mono8 or rgb8')
    channels = _OUTPUT_CHANNELS[encoding]
    fits = array.ndim >= 2 and array.shape[2:] == channels and array.size > 0
    if array.dtype != np.uint8 or not fits:
        raise ImageError(
            f'{encoding} needs a uint8 array of shape (height, width) + {channels}, none of them '
            f'0, but got {array.dtype} of shape {array.shape}; convert it first')
    message = Image(
        header=header,
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array[0].size)
    # Assigning to data copies once more, and checks byte by byte unless given an array.array;
    # appending to the message's own array.array is one memcpy on every distribution.
    message.data.frombytes(np.ascontiguousarray(array))
    return message


def read_samples(msg: Image, sample_bytes: int) -> np.ndarray:
    """
    Return the samples of an image of one channel, whatever they measure.

    Returns (H, W) uint8, uint16 or float32 for `sample_bytes` of 1, 2 or 4, in native byte order.
    It may share the message's memory. Raises ImageError as `to_rgb` does for contradictions.
    """
    form = _Format(sample_bytes, 1, _samples)
    _check_layout(msg, form)
    return _samples(msg, form)


class _Format(NamedTuple):
    """How one encoding lays its samples out and how they become RGB."""

    sample_bytes: int
    channels: int  # samples of a pixel that lie side by side
    convert: Callable[[Image, '_Format'], np.ndarray]
    bridged: bool = True  # cv_bridge converts it to rgb8, and rightly, on every distribution
    chroma_block: tuple[int, int] = (1, 1)  # (columns, rows) of pixels that share one chroma
    data_rows: int = 2  # rows of `step` bytes for every two rows of the picture
    min_side: int = 1

    def row_bytes(self, msg: Image) -> int:
        """Bytes of a row that hold samples; the rest of `step` is padding."""
        return msg.width * self.channels * self.sample_bytes

    def data_bytes(self, msg: Image) -> int:
        """Bytes that the message's size and `step` call for."""
        return msg.height * self.data_rows * msg.step // 2


def _samples(msg: Image, form: _Format) -> np.ndarray:
    """Return (rows, W) or (rows, W, channels) samples in native byte order, without padding."""
    data = np.frombuffer(msg.data, np.uint8, count=form.data_bytes(msg))
    rows = data.reshape(-1, msg.step)[:, :form.row_bytes(msg)]
    if form.sample_bytes > 1:
        kind = {2: 'u2', 4: 'f4'}[form.sample_bytes]
        order = '>' if msg.is_bigendian else '<'
        rows = np.ascontiguousarray(rows).view(order + kind).astype(kind, copy=False)
    return rows if form.channels == 1 else rows.reshape(len(rows), msg.width, form.channels)


def _opencv(code: int) -> Callable[[Image, _Format], np.ndarray]:
    return lambda msg, form: cv2.cvtColor(_samples(msg, form), code)


# Rows give R, G, B from Y, U, V, 1: BT.601 limited range with the coefficients of OpenCV.
_BT601_GAINS = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]])
_BT601 = np.column_stack([_BT601_GAINS, -_BT601_GAINS @ [16, 128, 128]])


def _nv24(msg: Image, form: _Format) -> np.ndarray:
    """Convert full-resolution chroma, which OpenCV has no code for."""
    data = np.frombuffer(msg.data, np.uint8, count=form.data_bytes(msg))
    luma, chroma = np.split(data, [msg.height * msg.step])
    # A chroma row holds two samples a pixel, so V4L2 gives it twice the bytes of a luma row.
    chroma = chroma.reshape(msg.height, 2 * msg.step)[:, :2 * msg.width]
    yuv = np.dstack([
        luma.reshape(msg.height, msg.step)[:, :msg.width],
        chroma.reshape(msg.height, msg.width, 2)])
    return cv2.transform(yuv, _BT601)


_GREY = _opencv(cv2.COLOR_GRAY2RGB)
_BGR = _opencv(cv2.COLOR_BGR2RGB)
_BGRA = _opencv(cv2.COLOR_BGRA2RGB)
_RGBA = _opencv(cv2.COLOR_RGBA2RGB)
_UYVY = _opencv(cv2.COLOR_YUV2RGB_UYVY)
_YUYV = _opencv(cv2.COLOR_YUV2RGB_YUY2)

# ROS names a Bayer pattern by its first two rows; OpenCV by the second and third pixel of the
# second row, so that ROS's RGGB is OpenCV's BG.
BAYER_CODES = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}

_packed_yuv = functools.partial(_Format, 1, 2, chroma_block=(2, 1))
_semi_planar_yuv = functools.partial(
    _Format, 1, 1, bridged=False, chroma_block=(2, 2), data_rows=3)

_FORMATS = {
    'rgb8': _Format(1, 3, _samples, bridged=False),  # nothing to convert
    'rgb16': _Format(2, 3, _samples),
    'bgr8': _Format(1, 3, _BGR),
    'bgr16': _Format(2, 3, _BGR),
    'rgba8': _Format(1, 4, _RGBA),
    'rgba16': _Format(2, 4, _RGBA),
    'bgra8': _Format(1, 4, _BGRA),
    'bgra16': _Format(2, 4, _BGRA),
    'mono8': _Format(1, 1, _GREY),
    'mono16': _Format(2, 1, _GREY),
    '8UC1': _Format(1, 1, _GREY, bridged=False),
    '8UC3': _Format(1, 3, _BGR, bridged=False),
    '8UC4': _Format(1, 4, _BGRA, bridged=False),
    '16UC1': _Format(2, 1, _GREY, bridged=False),
    '16UC3': _Format(2, 3, _BGR, bridged=False),
    '16UC4': _Format(2, 4, _BGRA, bridged=False),
    # OpenCV interpolates from the neighbours, and returns black where there are none.
    **{f'bayer_{pattern}{8 * size}': _Format(size, 1, _opencv(code), min_side=3)
       for pattern, code in BAYER_CODES.items() for size in (1, 2)},
    'yuv422': _packed_yuv(_UYVY),
    'uyvy': _packed_yuv(_UYVY, bridged=False),
    'yuv422_yuy2': _packed_yuv(_YUYV),
    'yuyv': _packed_yuv(_YUYV, bridged=False),
    'nv12': _semi_planar_yuv(_opencv(cv2.COLOR_YUV2RGB_NV12)),
    'nv21': _semi_planar_yuv(_opencv(cv2.COLOR_YUV2RGB_NV21)),
    'nv24': _Format(1, 1, _nv24, bridged=False, data_rows=6),
}

_OUTPUT_CHANNELS = {'mono8': (), 'rgb8': (3,)}


def _format_of(encoding: str) -> _Format:
    form = _FORMATS.get(encoding) or _FORMATS.get(spelled(encoding))
    if form is None:
        verdict = judge_encoding(encoding)
        raise ImageError(f'{verdict.reason}; {verdict.remedy}')
    return form


def _check_layout(msg: Image, form: _Format) -> None:
    size = f'{spelled(msg.encoding)} image of {msg.width} x {msg.height} pixels'
    if min(msg.width, msg.height) < form.min_side:
        raise ImageError(
            f'{size} is too small, at least {form.min_side} x {form.min_side} are needed; '
            'check what the camera publishes')
    columns, rows = form.chroma_block
    if msg.width % columns or msg.height % rows:
        raise ImageError(
            f'{size} cannot be: its chroma covers blocks of {columns} x {rows}, so width and '
            'height must be multiples of them; crop the image or set another encoding')
    if msg.step < form.row_bytes(msg):
        raise ImageError(
            f'{size} has step {msg.step}, but a row takes at least {form.row_bytes(msg)} bytes; '
            'correct step or encoding where it is published')
    if len(msg.data) < form.data_bytes(msg):
        raise ImageError(
            f'{size} with step {msg.step} needs {form.data_bytes(msg)} bytes of data, but '
            f'{len(msg.data)} arrived; correct size, step or data where it is published')


def _suits_cv_bridge(msg: Image, form: _Format) -> bool:
    """
    Tell whether cv_bridge reads this message rightly.

    Its Python part shears rows whose padding is no whole number of pixels, and takes data to be
    in the other byte order only if `is_bigendian` is exactly 1.
    """
    return (
        form.bridged
        and msg.encoding in _FORMATS
        and msg.step == form.row_bytes(msg)
        and bool(msg.is_bigendian) == (sys.byteorder == 'big'))


_PROBE = """
import sys
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
pixel = Image(height=1, width=1, encoding='bgr8', step=3, data=[1, 2, 3])
sys.exit(CvBridge().imgmsg_to_cv2(pixel, 'rgb8').tolist() != [[[3, 2, 1]]])
"""


def _load_cv_bridge() -> Any:
    """
    Return a `cv_bridge.CvBridge` that works, or None.

    Importing it proves nothing: compiled for NumPy 1 it imports under NumPy 2, then ends the
    process with a segmentation fault at its first conversion (ros-perception/vision_opencv#535).
    Builds for another Python or OpenCV fail in ways of their own. So a process of its own converts
    one pixel before it is trusted with this one.
    """
    if importlib.util.find_spec('cv_bridge') is None:
        return None
    try:
        subprocess.run(
            [sys.executable, '-c', _PROBE], check=True, capture_output=True, timeout=30)
        from cv_bridge import CvBridge
        return CvBridge()
    except Exception:  # whatever it is, OpenCV gives the same pixels
        return None


_BRIDGE = _load_cv_bridge()
