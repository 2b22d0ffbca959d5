"""What in a box is the thing: that which differs from its surroundings."""

from csa_ros.teaching.cutout import cut_out
from csa_ros.teaching.region import mask_of
import cv2
import numpy as np
import pytest

SIZE = (120, 160)
BOX = (50, 30, 60, 60)


def noisy(color, seed):
    """Return a picture of a colour with noise, (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).normal(0, 12, (*SIZE, 3))
    return np.clip(noise + color, 0, 255).astype(np.uint8)


@pytest.fixture
def disc():
    """Return a picture of an orange disc on a green ground, and the mask of the disc."""
    mask = cv2.circle(np.zeros(SIZE, np.uint8), (80, 60), 26, 1, -1)
    return np.where(mask[..., None], noisy((220, 120, 30), 1), noisy((60, 140, 70), 2)), mask


def iou(found, mask):
    return (found & mask).sum() / (found | mask).sum()


def test_the_thing_is_left_of_a_box_around_it(disc):
    rgb, mask = disc
    box = mask_of(BOX, SIZE)
    found = cut_out(rgb, box)
    assert (found.dtype, found.shape) == (np.uint8, SIZE)
    assert iou(box, mask) < 0.6 and iou(found, mask) > 0.9
    assert not (found & ~box & 1).any()


def test_the_same_box_gives_the_same_mask(disc):
    rgb, _ = disc
    box = mask_of(BOX, SIZE)
    first = cut_out(rgb, box)
    cv2.setRNGSeed(77)
    cv2.kmeans(np.random.default_rng(0).random((50, 2), np.float32), 3, None,
               (cv2.TERM_CRITERIA_COUNT, 3, 0), 2, cv2.KMEANS_RANDOM_CENTERS)
    assert (cut_out(rgb, box) == first).all()


@pytest.mark.parametrize('region', [
    None, (0, 0, 160, 120), (-9, -9, 900, 900), (0, 0, 160, 119.4)])
def test_without_surroundings_all_is_taken(disc, region):
    box = mask_of(region, SIZE)
    assert (cut_out(disc[0], box) == box).all()


def test_a_thing_as_large_as_its_box_and_one_like_its_surroundings_keep_it(disc):
    box = mask_of(BOX, SIZE)
    flat = np.full((*SIZE, 3), 90, np.uint8)
    assert cut_out(flat, box).sum() >= 0.2 * box.sum()
    full = np.where(box[..., None], noisy((220, 120, 30), 3), noisy((60, 140, 70), 4))
    assert iou(cut_out(full, box), box) > 0.9


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (400, 2), (1080, 1920)])
@pytest.mark.parametrize('box', [(0, 0, 1, 1), (1, 0, 300, 3)])
def test_pictures_and_boxes_of_any_size_are_cut(size, box):
    rgb = np.random.default_rng(5).integers(0, 256, (*size, 3), np.uint8)
    mask = mask_of(box if box[0] < size[1] else (0, 0, 1, 1), size)
    found = cut_out(rgb, mask)
    assert found.any() and not (found & ~mask & 1).any()
