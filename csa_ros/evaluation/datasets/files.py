"""Pictures and truths of data sets, read as the published results read them."""

from collections.abc import Mapping
from dataclasses import dataclass
import io
from pathlib import Path

from csa_ros import urls
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.picture_files import decode_picture
from csa_ros.picture_files import PictureError
import numpy as np
from PIL import Image

# In a table of stored values: no annotation of this format holds it.
NO_VALUE = 254
# How a whole JPEG and a whole PNG end.
_ENDS = (b'\xff\xd9', b'IEND\xaeB`\x82')
_AGAIN = 'unpack the archive again'


def value_table(classes: Mapping[int, int]) -> bytes:
    """
    Return what each of the 256 values of an annotation file means.

    `classes` maps the values that occur to a class or IGNORED; all others are NO_VALUE. Bytes are
    pickled once for all samples that share them.
    """
    return bytes(classes.get(value, NO_VALUE) for value in range(256))


@dataclass(frozen=True)
class Picture:
    """
    A picture and its annotation; a `csa_ros.evaluation.datasets.benchmark.Sample`.

    `values` is the table of what the annotation's values mean, from `value_table`.
    """

    name: str
    image: Path
    annotation: Path
    values: bytes

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the picture (H, W, 3) uint8, RGB, and its truth (H, W) uint8.

        Raises BenchmarkError for files that cannot be read, do not belong together, or hold
        values that have no meaning in this data set.
        """
        rgb = read_image(self.image)
        stored = read_annotation(self.annotation)
        if stored.shape != rgb.shape[:2]:
            raise BenchmarkError(
                f'{self.annotation} is {stored.shape[1]} x {stored.shape[0]} pixels and '
                f'{self.image} {rgb.shape[1]} x {rgb.shape[0]}: they are not of one data set; '
                + _AGAIN)
        truth = np.frombuffer(self.values, np.uint8)[stored]
        strange = truth == NO_VALUE
        if strange.any():
            raise BenchmarkError(
                f'{self.annotation} holds {stored[strange][0]}, which no class of this data set '
                'is stored as: it was converted, or is of another release; get the official one')
        return rgb, truth


def read_image(path: Path) -> np.ndarray:
    """
    Return a picture (H, W, 3) uint8, RGB; raise BenchmarkError if it is damaged.

    OpenCV decodes it, as in MMCV's `LoadImageFromFile`: other decoders differ in single grey
    levels. Pixels are as they are stored, and so are those of the annotation.
    """
    data = _bytes(path)
    try:
        picture = decode_picture(data)
    except PictureError as error:
        raise BenchmarkError(f'{path} is no picture that OpenCV can read; {_AGAIN}') from error
    if not data.endswith(_ENDS):
        # Older OpenCV fills what is missing with grey and only logs it.
        _decode(path, data)
    return picture


def read_annotation(path: Path) -> np.ndarray:
    """
    Return the values that are stored in an annotation, (H, W) uint8.

    Of a picture with a palette, these are the indices; OpenCV would give the colours. Raises
    BenchmarkError for a file that cannot be read, or that has no single value of 8 bits a pixel.
    """
    stored = _decode(path, _bytes(path))
    if stored.dtype != np.uint8 or stored.ndim != 2:
        raise BenchmarkError(
            f'{path} has shape {stored.shape} and type {stored.dtype}: an annotation has one '
            f'value of 8 bits a pixel, so this one was converted; {_AGAIN}')
    return stored


def _bytes(path: Path) -> bytes:
    try:
        with urls.reached(path):
            return path.read_bytes()
    except urls.StorageError as error:
        raise BenchmarkError(str(error)) from error
    except OSError as error:
        raise BenchmarkError(f'{path} cannot be read: {error.strerror}; {_AGAIN}') from error


def _decode(path: Path, data: bytes) -> np.ndarray:
    """Let Pillow decode, which refuses what ends too early."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            return np.array(file)
    # A damaged PNG is a SyntaxError to Pillow; damaged chunks raise ValueError.
    except (OSError, SyntaxError, ValueError) as error:
        raise BenchmarkError(f'{path} is damaged or cut off ({error}); {_AGAIN}') from error
