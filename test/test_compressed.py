"""Pictures whose RGB is known, encoded by Pillow and OpenCV in every way that cameras do."""

import array
import io
import struct
import zlib

from csa_ros.ros import compressed
from csa_ros.ros.compressed import labels_to_message
from csa_ros.ros.compressed import MAX_PIXELS
from csa_ros.ros.compressed import to_message
from csa_ros.ros.compressed import to_rgb
from csa_ros.ros.images import ImageError
import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from test_images import GREY
from test_images import HEIGHT
from test_images import RGB
from test_images import WIDTH

BGR = np.ascontiguousarray(RGB[..., ::-1])
PICTURE = Image.fromarray(RGB)
FADE = Image.fromarray(np.linspace(0, 255, HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH))
PALETTE = PICTURE.quantize(16)
BILEVEL = Image.fromarray(RGB[..., 1] > 120)


def file(picture, name, **options):
    stream = io.BytesIO()
    picture.save(stream, name, **options)
    return stream.getvalue()


def with_alpha(mode):
    picture = PICTURE.convert(mode) if mode == 'RGBA' else Image.fromarray(GREY).convert(mode)
    picture.putalpha(FADE)
    return picture


def encode(extension, picture, *options):
    return cv2.imencode(extension, picture, list(options))[1].tobytes()


def wide(picture):
    """Return 16-bit samples that round to those of the 8-bit picture, and whose bytes differ."""
    return picture.astype(np.uint16) * 257 + 100


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def message(data, declared=''):
    return CompressedImage(format=declared, data=array.array('B', data))


PNG = file(PICTURE, 'PNG')
JPEG = encode('.jpg', BGR)
PROGRESSIVE = file(PICTURE, 'JPEG', quality=95, progressive=True)
# The thumbnail in a header is a whole JPEG of its own.
THUMBNAIL = file(PICTURE, 'JPEG', quality=95, exif=b'Exif\0\0' + JPEG)


def without_huffman_tables(data):
    """Return a JPEG as cameras send it that speak MJPEG: with the tables that everybody knows."""
    while (at := data.find(b'\xff\xc4')) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2:at + 4], 'big'):]
    return data


# file: its bytes, the RGB it means, and the largest error.
FILES = {
    'png': (PNG, RGB, 0),
    'png by opencv': (encode('.png', BGR), RGB, 0),
    'png with alpha': (file(with_alpha('RGBA'), 'PNG'), RGB, 0),
    'png grey': (encode('.png', GREY[..., 0]), GREY, 0),
    'png grey with alpha': (file(with_alpha('LA'), 'PNG'), GREY, 0),
    'png palette': (file(PALETTE, 'PNG'), np.array(PALETTE.convert('RGB')), 0),
    'png palette with a transparent colour':
        (file(PALETTE, 'PNG', transparency=3), np.array(PALETTE.convert('RGB')), 0),
    'png colour with a transparent colour':
        (file(PICTURE, 'PNG', transparency=tuple(RGB[0, 0].tolist())), RGB, 0),
    'png of 1 bit': (file(BILEVEL, 'PNG'), np.array(BILEVEL.convert('RGB')), 0),
    'png of 16 bits': (encode('.png', wide(BGR)), RGB, 0),
    'png of 16 bits with alpha':
        (encode('.png', wide(np.dstack([BGR, np.array(FADE)]))), RGB, 0),
    'png grey of 16 bits': (encode('.png', wide(GREY[..., 0])), GREY, 0),
    'png with an orientation': (file(PICTURE, 'PNG', exif=exif(6)), RGB, 0),
    'png with a text': (file(PICTURE, 'PNG', icc_profile=b'no profile', dpi=(72, 72)), RGB, 0),
    'jpeg': (JPEG, RGB, 6),
    'jpeg by pillow': (file(PICTURE, 'JPEG', quality=95), RGB, 6),
    'jpeg 4:4:4': (file(PICTURE, 'JPEG', quality=95, subsampling=0), RGB, 4),
    'jpeg grey': (encode('.jpg', GREY[..., 0]), GREY, 4),
    'jpeg progressive': (PROGRESSIVE, RGB, 6),
    'jpeg with restarts':
        (encode('.jpg', BGR, cv2.IMWRITE_JPEG_RST_INTERVAL, 2), RGB, 6),
    'jpeg of motion jpeg': (without_huffman_tables(JPEG), RGB, 6),
    'jpeg with an orientation': (file(PICTURE, 'JPEG', quality=95, exif=exif(6)), RGB, 6),
    'jpeg with a thumbnail': (THUMBNAIL, RGB, 6),
    'jpeg in a padded buffer': (JPEG + bytes(1000), RGB, 6),
}
Image.init()
if 'MPO' in Image.SAVE_ALL:  # not in Humble's Pillow, 9.0
    FILES['two jpegs in a file'] = (
        file(PICTURE, 'MPO', quality=95, save_all=True, append_images=[PICTURE]), RGB, 6)


