"""All the ways in which an image may be malformed, and what the node says of each."""

import array
from collections.abc import Callable
import random
import struct
from typing import Any
from typing import NamedTuple

from sensor_msgs.msg import Image

WIDTH, HEIGHT = 64, 48
HUGE = 2**31
UINT32_MAX = 2**32 - 1


class Kind(NamedTuple):
    """One way to be malformed: how to spoil a good message, and what the node says of it."""

    spoil: Callable[[Any, random.Random], None]
    reason: str


def good() -> Image:
    """Return a grey picture."""
    image = Image(width=WIDTH, height=HEIGHT, encoding='rgb8', step=3 * WIDTH)
    image.data = array.array('B', bytes([128]) * (3 * WIDTH * HEIGHT))
    return image


def set_fields(**fields) -> Callable[[Image, random.Random], None]:
    """Return what sets fields to values, or to what functions of a random generator return."""
    def spoil(image, rng):
        for name, value in fields.items():
            setattr(image, name, value(rng) if callable(value) else value)
    return spoil


def _cut(image: Image, rng: random.Random) -> None:
    image.data = image.data[:rng.randrange(len(image.data))]


def _floats(*values: float) -> Callable[[Image, random.Random], None]:
    """Return what makes a depth image of strange numbers."""
    def spoil(image, rng):
        numbers = [rng.choice(values) for _ in range(WIDTH * HEIGHT)]
        image.encoding, image.step = '32FC1', 4 * WIDTH
        image.data = array.array('B', struct.pack(f'{len(numbers)}f', *numbers))
    return spoil


def one_of(*choices) -> Callable[[random.Random], object]:
    return lambda rng: rng.choice(choices)


def _noise(rng: random.Random) -> str:
    """Return a random text that is no encoding, in several alphabets."""
    return ''.join(chr(rng.choice((rng.randrange(33, 127), rng.randrange(0x370, 0x500),
                                   rng.randrange(0x1f600, 0x1f640))))
                   for _ in range(rng.randrange(1, 200)))


KINDS = {
    'no pixels': Kind(set_fields(width=0, height=0, step=0, data=array.array('B')), 'too small'),
    'no width': Kind(set_fields(width=0), 'too small'),
    'no height': Kind(set_fields(height=0), 'too small'),
    'no data': Kind(set_fields(data=array.array('B')), '0 arrived'),
    'data cut short': Kind(_cut, 'arrived'),
    'a byte short': Kind(lambda image, rng: image.data.pop(), 'arrived'),
    'step of 0': Kind(set_fields(step=0), 'step 0'),
    'step too small': Kind(
        set_fields(step=lambda rng: rng.randrange(3 * WIDTH)), 'takes at least'),
    'step too large': Kind(
        set_fields(step=lambda rng: rng.randrange(3 * WIDTH + 1, UINT32_MAX)), 'arrived'),
    'step of 4 GiB': Kind(set_fields(step=UINT32_MAX), 'arrived'),
    '2^31 x 2^31 pixels': Kind(
        set_fields(width=HUGE, height=HUGE, step=HUGE), 'takes at least'),
    '2^31 rows': Kind(set_fields(height=HUGE), 'arrived'),
    'largest size': Kind(
        set_fields(width=UINT32_MAX, height=UINT32_MAX, step=UINT32_MAX), 'takes at least'),
    # In 32 bits a row of so many pixels would take 0 bytes, or few.
    'row that wraps': Kind(
        set_fields(width=2**30, step=one_of(0, 4, 64), encoding='rgba8'), 'takes at least'),
    'size that wraps': Kind(
        set_fields(width=2**16, height=2**16, step=2**16, encoding='mono8'), 'arrived'),
    'random size': Kind(
        set_fields(width=lambda rng: rng.randrange(65, UINT32_MAX)), 'takes at least'),
    'unknown encoding': Kind(
        set_fields(encoding=one_of('rgb9', 'RGB8', 'jpeg', 'h264', 'rgb8; png')), 'is unknown'),
    'no encoding': Kind(set_fields(encoding=''), 'is unknown'),
    'noise for an encoding': Kind(set_fields(encoding=_noise), 'is unknown'),
    'encoding of 100 kB': Kind(set_fields(encoding='rgb8' * 25000), 'is unknown'),
    'depth': Kind(
        set_fields(encoding=one_of('32FC1', '64FC1', '32SC1', '16SC1', '8SC3')), 'depth'),
    'depth of NaN': Kind(_floats(float('nan')), 'depth'),
    'depth of infinities': Kind(
        _floats(float('inf'), float('-inf'), float('nan'), 1e38, -1.0, 0.0), 'depth'),
    'two channels': Kind(set_fields(encoding='8UC2'), 'not a colour'),
    'no or many channels': Kind(
        set_fields(encoding=one_of('8UC0', '8UC5', '16UC9', '8UC123456789')), 'encoding'),
    'larger samples than data': Kind(
        set_fields(encoding=one_of('rgb16', 'bgr16', 'rgba16', '16UC3')), 'takes at least'),
    'more channels than data': Kind(
        set_fields(encoding=one_of('rgba8', 'bgra8', '8UC4')), 'takes at least'),
    'odd 4:2:0': Kind(set_fields(encoding=one_of('nv12', 'nv21'), width=WIDTH - 1), 'chroma'),
    'odd 4:2:2': Kind(
        set_fields(encoding=one_of('yuv422', 'yuv422_yuy2', 'uyvy', 'yuyv'), width=WIDTH - 1),
        'chroma'),
    '4:2:0 cut short': Kind(set_fields(encoding='nv12'), 'arrived'),
    'Bayer of one pixel': Kind(
        set_fields(encoding=one_of('bayer_rggb8', 'bayer_gbrg8'), width=1, height=1),
        'too small'),
    'Bayer of 16 bits in 8': Kind(
        set_fields(encoding='bayer_grbg16', step=WIDTH), 'takes at least'),
}
