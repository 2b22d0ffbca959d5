"""Training of the demo model: stages, its end, and weights that load."""

import json

from csa_ros.demo import train
from csa_ros.demo import validation
from csa_ros.demo.crops import Crops
from csa_ros.demo.scenes import EVALUATION_SEEDS
from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.weights import source
from csa_ros.training import optimizer
import numpy as np
import open_clip
import pytest
from safetensors.torch import load_file
import torch

QUICK = ('--steps', '2', '--batch', '4', '--scenes', '2', '--workers', '0', '--device', 'cpu')


@pytest.fixture(autouse=True)
def one_street(monkeypatch):
    """Measure on one street."""
    street = validation.streets(range(200, 201))
    monkeypatch.setattr(validation, 'streets', lambda: street)


def weights_of(folder):
    return load_file(folder / 'model.safetensors')


def same(one, two):
    return all(torch.equal(one[key], two[key]) for key in one)


def test_seeds_are_apart():
    """Streets to learn from, to choose by and to be evaluated on are different ones."""
    assert max(EVALUATION_SEEDS) < min(validation.SEEDS)
    assert max(validation.SEEDS) < train.FIRST_TRAINING_SEED


def test_training_writes_weights_that_load_and_can_be_made_again(tmp_path, monkeypatch, capsys):
    """A short training leaves a complete model; the same seed leaves the same one."""
    for name in ('one', 'two'):
        train.main(['tokens', *QUICK, '--output', str(tmp_path / name)])
    one = weights_of(tmp_path / 'one')
    assert same(one, weights_of(tmp_path / 'two'))
    assert not torch.equal(one['visual.proj'].float(), train.build_model(0).visual.proj)
    assert 'with CSA' in capsys.readouterr().out
    monkeypatch.setattr(source, 'DEMO_WEIGHTS', tmp_path / 'one')
    loaded = load_backbone('demo', 'cpu')
    assert loaded.image_size == train.MODEL['vision_cfg']['image_size']
    assert (loaded.short_side, loaded.stride) == (train.SHORT_SIDE, train.STRIDE)
    assert json.loads((tmp_path / 'one' / 'open_clip_config.json').read_text())['model_cfg']


def test_a_stage_goes_on_from_the_weights_of_another(tmp_path):
    """Without a step size, it leaves them as they are."""
    start, output = tmp_path / 'one', tmp_path / 'two'
    train.save(train.build_model(3), start)
    train.main(['patches', *QUICK, '--rate', '0', '--start', str(start), '--output', str(output)])
    assert same(weights_of(start), weights_of(output))


@pytest.mark.parametrize('stage', train.STAGES)
def test_stages(stage):
    """Each fits captions better; in the last two the image tower stays what it is."""
    tokenizer = open_clip.SimpleTokenizer(context_length=24)
    crops = Crops([train.Renders(1)[0]], tokenizer, ['{}'], 64, 0, torch.device('cpu'))
    batch = crops.batch(8)
    model = train.build_model(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    backbone = train.backbone_of(model, tokenizer)

    def loss():
        model.eval()
        with torch.no_grad():
            if stage in train.WORDS:
                return train.words_loss(model, DenseEncoder(backbone, 'csa'), batch, stage)
            return train.towers_loss(model, batch, stage, 0.5)

    first = loss()
    kept = []
    train.fit(backbone, stage, [(0.05, batch)] * 6, 1e-3, lambda: kept.append(True))
    assert loss() < first
    assert kept
    changed = {key.split('.')[0] for key, value in model.state_dict().items()
               if not torch.equal(value, before[key])}
    assert {'token_embedding', 'transformer', 'text_projection'} <= changed
    assert ('visual' in changed) == (stage not in train.WORDS)


def test_stages_have_their_own_priors(monkeypatch):
    """Rare words are held back in two of them, and brought forward in the last one."""
    priors = []

    def note(logits, target, prior):
        priors.append(prior)
        return loss_of(logits, target, prior)

    loss_of = train.balanced_sigmoid_loss
    monkeypatch.setattr(train, 'balanced_sigmoid_loss', note)
    tokenizer = open_clip.SimpleTokenizer(context_length=24)
    crops = Crops([train.Renders(1)[0]], tokenizer, ['{}'], 64, 0, torch.device('cpu'))
    batch = crops.batch(4)
    model = train.build_model(0)
    for stage, expected in (('tokens', 0.0), ('patches', 0.5)):
        priors.clear()
        train.towers_loss(model, batch, stage, 0.5)
        assert priors == [expected] * 2
    encoder = DenseEncoder(train.backbone_of(model, tokenizer), 'csa')
    for stage, expected in (('words', 0.5), ('rare-words', -0.25)):
        priors.clear()
        train.words_loss(model, encoder, batch, stage)
        assert priors == [expected]


def test_scenes_of_an_earlier_stage_can_be_skipped():
    """The first of them is left out, and the second stays what it is."""
    second, = train.render_all(1, 0, skip=1)
    np.testing.assert_array_equal(second.rgb, train.render_all(2, 0)[1].rgb)


def test_stages_have_their_own_defaults(monkeypatch):
    """What is not given is the stage's."""
    given = []
    monkeypatch.setattr(train, 'train', given.append)
    train.main(['tokens', '--batch', '7'])
    defaults = train.STAGES['tokens']
    assert (given[0].steps, given[0].batch, given[0].rate) == (defaults.steps, 7, defaults.rate)


def test_processes_render_the_same_scenes():
    """Two of them give the views of none, in order."""
    for one, other in zip(train.render_all(2, 0), train.render_all(2, 2)):
        np.testing.assert_array_equal(one.rgb, other.rgb)
        np.testing.assert_array_equal(one.spots, other.spots)
        assert one.facts == other.facts


def test_a_clock_of_steps_and_one_of_minutes(monkeypatch):
    """Progress is the share of the steps, or of the time."""
    now = iter((100.0, 100.0, 115.0, 130.0))
    monkeypatch.setattr(train.time, 'monotonic', lambda: next(now))
    steps = train.Clock(4, None)
    assert [steps.progress(step) for step in (0, 3, 4)] == [0, 0.75, 1]
    minutes = train.Clock(4, 0.5)
    assert [minutes.progress(step) for step in (0, 1, 2)] == [0, 0.5, 1]


def test_the_rate_rises_and_falls():
    """It is highest after the warm-up, and nothing at the end."""
    rates = [optimizer.one_cycle(progress) for progress in np.linspace(0, 1, 101)]
    assert np.argmax(rates) == 100 * optimizer.WARM_UP
    assert max(rates) == 1
    assert 0 < rates[0] < 0.05
    assert rates[-1] == 0


@pytest.mark.parametrize('option, value, words', [
    ('--steps', '0', '--steps is 0: it must be at least 1'),
    ('--minutes', '0', '--minutes is 0.0: it must be at least 0.01'),
    ('--batch', '1', '--batch is 1: it must be at least 2'),
    ('--rate', '-1', '--rate is -1.0: it must be at least 0'),
    ('--start', 'nowhere', '--start is nowhere: there is no model.safetensors in it'),
    ('--skip', '-1', '--skip is -1: it must be at least 0'),
    ('--seed', '0', 'stage patches goes on from an earlier one'),
])
def test_bad_arguments(option, value, words, capsys):
    """Arguments are refused by name, value and limit, before anything is rendered."""
    with pytest.raises(SystemExit) as error:
        train.main(['patches', f'{option}={value}'])
    assert error.value.code == 2
    assert words in capsys.readouterr().err
