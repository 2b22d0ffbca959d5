"""Frames resized and normalised: the device's way against OpenCV's."""

from csa_ros.model.pixels import Normalization
from csa_ros.model.pixels import resize
from csa_ros.model.pixels import resize_on_device
import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import torch


def pictures(height, width, count=2):
    """Return smooth random pictures, an array of (B, H, W, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 9, 13, 3), dtype=np.uint8)
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
                     for picture in noise])


@pytest.mark.parametrize('size, resized', [
    pytest.param((480, 640), (336, 448), id='VGA to the short side of the paper'),
    pytest.param((720, 1280), (336, 597), id='HD'),
    pytest.param((672, 896), (336, 448), id='exactly half'),
    pytest.param((90, 120), (336, 448), id='enlarged'),
    pytest.param((1, 1), (16, 24), id='a single pixel'),
    pytest.param((120, 90), (120, 90), id='as it is'),
])
def test_the_device_resizes_as_opencv_does(size, resized):
    frames = pictures(*size)
    assert_equal_to_opencv(frames, resized)
    assert_equal_to_opencv(np.where(frames > 127, np.uint8(255), np.uint8(0)), resized)


sizes = st.tuples(st.integers(1, 99), st.integers(1, 99))


@given(sizes, sizes)
def test_any_size_is_resized_as_by_opencv(size, resized):
    assert_equal_to_opencv(pictures(*size), resized)


def assert_equal_to_opencv(frames, size):
    actual = resize_on_device(torch.from_numpy(frames), size)
    assert actual.dtype == torch.uint8
    assert np.array_equal(actual.numpy(), np.stack([resize(frame, size) for frame in frames]))


def test_any_memory_layout_is_resized():
    bgr = pictures(60, 80)[0][..., ::-1]
    assert np.array_equal(resize(bgr, (30, 40)), resize(bgr.copy(), (30, 40)))


def test_grey_levels_are_normalised_by_channel():
    frames = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    pixels = Normalization((0.5, 0.1, 0.0), (0.5, 0.2, 2.0), 'cpu')(frames)
    torch.testing.assert_close(pixels, torch.tensor([-1.0, 0.5, 0.5]).view(1, 3, 1, 1))
    assert frames.flatten().tolist() == [0, 51, 255]