def assert_shows(rgb, truth, error):
    assert rgb.shape == truth.shape
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - truth).max() <= error


@pytest.mark.parametrize('name', FILES)
def test_every_kind_of_file(name):
    data, truth, error = FILES[name]
    assert_shows(to_rgb(message(data)), truth, error)


def test_16_bit_is_rounded():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    nearest = (values.astype(int) + 128) // 257
    assert np.array_equal(to_rgb(message(encode('.png', values)))[..., 0], nearest)


# What compressed_image_transport writes, or wrote: CompressedPublisher::publish. The encoder takes
# every matrix of three channels for BGR.
@pytest.mark.parametrize('declared, extension, matrix, truth', [
    ('', '.png', BGR, RGB),
    ('png', '.png', BGR, RGB),
    ('jpeg', '.jpg', BGR, RGB),
    ('jpg', '.jpg', BGR, RGB),
    ('rgb8', '.png', BGR, RGB),
    ('png', '.jpg', BGR, RGB),
    ('bgr8; jpeg compressed bgr8', '.jpg', BGR, RGB),
    ('rgb8; jpeg compressed bgr8', '.jpg', BGR, RGB),
    ('rgb8; png compressed bgr8', '.png', BGR, RGB),
    ('rgb8; jpeg compressed rgb8', '.jpg', RGB, RGB),
    ('rgb8; png compressed rgb8', '.png', RGB, RGB),
    ('bgr8; jpeg compressed rgb8', '.jpg', RGB, RGB),
    ('rgb8; jpeg compressed ', '.jpg', RGB, RGB),
    ('bgra8; png compressed bgr8', '.png', BGR, RGB),
    ('rgba8; png compressed rgba8', '.png', np.dstack([RGB, RGB[..., 1]]), RGB),
    ('rgb16; png compressed bgr16', '.png', wide(BGR), RGB),
    ('rgb16; png compressed rgb16', '.png', wide(RGB), RGB),
    ('rgba16; png compressed ', '.png', wide(np.dstack([RGB, RGB[..., 1]])), RGB),
    ('rgb16; jpeg compressed bgr8', '.jpg', BGR, RGB),
    ('8UC3; png compressed ', '.png', BGR, RGB),
    ('yuv422; jpeg compressed bgr8', '.jpg', BGR, RGB),
    ('rgb8; jpeg compressed rgb8', '.jpg', GREY[..., 0], GREY),
    ('mono8; jpeg compressed mono8', '.jpg', GREY[..., 0], GREY),
    ('mono8; png compressed ', '.png', GREY[..., 0], GREY),
    ('mono16; png compressed ', '.png', wide(GREY[..., 0]), GREY),
    ('mono16; jpeg compressed mono8', '.jpg', GREY[..., 0], GREY),
    ('bayer_rggb8; jpeg compressed mono8', '.jpg', GREY[..., 0], GREY),
    ('bayer_rggb8; jpeg compressed bgr8', '.jpg', BGR, RGB),
])
def test_format_of_image_transport(declared, extension, matrix, truth):
    data = encode(extension, matrix)
    assert_shows(to_rgb(message(data, declared)), truth, 0 if extension == '.png' else 6)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_mosaics_are_interpolated(pattern, bits):
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, name in enumerate(pattern):
        y, x = divmod(index, 2)
        mosaic[y::2, x::2] = RGB[y::2, x::2, 'rgb'.index(name)]
    data = encode('.png', wide(mosaic) if bits == 16 else mosaic)
    # The border repeats its neighbours, and a ramp rises by 160 / 47 = 3.4 a pixel.
    assert_shows(to_rgb(message(data, f'bayer_{pattern}{bits}; png compressed ')), RGB, 4)


@pytest.mark.parametrize('name, options', [
    ('JPEG', {'progressive': True, 'quality': 1}),
    ('JPEG', {'optimize': True, 'quality': 1}),
    ('PNG', {'compress_level': 9}),
], ids=['progressive', 'jpeg', 'png'])
def test_a_picture_of_nothing_is_small_but_read(name, options):
    picture = Image.new('1' if name == 'PNG' else 'L', (4096, 4096))
    rgb = to_rgb(message(file(picture, name, **options)))
    assert rgb.shape == (4096, 4096, 3)
    assert rgb.max() <= 1


