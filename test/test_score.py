"""Confusion and IoU against a count pixel by pixel."""

from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

LABELS = arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(truth=LABELS, labels=LABELS)
def test_iou_is_that_of_sets_of_pixels(truth, labels):
    """Each class's IoU is intersection over union of its pixel sets where the truth is known."""
    classes = 3
    known = truth < classes
    expected = []
    for index in range(classes):
        true, found = (truth == index) & known, (labels == index) & known
        union = (true | found).sum()
        expected.append((true & found).sum() / union if union else np.nan)
    np.testing.assert_allclose(iou(confusion(truth, labels, classes)), expected)


def test_unknown_pixels_lower_the_score():
    """A pixel left unknown is missing from its class."""
    truth, labels = np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 255]], np.uint8)
    np.testing.assert_array_equal(confusion(truth, labels, 1), [[3, 1]])
    assert iou(confusion(truth, labels, 1)) == 0.75


def test_shapes_must_match():
    """Labels of another size are refused, and the message names both."""
    with pytest.raises(ValueError, match=r'\(2, 2\).*\(2, 3\)'):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.uint8), 2)
