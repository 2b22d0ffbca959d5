"""Batches of crops and captions: true of each other, and the same whoever makes them."""

from csa_ros.demo import crops
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.model.text import templates
import numpy as np
import open_clip
import pytest
import torch


@pytest.fixture(scope='module')
def tokenizer():
    """Return the tokenizer of the demo model."""
    return open_clip.SimpleTokenizer(context_length=24)


@pytest.fixture(scope='module')
def views():
    """Return views of a plain and of a hard street."""
    return [crops.view_of(scene(1000).render(1.0), 0) for scene in (Scene, HardScene)]


@pytest.fixture
def batches(views, tokenizer):
    """Return batches of 16 crops."""
    return crops.Batches(views, tokenizer, templates('imagenet80'), 16, 64, 0)


def test_spots_lie_in_their_classes():
    """Every class of a frame has spots, all of them on it."""
    frame = Scene(1000).render(1.0)
    view = crops.view_of(frame, 0)
    shown = np.unique(frame.labels)
    assert view.spots.shape == (len(shown), crops.SPOTS, 2)
    for index, spots in zip(shown, view.spots):
        assert (frame.labels[spots[:, 0], spots[:, 1]] == index).all()


def test_a_batch_has_a_true_caption_for_every_crop(batches):
    """The diagonal of the truth is 1: each crop's own caption is true of it."""
    batch = batches[0]
    assert batch.pixels.shape == (16, 64, 64, 3)
    assert batch.pixels.dtype == torch.uint8
    assert batch.tokens.shape == (16, 24)
    assert batch.truth.shape == (16, 16)
    assert (batch.truth.diagonal() == 1).all()
    assert (batch.truth == 0).any()


def test_the_same_index_gives_the_same_batch(batches):
    """Batches depend on the seed and on their index alone, not on what was made before."""
    first, second = batches[3], batches[4]
    again = batches[3]
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one, other)
    assert not torch.equal(first.pixels, second.pixels)


def test_shares_of_a_crop(tokenizer):
    """Instances of one class add up, colours are counted apart, and what has no word is none."""
    labels = np.array([[1, 6, 6, 255]], np.uint8).repeat(4, axis=0).repeat(40, 0).repeat(40, 1)
    instances = np.array([[0, 1, 2, 3]], np.uint8).repeat(4, axis=0).repeat(40, 0).repeat(40, 1)
    names = 'road', 'car', 'car', 'unlabelled'
    looks = {'wet': True}, {'color': 'red'}, {'color': 'blue'}, {}
    frame = Frame(np.zeros((*labels.shape, 3), np.uint8), labels, instances, names, looks, 1.0,
                  (0, 0))
    batch = crops.Batches([crops.view_of(frame, 0)], tokenizer, ['{}'], 64, 64, 0)[0]
    # No caption is about the fence, and none is true of a crop that shows the fence alone.
    assert (batch.truth.diagonal() == 1).all()
    red = batch.tokens == tokenizer.encode('red')[0]
    blue = batch.tokens == tokenizer.encode('blue')[0]
    assert red.any()
    assert blue.any()


def test_tokens_are_those_of_the_tokenizer(batches, tokenizer):
    """Splitting by words changes nothing, too long a text included."""
    texts = [template.format('traffic light in front of a bus')
             for template in templates('imagenet80')]
    texts.append('car ' * 40)
    torch.testing.assert_close(batches.tokens(texts), tokenizer(texts))
