"""All the ways in which a compressed image may be malformed, and what the node says of each."""

import array
from collections.abc import Callable
import io
import random
import struct
import zlib

from bad_images import Kind
from bad_images import one_of
from bad_images import set_fields
import cv2
import numpy as np
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage

# Of everything to be encoded: with edges, so that none of it is short.
_PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def _encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, _PIXELS)[1].tobytes()


def _cmyk() -> bytes:
    file = io.BytesIO()
    Picture.new('CMYK', (64, 48)).save(file, 'JPEG')
    return file.getvalue()


JPEG, PNG = _encoded('.jpg'), _encoded('.png')
OTHERS = [_encoded(suffix) for suffix in ('.bmp', '.tiff', '.webp', '.ppm', '.jp2')]
CMYK = _cmyk()


def good() -> CompressedImage:
    """Return a picture."""
    image = CompressedImage(format='jpeg')
    image.data = array.array('B', JPEG)
    return image


def _data(make: Callable[[random.Random], bytes]) -> Callable:
    """Return what sets the data to those of a function."""
    def spoil(image, rng):
        image.data = array.array('B', make(rng))
    return spoil


def _cut(data: bytes) -> Callable[[random.Random], bytes]:
    """Return what cuts data within the picture, behind the header."""
    return lambda rng: data[:rng.randrange(len(data) // 2, len(data) - 20)]


def _png(width: int, height: int, rows: bytes = b'') -> bytes:
    """Return a PNG of grey that claims a size."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    chunks = (b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks)


def _jpeg(width: int, height: int) -> bytes:
    """Return a JPEG that claims a size in its start of frame."""
    frame = JPEG.index(b'\xff\xc0')
    return JPEG[:frame + 5] + struct.pack('>HH', height, width) + JPEG[frame + 9:]


def _broken_checksum(rng: random.Random) -> bytes:
    data = bytearray(PNG)
    data[29] ^= 1 << rng.randrange(8)  # of IHDR
    return bytes(data)


KINDS = {
    'no data': Kind(_data(lambda rng: b''), 'without data'),
    'noise': Kind(_data(lambda rng: b'\0' + rng.randbytes(rng.randrange(20000))), 'neither'),
    'text': Kind(_data(lambda rng: b'<html>404 Not Found</html>'), 'neither'),
    'other kinds of files': Kind(_data(lambda rng: rng.choice(OTHERS)), 'neither'),
    'JPEG cut short': Kind(_data(_cut(JPEG)), 'cut off'),
    'PNG cut short': Kind(_data(_cut(PNG)), 'cut off'),
    'start of a JPEG': Kind(_data(lambda rng: JPEG[:rng.randrange(2, 20)]), 'header'),
    'start of a PNG': Kind(_data(lambda rng: PNG[:rng.randrange(8, 29)]), 'header'),
    'noise behind the start of a JPEG': Kind(
        _data(lambda rng: JPEG[:2] + b'\0' * 4 + rng.randbytes(500)), 'JPEG'),
    'noise behind the start of a PNG': Kind(
        _data(lambda rng: PNG[:8] + rng.randbytes(500)), 'PNG'),
    'PNG of 60000 x 60000': Kind(_data(lambda rng: _png(60000, 60000)), 'not decoded'),
    'PNG of 2^31 x 2^31': Kind(
        _data(lambda rng: _png(2**31 - 1, 2**31 - 1, bytes(10**5))), 'not decoded'),
    'PNG of no size': Kind(_data(lambda rng: _png(0, rng.randrange(9))), 'PNG'),
    'PNG without rows': Kind(_data(lambda rng: _png(64, 48)), 'damaged'),
    'PNG with a broken header': Kind(_data(_broken_checksum), 'PNG'),
    'JPEG of 65500 x 65500': Kind(_data(lambda rng: _jpeg(65500, 65500)), 'not decoded'),
    'JPEG in CMYK': Kind(_data(lambda rng: CMYK), 'CMYK'),
    'depth': Kind(
        set_fields(format=one_of('16UC1; compressedDepth', '32FC1; compressedDepth png')),
        'depth'),
    'noise and a format of 100 kB': Kind(
        set_fields(format='jpeg' * 25000, data=array.array('B', b'noise')), 'neither'),
}
