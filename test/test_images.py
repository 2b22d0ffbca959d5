"""
Every picture encoding against a picture whose RGB is known.

The encoders here are written with NumPy from the definitions of the encodings, apart from OpenCV
and cv_bridge. The same table runs through OpenCV and, where a working one is installed, cv_bridge.
"""

import array
import os
import sys

from csa_ros.ros import images
from csa_ros.ros.images import ImageError
from csa_ros.ros.images import to_message
from csa_ros.ros.images import to_rgb
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

BACKENDS = ['opencv'] + (['cv_bridge'] if images._BRIDGE else [])

HEIGHT, WIDTH = 48, 64


def gradients():
    """Smooth ramps, so that interpolated chroma and mosaics are known within a small error."""
    y, x = np.mgrid[0:1:HEIGHT * 1j, 0:1:WIDTH * 1j]
    ramps = [x, y, 1 - x]
    return np.stack([np.rint(40 + 160 * ramp) for ramp in ramps], axis=-1).astype(np.uint8)


RGB = gradients()
GREY = np.repeat(RGB[..., 1:2], 3, axis=2)


def ordered(order):
    planes = dict(zip('rgb', np.moveaxis(RGB, 2, 0)), a=np.full((HEIGHT, WIDTH), 77, np.uint8))
    return np.stack([planes[name] for name in order], axis=-1).reshape(HEIGHT, -1)


def mosaic(pattern):
    bayer = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, name in enumerate(pattern):
        y, x = divmod(index, 2)
        bayer[y::2, x::2] = RGB[y::2, x::2, 'rgb'.index(name)]
    return bayer


def yuv():
    """ITU-R BT.601, limited range: 219 steps of Y above 16, 224 of U and V around 128."""
    red, green, blue = np.moveaxis(RGB / 255, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return 16 + 219 * luma, 128 + 112 * (blue - luma) / 0.886, 128 + 112 * (red - luma) / 0.701


def mean_blocks(plane, rows, columns):
    return plane.reshape(HEIGHT // rows, rows, WIDTH // columns, columns).mean(axis=(1, 3))


def packed_422(order):
    luma, *chroma = yuv()
    u, v = (mean_blocks(plane, 1, 2) for plane in chroma)
    samples = {'u': u, 'v': v, 'y': luma[:, ::2], 'Y': luma[:, 1::2]}
    return np.rint(np.stack([samples[c] for c in order], axis=-1)).reshape(HEIGHT, -1)


def semi_planar(first, second, block):
    u_v = dict(zip('uv', yuv()[1:]))
    chroma = np.stack([mean_blocks(u_v[c], block, block) for c in (first, second)], axis=-1)
    return np.rint(np.vstack([yuv()[0], chroma.reshape(-1, WIDTH)]))


# encoding: samples in the order in which they are sent, the RGB they mean, and the largest error.
# A mosaic repeats its neighbours at the border, and a ramp rises by 160 / 47 = 3.4 a pixel; YUV
# shares chroma and rounds it, and blue follows U by a factor of two.
CASES = {
    'rgb8': (ordered('rgb'), RGB, 0),
    'bgr8': (ordered('bgr'), RGB, 0),
    'rgba8': (ordered('rgba'), RGB, 0),
    'bgra8': (ordered('bgra'), RGB, 0),
    'mono8': (ordered('g'), GREY, 0),
    '8UC1': (ordered('g'), GREY, 0),
    '8UC3': (ordered('bgr'), RGB, 0),
    '8UC4': (ordered('bgra'), RGB, 0),
    **{f'bayer_{pattern}8': (mosaic(pattern), RGB, 4)
       for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')},
    'yuv422': (packed_422('uyvY'), RGB, 4),
    'uyvy': (packed_422('uyvY'), RGB, 4),
    'yuv422_yuy2': (packed_422('yuYv'), RGB, 4),
    'yuyv': (packed_422('yuYv'), RGB, 4),
    'nv12': (semi_planar('u', 'v', 2), RGB, 5),
    'nv21': (semi_planar('v', 'u', 2), RGB, 5),
    'nv24': (semi_planar('u', 'v', 1), RGB, 3),
}
CASES = {name: (samples.astype(np.uint8), truth, error)
         for name, (samples, truth, error) in CASES.items()}
# v * 257 is the 16-bit value of the 8-bit v, and 100 more still rounds to v. Without it both bytes
# of a sample would be equal and their order would not show.
CASES |= {name.replace('8', '16'): (samples.astype(np.uint16) * 257 + 100, truth, error)
          for name, (samples, truth, error) in CASES.items()
          if name.endswith('8') or name.startswith('8UC')}

WIDE = [name for name, (samples, _, _) in CASES.items() if samples.dtype == np.uint16]


def pad_rows(rows, encoding, padding):
    """Widen the luma rows by ``padding`` bytes of rubbish; a chroma row of nv24 has twice that."""
    if encoding == 'nv24':
        chroma = pad_rows(rows[HEIGHT:].reshape(HEIGHT, -1), '', 2 * padding)
        return np.concatenate([pad_rows(rows[:HEIGHT], '', padding), chroma.reshape(
            2 * HEIGHT, -1)])
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)


def message(encoding, padding=0, big_endian=False):
    samples = CASES[encoding][0]
    if samples.dtype == np.uint16:
        samples = samples.astype('>u2' if big_endian else '<u2')
    rows = pad_rows(samples.view(np.uint8), encoding, padding)
    return Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, is_bigendian=int(big_endian),
        step=rows.shape[1], data=array.array('B', rows.tobytes()))


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    if request.param == 'opencv':
        monkeypatch.setattr(images, '_BRIDGE', None)
    return request.param


def assert_shows(rgb, encoding):
    _, truth, error = CASES[encoding]
    assert rgb.shape == truth.shape
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - truth).max() <= error