def chunk(name, body):
    return (struct.pack('>I', len(body)) + name + body
            + struct.pack('>I', zlib.crc32(name + body)))


def png_claiming(width, height):
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (PNG[:8] + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(99)))
            + chunk(b'IEND', b''))


def jpeg_claiming(width, height):
    """Put another size into the start-of-frame segment: length, precision, height, width."""
    at = JPEG.index(b'\xff\xc0') + 5
    return JPEG[:at] + struct.pack('>HH', height, width) + JPEG[at + 4:]


@pytest.fixture
def no_decoding(monkeypatch):
    def fail(*_):
        pytest.fail('decoded before it was checked')

    monkeypatch.setattr(compressed.cv2, 'imdecode', fail)
    monkeypatch.setattr(compressed.ImageFile, 'load', fail)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('data, said', [
    (png_claiming(2**31 - 1, 2**31 - 1), ['PNG', f'{2**31 - 1} x {2**31 - 1}']),
    (png_claiming(8193, 8192), ['PNG', '8193 x 8192']),
    (png_claiming(10000, 10000), ['PNG', '10000 x 10000']),
    (jpeg_claiming(65500, 65500), ['JPEG', '65500 x 65500']),
    (jpeg_claiming(12000, 9000), ['JPEG', '12000 x 9000']),
], ids=lambda value: value[-1] if isinstance(value, list) else '')
def test_absurd_sizes_are_refused_undecoded(no_decoding, data, said):
    with pytest.raises(ImageError) as caught:
        to_rgb(message(data))
    for words in [*said, f'in {len(data)} bytes', str(MAX_PIXELS), 'smaller images']:
        assert words in str(caught.value)


@pytest.mark.parametrize('data, declared, said', [
    (b'', 'jpeg', ['without data']),
    (b'\xff', 'jpeg', ['neither JPEG nor PNG', r"b'\xff'"]),
    (file(PICTURE, 'GIF'), 'gif', ['neither JPEG nor PNG', 'GIF8', "'gif'", 'let the camera']),
    (file(PICTURE, 'TIFF'), 'rgb8; tiff compressed ', ['neither', 'II*', 'tiff compressed']),
    (file(PICTURE, 'BMP'), 'bmp', ['neither', 'BM']),
    (encode('.webp', BGR), 'webp', ['neither', 'RIFF']),
    (RGB.tobytes(), 'rgb8', ['neither', "'rgb8'"]),
    (b'\0' * 12 + PNG, '16UC1; compressedDepth png', ['depth', 'compressedDepth', 'subscribe']),
    (PNG, '32FC1; compressedDepth', ['depth', 'subscribe']),
    (PNG, '16UC1; png compressed ', ['depth', '16UC1', 'subscribe']),
    (b'\0\0\0\1' + RGB.tobytes(), 'h264', ['h264', 'video stream', 'jpeg or png']),
    (file(PICTURE.convert('CMYK'), 'JPEG'), 'jpeg', ['64 x 48', 'CMYK', 'RGB or grey']),
    (jpeg_claiming(8192, 8192), 'jpeg', ['8192 x 8192', f'{len(JPEG)} bytes cannot hold']),
    (png_claiming(8192, 8192), 'png', ['8192 x 8192', 'bytes cannot hold']),
    (jpeg_claiming(0, 48), 'jpeg', ['header of a JPEG', 'bytes']),
    (png_claiming(0, 48), 'png', ['header of a PNG', 'bytes']),
    (PNG[:8], 'png', ['header of a PNG', '8 bytes']),
    (PNG[:33] + b'\x7f' + PNG[34:], 'png', ['PNG of 64 x 48', 'cut off']),
    (PNG[:-12], 'png', ['PNG of 64 x 48', 'cut off', f'after {len(PNG) - 12} bytes']),
    (JPEG[:-2], 'jpeg', ['JPEG of 64 x 48', 'cut off', f'after {len(JPEG) - 2} bytes']),
    (THUMBNAIL[:-2], 'jpeg', ['JPEG of 64 x 48', 'cut off']),
    (PNG, 'x' * 1000 + 'compressedDepth', ['x' * 60]),
    (PNG[:4] + bytes(100), 'x' * 1000, ['x' * 60]),
], ids=[
    'empty', 'a byte', 'gif', 'tiff', 'bmp', 'webp', 'raw', 'compressedDepth png',
    'compressedDepth', 'depth as png', 'video', 'cmyk', 'jpeg too large', 'png too large',
    'jpeg of no size',
    'png of no size', 'png of 8 bytes', 'png chunk too large', 'cut png', 'cut jpeg',
    'cut jpeg with a thumbnail', 'long format', 'long format, other data'])
