"""16-bit samples to 8 bits, whatever part of the 16 a camera uses; without flicker."""

import array
import re

from csa_ros.ros import compressed
from csa_ros.ros import images
from csa_ros.sample_range import SampleRange
from csa_ros.sample_range import scale
from csa_ros.sample_range import SENSOR_BITS
import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

RNG = np.random.default_rng(0)
# Of light: from black to white.
SCENE = np.linspace(0, 1, 48 * 64).reshape(48, 64)
GREY = np.round(SCENE * 255).astype(int)


def light(bits, scene=SCENE):
    return np.round(scene * (2**bits - 1)).astype(np.uint16)


def temperatures(low, high):
    return np.round(low + SCENE * (high - low)).astype(np.uint16)


def message(samples, encoding='mono16'):
    channels = samples.shape[2] if samples.ndim == 3 else 1
    return Image(height=samples.shape[0], width=samples.shape[1], encoding=encoding,
                 step=2 * channels * samples.shape[1], data=array.array('B', samples.tobytes()))


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_auto_finds_the_bits_of_a_sensor(bits):
    samples = SampleRange('auto')
    assert np.abs(samples.to_8_bit(light(bits)).astype(int) - GREY).max() <= 1
    assert samples.complaint == ''
    assert samples.summary == f'0 to {2**bits - 1}, shown as {bits} bits'


@pytest.mark.parametrize('bits', range(8, 17))
def test_bits_that_are_set_are_taken(bits):
    samples = SampleRange(str(bits))
    assert np.abs(samples.to_8_bit(light(bits)).astype(int) - GREY).max() <= 1
    assert samples.complaint == ''


def test_the_whole_range_is_scaled_bit_for_bit_as_ever():
    picture = RNG.integers(0, 2**16, (48, 64, 3), np.uint16)
    expected = cv2.convertScaleAbs(picture, alpha=255 / 65535)
    for samples in SampleRange('auto'), SampleRange('16'):
        assert np.array_equal(samples.to_8_bit(picture), expected)
        # A dark scene after it, too.
        dark = light(9)
        assert np.array_equal(samples.to_8_bit(picture), expected)
    assert np.array_equal(scale(picture), expected)
    samples = SampleRange('auto')
    samples.to_8_bit(light(16))
    assert np.array_equal(samples.to_8_bit(dark), scale(dark))


def test_bits_only_grow_so_that_a_dark_scene_stays_dark():
    samples = SampleRange('auto')
    shown = [samples.to_8_bit(light(12, SCENE * share)).max()
             for share in (0.1, 1, 0.05, 0.2, 1, 0.01)]
    assert shown[1:] == pytest.approx([255, 255 * 0.05, 255 * 0.2, 255, 255 * 0.01], abs=1)


def test_broken_pixels_are_no_bits():
    picture = np.tile(light(12), (4, 4))
    picture[5, :3] = 65535
    samples = SampleRange('auto')
    assert np.abs(samples.to_8_bit(picture).astype(int) - np.tile(GREY, (4, 4)))[6:].max() <= 1


@pytest.mark.parametrize('low, high', [
    (27000, 33000), (29000, 31000), (2700, 3300), (7500, 9000), (20000, 30000)])
def test_temperatures_are_stretched(low, high):
    samples = SampleRange('auto')
    shown = samples.to_8_bit(temperatures(low, high))
    assert shown.max() == 255
    assert shown.min() == 0
    assert 100 < np.median(shown) < 155
    assert samples.summary == f'{low} to {high}, shown stretched'
    assert np.array_equal(SampleRange('stretch').to_8_bit(temperatures(low, high)), shown)


def test_one_temperature_is_not_blown_up_to_noise():
    noise = np.round(30000 + 20 * RNG.standard_normal((48, 64))).astype(np.uint16)
    shown = SampleRange('auto').to_8_bit(noise)
    assert shown.std() < 10