def test_table_is_complete():
    assert set(CASES) == set(images._FORMATS)


@pytest.mark.parametrize('padding', [0, 1, 7, 64])
@pytest.mark.parametrize('encoding', CASES)
def test_every_encoding(backend, encoding, padding):
    assert_shows(to_rgb(message(encoding, padding)), encoding)


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', WIDE)
def test_big_endian(backend, encoding, padding):
    assert_shows(to_rgb(message(encoding, padding, big_endian=True)), encoding)


@pytest.mark.parametrize('encoding', sorted(set(CASES) - set(WIDE)))
def test_byte_order_means_nothing_to_bytes(backend, encoding):
    assert_shows(to_rgb(message(encoding, big_endian=True)), encoding)


def test_16_bit_is_rounded(backend):
    values = np.arange(65536, dtype='<u2')
    msg = Image(height=256, width=256, encoding='mono16', step=512,
                data=array.array('B', values.tobytes()))
    nearest = (values.astype(int) + 128) // 257
    assert np.array_equal(to_rgb(msg)[..., 0].ravel(), nearest)


def test_data_beyond_the_picture_is_ignored(backend):
    msg = message('bgr8')
    msg.data.extend(range(100))
    assert_shows(to_rgb(msg), 'bgr8')


def test_tight_rgb8_is_not_copied(backend):
    msg = message('rgb8')
    assert np.shares_memory(to_rgb(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.skipif(images._BRIDGE is None, reason='no cv_bridge that works is installed')
def test_cv_bridge_and_opencv_agree_on_noise(monkeypatch):
    for encoding in [name for name, form in images._FORMATS.items() if form.bridged]:
        for height, width in [(3, 4), (17, 22), (48, 64)]:
            form = images._FORMATS[encoding]
            step = width * form.channels * form.sample_bytes
            noise = np.random.default_rng(0).integers(256, size=height * step, dtype=np.uint8)
            msg = Image(height=height, width=width, encoding=encoding, step=step,
                        data=array.array('B', noise.tobytes()))
            bridged = to_rgb(msg)
            with monkeypatch.context() as without:
                without.setattr(images, '_BRIDGE', None)
                assert np.array_equal(to_rgb(msg), bridged), (encoding, height, width)


class Recorder:
    """Notes what would go to cv_bridge; says nothing about what cv_bridge makes of it."""

    def __init__(self):
        self.encodings = []

    def imgmsg_to_cv2(self, msg, desired_encoding):
        assert desired_encoding == 'rgb8'
        self.encodings.append(msg.encoding)
        return RGB


def test_only_what_cv_bridge_reads_rightly_goes_to_it(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(images, '_BRIDGE', recorder)
    native = sys.byteorder == 'big'
    for encoding in CASES:
        to_rgb(message(encoding, big_endian=native))
    names_it_knows = {
        *(colour + bits for colour in ('rgb', 'bgr', 'rgba', 'bgra', 'mono', 'bayer_rggb',
                                       'bayer_bggr', 'bayer_gbrg', 'bayer_grbg')
          for bits in ('8', '16')),
        'yuv422', 'yuv422_yuy2'}
    assert set(recorder.encodings) == names_it_knows - {'rgb8'}
    recorder.encodings.clear()
    for encoding in CASES:
        to_rgb(message(encoding, big_endian=not native))
        to_rgb(message(encoding, padding=2, big_endian=native))
    assert not recorder.encodings


@pytest.fixture
def install_cv_bridge(tmp_path, monkeypatch):
    """Put a module of the given source in cv_bridge's place, for child processes too."""
    def install(source):
        (tmp_path / 'cv_bridge.py').write_text(source)
        monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    yield install
    sys.modules.pop('cv_bridge', None)


CONVERTER = """
import os, signal, numpy
class CvBridge:
    def imgmsg_to_cv2(self, msg, encoding):
        pixel = numpy.frombuffer(msg.data, numpy.uint8).reshape(1, 1, 3)
        return """


@pytest.mark.parametrize('source', [
    'raise AttributeError("_ARRAY_API not found")',
    'import a_module_that_is_not_there',
    'class CvBridge: pass',
    CONVERTER + 'os.kill(os.getpid(), signal.SIGSEGV)',
    CONVERTER + 'pixel',
], ids=['AttributeError', 'ImportError', 'incomplete', 'segmentation fault', 'wrong colours'])
def test_a_broken_cv_bridge_is_left_alone(install_cv_bridge, source):
    install_cv_bridge(source)
    assert images._load_cv_bridge() is None


def test_a_cv_bridge_that_converts_is_taken(install_cv_bridge):
    install_cv_bridge(CONVERTER + 'pixel[..., ::-1]')
    assert type(images._load_cv_bridge()).__name__ == 'CvBridge'


HUGE = 2**32 - 1


@pytest.mark.parametrize('fields, said', [
    ({'width': 0}, ['0 x 48', 'at least 1 x 1']),
    ({'height': 0}, ['64 x 0', 'at least 1 x 1']),
    ({'step': 0}, ['step 0', '192 bytes']),
    ({'step': 191}, ['step 191', '192 bytes']),
    ({'height': 49}, ['64 x 49', '9408 bytes', '9216 arrived']),
    ({'data': array.array('B')}, ['9216 bytes', '0 arrived']),
    ({'width': HUGE, 'height': HUGE, 'step': HUGE}, [f'{HUGE} x {HUGE}', f'step {HUGE}']),
    ({'height': HUGE}, [f'{HUGE * 192} bytes', '9216 arrived']),
    ({'width': 1, 'step': HUGE}, [f'step {HUGE}', '9216 arrived']),
    ({'encoding': 'yuv422', 'width': 63}, ['63 x 48', 'blocks of 2 x 1']),
    ({'encoding': 'yuyv', 'width': 63}, ['63 x 48', 'blocks of 2 x 1']),
    ({'encoding': 'nv12', 'width': 63}, ['63 x 48', 'blocks of 2 x 2']),
    ({'encoding': 'nv21', 'height': 47}, ['64 x 47', 'blocks of 2 x 2']),
    ({'encoding': 'bayer_rggb8', 'width': 2}, ['2 x 48', 'at least 3 x 3']),
    ({'encoding': ''}, ["''", 'unknown', 'rgb8']),
    ({'encoding': 'jpeg'}, ["'jpeg'", 'unknown', 'rgb8']),
    ({'encoding': 'x' * 10000}, ["'" + 'x' * 40 + "'", 'unknown']),
    *(({'encoding': name}, [f"'{name}'", 'measurements', 'subscribe'])
      for name in ('32FC1', '16SC1', '8UC2', '16UC2', '64FC4', '32SC1', '8SC3', '8UC5')),
])
def test_malformed_messages_are_refused_with_reasons(backend, fields, said):
    msg = message('rgb8')
    for name, value in fields.items():
        setattr(msg, name, value)
    with pytest.raises(ImageError) as caught:
        to_rgb(msg)
    for words in said:
        assert words in str(caught.value)
    assert len(str(caught.value)) < 500


ENCODINGS = st.sampled_from([*CASES, '32FC1', '8UC2', '16SC1', 'rgb', 'BGR8', '']) | st.text()
SIDES = st.integers(0, 9) | st.integers(0, HUGE)


@given(encoding=ENCODINGS, height=SIDES, width=SIDES, step=st.integers(0, 40) | SIDES,
       big_endian=st.integers(0, 255), data=st.binary(max_size=400))
def test_any_message_gives_a_picture_or_an_image_error(
        encoding, height, width, step, big_endian, data):
    msg = Image(height=height, width=width, encoding=encoding, step=step,
                is_bigendian=big_endian, data=array.array('B', data))
    try:
        rgb = to_rgb(msg)
    except ImageError:
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@given(encoding=st.sampled_from(list(CASES)), missing=st.integers(-9, 9), spare=st.integers(-9, 9))
def test_a_message_is_read_exactly_when_step_and_data_suffice(encoding, missing, spare):
    msg = message(encoding, padding=max(spare, 0))
    if spare < 0:
        msg.step += spare
    if missing > 0:
        del msg.data[-missing:]
    if spare < 0 or missing > 0:
        with pytest.raises(ImageError):
            to_rgb(msg)
    else:
        assert_shows(to_rgb(msg), encoding)


def header():
    stamped = Header(frame_id='camera_optical')
    stamped.stamp.sec, stamped.stamp.nanosec = 12, 34
    return stamped


@pytest.mark.parametrize('encoding, picture', [('rgb8', RGB), ('mono8', RGB[..., 0])])
def test_to_message_fills_every_field(encoding, picture):
    msg = to_message(picture, encoding, header())
    assert msg.header == header()
    assert (msg.height, msg.width, msg.encoding) == (HEIGHT, WIDTH, encoding)
    assert msg.step == picture[0].size
    assert msg.is_bigendian == 0
    assert isinstance(msg.data, array.array)
    assert msg.data.typecode == 'B'
    assert bytes(msg.data) == picture.tobytes()


@given(st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_to_message_and_back(rows, columns, flipped):
    picture = RGB[::rows, ::columns]
    picture = picture[:, ::-1] if flipped else picture
    assert np.array_equal(to_rgb(to_message(picture, 'rgb8', header())), picture)


@pytest.mark.parametrize('array_, encoding, said', [
    (RGB, 'bgr8', 'bgr8'),
    (RGB, 'mono8', '(48, 64, 3)'),
    (RGB[..., 0], 'rgb8', '(48, 64)'),
    (RGB[0, :, 0], 'mono8', '(64,)'),
    (RGB.astype(np.float32), 'rgb8', 'float32'),
    (RGB[:0], 'rgb8', '(0, 64, 3)'),
    (np.uint8(3), 'mono8', '()'),
])
def test_to_message_refuses_what_does_not_fit(array_, encoding, said):
    with pytest.raises(ImageError) as caught:
        to_message(array_, encoding, header())
    assert said in str(caught.value)
