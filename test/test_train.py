"""Training of the demo model: batches, the loss, and weights that load."""

from argparse import Namespace
import json

from csa_ros.demo import train
from csa_ros.model.backbone import load_backbone
from csa_ros.model.text import templates
from csa_ros.model.weights import source
import numpy as np
import pytest
from safetensors.torch import load_file
import torch


@pytest.fixture(scope='module')
def frames():
    """Return two rendered training scenes."""
    return [train.render(train.FIRST_TRAINING_SEED + i) for i in range(2)]


def test_evaluation_scenes_are_never_trained_on():
    """The seeds of training and evaluation are apart."""
    assert max(train.EVALUATION_SEEDS) < train.FIRST_TRAINING_SEED


def test_a_batch_has_a_true_caption_for_every_crop(frames):
    """The diagonal of the truth is 1: each crop's own caption is true of it."""
    pixels, texts, truth = train.make_batch(
        frames, 16, np.random.default_rng(0), templates('imagenet80'))
    assert pixels.shape == (16, 64, 64, 3)
    assert pixels.dtype == np.uint8
    assert len(texts) == 16
    assert truth.shape == (16, 16)
    assert (np.diagonal(truth) == 1).all()
    assert (truth == 0).any()


def test_loss_rewards_true_pairs_and_ignores_undecided_ones():
    """Each caption's true crops weigh as much as its false ones; NaN weighs nothing."""
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, torch.nan]])
    right = torch.tensor([[5.0, -5.0], [-5.0, 5.0], [-5.0, 0.0]])
    assert train.sigmoid_loss(right, target) < 0.02
    assert train.sigmoid_loss(-right, target) > 9
    undecided = right.clone()
    undecided[2, 1] = 100.0
    assert train.sigmoid_loss(undecided, target) == train.sigmoid_loss(right, target)
    # One true crop against two false ones: zero logits cost log 2 for either side.
    assert train.sigmoid_loss(torch.zeros(3, 2), target) == pytest.approx(2 * np.log(2))


def test_training_writes_weights_that_load_and_can_be_made_again(tmp_path, monkeypatch, capsys):
    """A short training leaves a complete model; the same seed leaves the same one."""
    # Its processes take long to start.
    rendered = train.render_all(2)
    monkeypatch.setattr(train, 'render_all', lambda count: rendered[:count])
    for name in ('one', 'two'):
        train.train(Namespace(seed=1, scenes=2, rate=1e-3, steps=2, batch=4, patch_share=0.5,
                              start=None, output=tmp_path / name))
    one, two = (load_file(tmp_path / name / 'model.safetensors') for name in ('one', 'two'))
    assert all(torch.equal(one[key], two[key]) for key in one)
    untrained = train.build_model(1).state_dict()
    assert not torch.equal(one['visual.proj'].float(), untrained['visual.proj'])
    # Going on from there without a step size leaves the weights as they are.
    train.train(Namespace(seed=2, scenes=2, rate=0.0, steps=2, batch=4, patch_share=0.0,
                          start=tmp_path / 'one', output=tmp_path / 'three'))
    three = load_file(tmp_path / 'three' / 'model.safetensors')
    assert all(torch.equal(one[key], three[key]) for key in one)
    monkeypatch.setattr(source, 'DEMO_WEIGHTS', tmp_path / 'one')
    loaded = load_backbone('demo', 'cpu')
    assert loaded.image_size == train.MODEL['vision_cfg']['image_size']
    assert (loaded.short_side, loaded.stride) == (train.SHORT_SIDE, train.STRIDE)
    assert json.loads((tmp_path / 'one' / 'open_clip_config.json').read_text())['model_cfg']