def test_bad_files_are_refused_undecoded_with_reasons(no_decoding, data, declared, said):
    with pytest.raises(ImageError) as caught:
        to_rgb(message(data, declared))
    for words in said:
        assert words in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize('data, declared, said', [
    (png_claiming(64, 48), 'png', ['64 x 48', 'damaged']),
    (JPEG.replace(b'\xff\xdb', b'\xff\xfe'), 'jpeg', ['64 x 48', 'damaged']),
    (encode('.png', GREY[..., 0]), 'bayer_rgbw8; png compressed ', ['bayer_rgbw8', 'rggb']),
    (encode('.png', GREY[:2, :, 0]), 'bayer_rggb8; png compressed ', ['64 x 2', '3 x 3']),
], ids=['png without its middle', 'jpeg without quantisation', 'unknown pattern', 'small mosaic'])
def test_undecodable_files_are_refused_with_reasons(data, declared, said):
    with pytest.raises(ImageError) as caught:
        to_rgb(message(data, declared))
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize('data', [PNG, JPEG, PROGRESSIVE, THUMBNAIL], ids=[
    'png', 'jpeg', 'progressive', 'thumbnail'])
def test_every_truncation_is_refused(data):
    for length in range(len(data)):
        with pytest.raises(ImageError):
            to_rgb(message(data[:length]))


def small(name):
    """Return a few hundred bytes, most of them header, so that flips hit everything."""
    picture = PICTURE.resize((9, 7))
    return {
        'png': file(picture, 'PNG'),
        'palette': file(picture.quantize(4), 'PNG', transparency=1),
        'jpeg': file(picture, 'JPEG'),
        'progressive': file(picture, 'JPEG', progressive=True, exif=exif(3)),
    }[name]


FORMATS = st.sampled_from([
    '', 'jpeg', 'png', 'rgb8; jpeg compressed rgb8', 'bayer_rggb8; png compressed ',
    'rgba16; png compressed ']) | st.text(max_size=40)


@given(st.sampled_from(['png', 'palette', 'jpeg', 'progressive']).map(small), FORMATS,
       st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=8),
       st.integers(0, 2000))
