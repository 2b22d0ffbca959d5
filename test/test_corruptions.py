"""What a camera does to pictures: as much as it says, and where it says."""

from csa_ros.demo.streets import corruptions
import cv2
import numpy as np
import pytest

CENTER = (80, 60)
ALL = {
    'motion_blur': (1.0, CENTER), 'drops': (), 'exposure': (), 'vignette': (), 'noise': (1.0,),
    'compression': ()}


@pytest.fixture
def rgb():
    """Return a picture of squares in many colours."""
    colors = np.random.default_rng(0).integers(20, 236, (6, 8, 3), np.uint8)
    return cv2.resize(colors, (160, 120), interpolation=cv2.INTER_NEAREST)


def corrupt(name, rgb, seed=0):
    return getattr(corruptions, name)(rgb, np.random.default_rng(seed), *ALL[name])


@pytest.mark.parametrize('name', ALL)
def test_the_same_seed_does_the_same(name, rgb):
    """What comes out is a picture, the same for the same seed, and what went in stays."""
    before = rgb.copy()
    one, two, other = corrupt(name, rgb), corrupt(name, rgb), corrupt(name, rgb, seed=1)
    assert one.shape == rgb.shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    np.testing.assert_array_equal(rgb, before)
    # It is still the same picture.
    assert np.corrcoef(one.ravel(), rgb.ravel())[0, 1] > 0.85


@pytest.mark.parametrize('seed', range(5))
def test_motion_blur_grows_towards_the_rims_and_moves_nothing(seed):
    """A dot becomes a streak around where it was; a plain picture stays as it is."""
    plain = np.full((120, 160, 3), 99, np.uint8)
    np.testing.assert_array_equal(corrupt('motion_blur', plain, seed), plain)
    for spot in ((20, 15), (140, 100)):
        dot = np.zeros((120, 160, 3), np.uint8)
        cv2.circle(dot, spot, 3, (255, 255, 255), -1)
        blurred = corrupt('motion_blur', dot, seed)[..., 0].astype(float)
        rows, columns = np.indices(blurred.shape)
        middle = [(axis * blurred).sum() / blurred.sum() for axis in (columns, rows)]
        np.testing.assert_allclose(middle, spot, atol=0.3)
        assert (blurred > 0).sum() > (dot[..., 0] > 0).sum()


def test_vignette_darkens_the_corners():
    white = np.full((121, 161, 3), 200, np.uint8)
    dark = corrupt('vignette', white)[..., 0]
    assert dark[60, 80] >= 198
    corners = dark[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners < 180).all()
    assert np.ptp(corners) <= 1


def test_noise_is_that_of_a_sensor():
    """It has no bias, is stronger where it is brighter, and another at every moment."""
    halves = np.full((120, 160, 3), 60, np.uint8)
    halves[:, 80:] = 180
    random = np.random.default_rng
    noisy = corruptions.noise(halves, random(3), 1.0)
    dark, bright = noisy[:, :80].astype(float), noisy[:, 80:].astype(float)
    assert dark.mean() == pytest.approx(60, abs=1)
    assert bright.mean() == pytest.approx(180, abs=1)
    assert bright.std() > 1.2 * dark.std() > 1
    assert (corruptions.noise(halves, random(3), 1.1) != noisy).mean() > 0.5
    np.testing.assert_array_equal(corruptions.noise(halves, random(3), 1.0), noisy)


def test_exposure_keeps_the_order_of_greys():
    """What is brighter stays brighter, or both are burnt out."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(5):
        exposed = corrupt('exposure', ramp, seed).astype(int)
        assert (np.diff(exposed, axis=1) >= 0).all()
        assert exposed[0, 0].max() == 0


def test_compression_keeps_the_colours_apart(rgb):
    """Red stays red and blue stays blue."""
    for channel in range(3):
        plain = np.full((64, 64, 3), 40, np.uint8)
        plain[..., channel] = 200
        np.testing.assert_allclose(corrupt('compression', plain), plain, atol=8)


def test_drops_cover_a_part_only(rgb):
    changed = (corrupt('drops', rgb) != rgb).any(axis=2)
    assert 0 < changed.mean() < 0.5
