"""What is a picture: by the encoding of raw images, and by the format of compressed ones."""

from array import array

from csa_ros.ros import compressed
from csa_ros.ros import images
from csa_ros.ros.content import Content
from csa_ros.ros.content import judge_compressed
from csa_ros.ros.content import judge_encoding
from csa_ros.ros.content import PICTURES
from csa_ros.ros.content import spelled
from csa_ros.ros.images import ImageError
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from test_compressed import encode
from test_images import RGB

# The encoder takes RGB for BGR; only the spelling of a format tells.
JPEG, PNG = encode('.jpg', RGB), encode('.png', RGB)
# Sequence and picture parameters of H.264, as a stream begins.
H264 = bytes.fromhex('00000001674d401f') + bytes(100)


def test_the_names_are_those_that_are_converted():
    assert set(images._FORMATS) == {*PICTURES, '16UC1'}


@pytest.mark.parametrize('encoding', [*PICTURES, 'BGR8', ' rgb8 ', 'Mono16\n', '8uc3', 'NV12\0'])
def test_pictures(encoding):
    assert judge_encoding(encoding) == (Content.PICTURE, '', '')


@pytest.mark.parametrize('encoding, content', [
    ('16UC1', Content.DEPTH), ('32FC1', Content.DEPTH), ('32fc1 ', Content.DEPTH),
    *((encoding, Content.OTHER) for encoding in (
        '32SC1', '32FC3', '64FC1', '16SC1', '8SC1', '8UC2', '16UC2', '32F', '64fc4', '', 'jpeg',
        'h264', 'rgb', 'bayer_rgbw8', 'yuv420', 'compressedDepth', 'x' * 999)),
], ids=lambda value: str(value)[:40])
def test_no_pictures(encoding, content):
    verdict = judge_encoding(encoding)
    assert verdict.content is content
    assert repr(encoding[:40]) in verdict.reason and verdict.remedy
    assert len(verdict.reason) < 120
    if spelled(encoding) == '16UC1':
        return  # of thermal cameras, too: read for whoever asks for it
    message = Image(height=1, width=1, encoding=encoding, step=9, data=array('B', bytes(9)))
    with pytest.raises(ImageError) as caught:
        images.to_rgb(message)
    assert str(caught.value) == f'{verdict.reason}; {verdict.remedy}'


def test_other_spellings_are_read_as_what_they_mean():
    message = Image(height=1, width=1, encoding=' BGR8', step=3, data=array('B', [1, 2, 3]))
    assert images.to_rgb(message).tolist() == [[[3, 2, 1]]]
    message = CompressedImage(format='RGB8; PNG compressed RGB8 ', data=array('B', PNG))
    assert (compressed.to_rgb(message) == RGB).all()


@pytest.mark.parametrize('declared', [
    '', 'jpeg', 'JPEG', 'jpg ', 'png', 'mjpeg', 'rgb8', 'bgr8; jpeg compressed bgr8',
    'rgb8; PNG compressed ', 'mono16; png compressed ', 'bayer_rggb8; png compressed ',
    '8UC3; jpeg compressed bgr8', '16UC3; png compressed ', 'h264', 'whatever'])
def test_pictures_that_are_compressed(declared):
    """A file that says what it is is believed more than a format."""
    for data in (JPEG, PNG):
        assert judge_compressed(declared, data).content is Content.PICTURE


@pytest.mark.parametrize('declared, data, content, said', [
    *((declared, PNG, Content.DEPTH, 'depth') for declared in (
        '16UC1; png compressed ', '16UC1; jpeg compressed ', '16UC1; png compressed 16UC1',
        '16uc1; PNG compressed', ' 16UC1 ; png compressed ', '16UC1', '32FC1; png compressed ',
        '16UC1; compressedDepth', '16UC1; compressedDepth png', '32FC1; compressedDepth rvl',
        '16UC1;CompressedDepth', 'compressedDepth', '32FC1;compressedDepth zstd')),
    *((declared, PNG, Content.OTHER, 'measurements') for declared in (
        '32SC1; png compressed ', '64FC1; png compressed ', '16SC1; png compressed ')),
    *((declared, H264[5:], Content.OTHER, 'video stream') for declared in (
        'h264', 'H264', 'h.264', 'video/h264', 'h265', 'hevc', 'HEVC', 'av1', 'vp8', 'vp9',
        'theora', 'mpeg4', 'rgb8; h264', 'libx264', 'hevc_nvenc', 'bgr8; ffmpeg', 'h264_vaapi')),
    ('jpeg', H264, Content.OTHER, 'video stream'),
    ('', H264, Content.OTHER, 'video stream'),
    ('webp', b'RIFF\0\0\0\0WEBP', Content.OTHER, 'neither JPEG nor PNG'),
    ('rgb8', bytes(20), Content.OTHER, 'neither JPEG nor PNG'),
    ('', b'noise', Content.OTHER, 'neither JPEG nor PNG'),
    ('jpeg', b'noise', Content.DAMAGED, 'neither JPEG nor PNG'),
    ('bgr8; PNG compressed ', b'noise', Content.DAMAGED, 'neither JPEG nor PNG'),
], ids=lambda value: '' if isinstance(value, bytes) else str(value))
def test_no_pictures_that_are_compressed(declared, data, content, said):
    verdict = judge_compressed(declared, data)
    assert verdict.content is content
    assert said in verdict.reason and repr(declared) in verdict.reason
    with pytest.raises(ImageError) as caught:
        compressed.to_rgb(CompressedImage(format=declared, data=array('B', data)))
    assert str(caught.value) == f'{verdict.reason}; {verdict.remedy}'


def test_thermal_images_are_read_for_whoever_subscribes_to_them():
    values = np.arange(4, dtype='<u2') * 257
    message = Image(height=2, width=2, encoding='16UC1', step=4, data=array('B', values.tobytes()))
    assert (images.to_rgb(message)[..., 0].ravel() == range(4)).all()