def test_greys_of_temperatures_follow_the_scene_without_flicker():
    samples = SampleRange('auto')
    scene = temperatures(28000, 32000)
    before = samples.to_8_bit(scene).astype(int)
    hot = scene.copy()
    hot[:4] = 40000
    changed = samples.to_8_bit(hot).astype(int)
    assert np.abs(changed - before)[4:].mean() < 15
    for _ in range(100):
        settled = samples.to_8_bit(hot)
    assert settled[:4].min() == 255
    assert settled[4:].max() < 150


def test_a_camera_that_has_seen_dark_is_none_of_temperatures():
    samples = SampleRange('auto')
    wall = np.full((48, 64), 3500, np.uint16)
    samples.to_8_bit(wall)
    samples.to_8_bit(light(12))
    assert np.array_equal(samples.to_8_bit(wall), scale(wall, 12))
    assert samples.summary.endswith('as 12 bits')


def test_a_covered_lens_is_dark():
    """Of the black level of a sensor nothing is made."""
    black = (64 + RNG.integers(0, 8, (48, 64))).astype(np.uint16)
    samples = SampleRange('auto')
    samples.to_8_bit(light(12))
    assert samples.to_8_bit(black).max() < 8


def test_another_size_is_another_mode_of_the_camera():
    samples = SampleRange('auto')
    samples.to_8_bit(light(16))
    shown = samples.to_8_bit(light(10)[:40])
    assert shown.max() > 200


@pytest.mark.parametrize('bits, picture, complaint', [
    ('16', light(12), '0 to 4095.*nearly black.*sensor_bits to auto or 12'),
    ('16', light(10), '0 to 1023.*auto or 10'),
    ('14', light(10), 'nearly black with sensor_bits 14.*auto or 10'),
    ('10', light(12), '0 to 4095, of which 75% are white.*1023 of sensor_bits 10.*auto or 12'),
    ('8', light(16), 'auto or 16'),
    ('16', temperatures(27000, 33000), '27000 to 33000, as of a thermal.*auto or stretch'),
    ('12', temperatures(2700, 3300), 'thermal'),
])
def test_bits_that_do_not_fit_are_complained_of(bits, picture, complaint):
    samples = SampleRange(bits)
    samples.to_8_bit(picture)
    assert re.search(complaint, samples.complaint)


@pytest.mark.parametrize('bits', SENSOR_BITS)
@pytest.mark.parametrize('value', [0, 1, 65535])
@pytest.mark.parametrize('shape', [(1, 1), (4, 1), (3, 4, 3)])
def test_any_picture_has_a_result(bits, value, shape):
    picture = np.full(shape, value, np.uint16)
    shown = SampleRange(bits).to_8_bit(picture)
    assert (shown.shape, shown.dtype) == (shape, np.uint8)


@pytest.mark.parametrize('encoding, channels', [
    ('mono16', 1), ('16UC1', 1), ('rgb16', 3), ('bgr16', 3), ('rgba16', 4), ('16UC3', 3),
    ('bayer_rggb16', 1)])
def test_every_encoding_of_16_bits_is_ranged(encoding, channels):
    picture = light(12) if channels == 1 else np.dstack([light(12)] * channels)
    shown = images.to_rgb(message(picture, encoding), SampleRange('auto'))
    dark = images.to_rgb(message(picture, encoding))
    assert shown.shape == dark.shape == (48, 64, 3)
    # The corners of a mosaic have no neighbours to be interpolated from.
    assert shown.max() >= 250
    assert dark.max() <= 16


def test_compressed_pictures_of_16_bits_are_ranged_alike():
    png = cv2.imencode('.png', light(12))[1].tobytes()
    compressed_image = CompressedImage(
        format='mono16; png compressed ', data=array.array('B', png))
    assert np.array_equal(compressed.to_rgb(compressed_image, SampleRange('auto')),
                          images.to_rgb(message(light(12)), SampleRange('auto')))
    assert np.array_equal(compressed.to_rgb(compressed_image),
                          images.to_rgb(message(light(12))))


def test_pictures_of_8_bits_are_none_of_its_business():
    samples = SampleRange('auto')
    picture = Image(height=1, width=2, encoding='mono8', step=2, data=array.array('B', [3, 9]))
    assert images.to_rgb(picture, samples).max() == 9
    assert samples.summary == ''
