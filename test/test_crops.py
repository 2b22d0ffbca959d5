"""Batches of crops and captions: they show what is said of them, whatever device makes them."""

from csa_ros.demo import crops
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.model.text import templates
import numpy as np
import open_clip
import pytest
import torch

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def tokenizer():
    """Return the tokenizer of the demo model."""
    return open_clip.SimpleTokenizer(context_length=24)


@pytest.fixture(scope='module')
def views():
    """Return views of a plain and of a hard street."""
    return [crops.view_of(scene(1000).render(1.0), 0) for scene in (Scene, HardScene)]


def make(views, tokenizer, seed=0, device=CPU):
    return crops.Crops(views, tokenizer, templates('imagenet80'), 64, seed, device)


def test_spots_lie_in_their_classes():
    """Every class of a frame has spots, all of them on it."""
    frame = Scene(1000).render(1.0)
    view = crops.view_of(frame, 0)
    shown = np.unique(frame.labels)
    assert view.spots.shape == (len(shown), crops.SPOTS, 2)
    for index, spots in zip(shown, view.spots):
        assert (frame.labels[spots[:, 0], spots[:, 1]] == index).all()


def test_a_batch_has_a_true_caption_for_every_crop(views, tokenizer):
    """The diagonal of the truth is 1: each crop's own caption is true of it."""
    batch = make(views, tokenizer).batch(32)
    assert batch.images.shape == (32, 3, 64, 64)
    assert batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert batch.tokens.shape == (32, 24)
    assert batch.truth.shape == (32, 32)
    own = batch.truth.diagonal()
    assert (own[~own.isnan()] == 1).all()
    assert own.isnan().float().mean() < 0.1
    assert (batch.truth == 0).any()


def test_a_seed_gives_the_same_batches(views, tokenizer):
    """One after another, they differ; from the same seed they are the same."""
    one, other = make(views, tokenizer), make(views, tokenizer)
    first, second = one.batch(8), one.batch(8)
    for part, same in zip(first, other.batch(8)):
        torch.testing.assert_close(part, same, rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(make(views, tokenizer, seed=1).batch(8).images, first.images)


def test_crops_show_what_is_said_of_them(tokenizer):
    """In a picture of two colours captions name what their crops show, and light varies."""
    height, width = 240, 320
    labels = np.full((height, width), 1, np.uint8)
    labels[:, 150:] = 3
    labels[:, 170:] = 255
    instances = np.where(labels == 255, 2, labels == 3).astype(np.uint8)
    rgb = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)[instances]
    frame = Frame(rgb, labels, instances, ('road', 'grass', 'unlabelled'),
                  ({'wet': False}, {}, {}), 1.0, (0, 0))
    batch = make([crops.view_of(frame, 0)], tokenizer).batch(200)
    red, green, blue = batch.images.mean(dim=(2, 3)).T / batch.images.sum(dim=1).mean(dim=(1, 2))
    texts = [tokenizer.decode(row.tolist()) for row in batch.tokens]
    red_said, green_said = (
        torch.tensor([any(word in text for word in words) for text in texts])
        for words in (('road', 'street', 'asphalt'), ('grass', 'lawn')))
    valid = ~batch.truth.diagonal().isnan()
    # What has no word is in no caption; a crop of nothing else has none.
    assert (blue[~valid] > 0.9).all()
    for share, said in ((red, red_said), (green, green_said)):
        assert (share[valid & said] > 0.03).all()
    light = batch.images.amax(dim=(1, 2, 3))
    assert light.min() < 0.75 < 0.82 < light.max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_makes_the_same_batches(views, tokenizer):
    """Captions and truth are equal, pictures to rounding."""
    host, device = (make(views, tokenizer, device=torch.device(name)).batch(64)
                    for name in ('cpu', 'cuda'))
    assert torch.equal(host.tokens, device.tokens.cpu())
    torch.testing.assert_close(host.truth, device.truth.cpu(), equal_nan=True)
    torch.testing.assert_close(host.images, device.images.cpu(), rtol=0, atol=1e-4)