def test_damaged_files_give_a_picture_or_an_image_error(data, declared, flips, length):
    damaged = bytearray(data)
    for at, bits in flips:
        damaged[at % len(damaged)] ^= bits
    del damaged[min(length + 1, len(damaged)):]
    try:
        rgb = to_rgb(message(bytes(damaged), declared))
    except ImageError:
        return
    assert rgb.shape == (*Image.open(io.BytesIO(damaged)).size[::-1], 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@given(st.binary(max_size=200), st.sampled_from([b'', JPEG[:2], JPEG[:20], PNG[:8], PNG[:33]]),
       FORMATS)
def test_any_data_give_a_picture_or_an_image_error(data, start, declared):
    with pytest.raises(ImageError):
        to_rgb(message(start + data, declared))


# Files of which libjpeg or libpng, in OpenCV, say something on stderr, beside those in front.
SOS, LATER = JPEG.rfind(b'\xff\xda'), PROGRESSIVE.rfind(b'\xff\xda')
PNG_16 = encode('.png', wide(RGB))
RESTARTS = encode('.jpg', RGB, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
MURMURS = {
    'stray bytes before the scan': JPEG[:SOS] + b'\x01\x02' + JPEG[SOS:],
    'stray bytes before a later scan': PROGRESSIVE[:LATER] + b'\x11\x22' + PROGRESSIVE[LATER:],
    'scan cut short': JPEG[:SOS + (len(JPEG) - SOS) // 2] + b'\xff\xd9',
    'another restart marker': RESTARTS.replace(b'\xff\xd3', b'\xff\xd5', 1),
    'another JFIF': JPEG.replace(b'JFIF\0\x01', b'JFIF\0\x09', 1),
    'a damaged scan': JPEG[:SOS + 200] + b'\xff\0' * 40 + JPEG[SOS + 280:],
    'a profile of nothing': PNG[:33] + chunk(b'iCCP', b'x\0\0' + zlib.compress(bytes(10)))
    + PNG[33:],
    'impossible bits': PNG[:33] + chunk(b'sBIT', b'\x09\0\0') + PNG[33:],
    'one chunk twice': PNG[:33] + 2 * chunk(b'pHYs', bytes(9)) + PNG[33:],
    '16 bits with a profile': PNG_16[:33] + chunk(b'iCCP', b'x\0\0' + zlib.compress(bytes(10)))
    + PNG_16[33:],
}


@pytest.mark.parametrize('name', MURMURS)
def test_libraries_say_nothing_past_the_log(name, capfd):
    """And the pixels are those that OpenCV reads, to the bit."""
    stored = cv2.imdecode(np.frombuffer(MURMURS[name], np.uint8), cv2.IMREAD_UNCHANGED)
    assert capfd.readouterr().err
    rgb = to_rgb(message(MURMURS[name]))
    assert capfd.readouterr() == ('', '')
    if stored.dtype == np.uint16:
        stored = cv2.convertScaleAbs(stored, alpha=255 / 65535)
    assert np.array_equal(rgb, stored[..., ::-1])


@pytest.mark.parametrize('at', [45, 60, 100, -20], ids=str)
def test_damage_is_said_in_the_log_alone(at, capfd):
    damaged = bytearray(PNG)
    damaged[at] ^= 0xff
    with pytest.raises(ImageError, match='damaged'):
        to_rgb(message(bytes(damaged)))
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('name', [name for name in FILES if '16 bits' not in name])
def test_pixels_are_those_that_opencv_reads(name):
    data = FILES[name][0]
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR
                          | cv2.IMREAD_IGNORE_ORIENTATION)
    assert np.array_equal(to_rgb(message(data)), stored[..., ::-1])


def test_what_libjpeg_gives_up_is_read_as_far_as_opencv_came():
    # A second beginning of a picture, in the middle of the scan.
    cut = JPEG[:SOS + 300] + b'\xff\xc0' + JPEG[SOS + 302:]
    with pytest.raises(OSError, match='broken data'):
        Image.open(io.BytesIO(cut)).load()
    stored = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(to_rgb(message(cut)), stored[..., ::-1])


def header():
    stamped = Header(frame_id='camera_optical')
    stamped.stamp.sec, stamped.stamp.nanosec = 12, 34
    return stamped


def test_to_message_and_back():
    msg = to_message(RGB, header(), 95)
    assert msg.header == header()
    assert msg.format == 'rgb8; jpeg compressed bgr8'
    assert isinstance(msg.data, array.array)
    assert Image.open(io.BytesIO(bytes(msg.data))).format == 'JPEG'
    assert_shows(to_rgb(msg), RGB, 6)
    assert_shows(np.array(Image.open(io.BytesIO(bytes(msg.data)))), RGB, 6)


def test_a_view_is_encoded_as_it_looks():
    assert to_message(RGB[::2, ::-1], header(), 90).data == to_message(
        np.ascontiguousarray(RGB[::2, ::-1]), header(), 90).data


def test_quality_is_paid_in_bytes():
    noise = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    sizes = [len(to_message(noise, header(), quality).data) for quality in (10, 50, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize('picture, said', [
    (RGB[..., 0], '(48, 64)'),
    (RGB[..., :2], '(48, 64, 2)'),
    (RGB.astype(np.float32), 'float32'),
    (RGB[:0], '(0, 64, 3)'),
    (np.zeros((1, 65536, 3), np.uint8), '65536 x 1'),
])
def test_to_message_refuses_what_jpeg_cannot_hold(picture, said):
    with pytest.raises(ImageError) as caught:
        to_message(picture, header(), 90)
    assert said in str(caught.value)


def test_labels_lose_nothing():
    labels = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH), dtype=np.uint8)
    msg = labels_to_message(labels[::2, ::-1], header())
    assert msg.header == header()
    assert msg.format == 'mono8; png compressed '
    np.testing.assert_array_equal(
        np.array(Image.open(io.BytesIO(bytes(msg.data)))), labels[::2, ::-1])


@pytest.mark.parametrize('labels, said', [
    (RGB, '(48, 64, 3)'), (RGB[..., 0].astype(np.int32), 'int32'), (RGB[:0, :, 0], '(0, 64)')])
def test_labels_of_another_kind_are_refused(labels, said):
    with pytest.raises(ImageError) as caught:
        labels_to_message(labels, header())
    assert said in str(caught.value)
