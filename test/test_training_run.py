"""The training: what learns, what is left after a break, and what cannot go on."""

import json
from pathlib import Path
import resource
import signal
import subprocess
import sys

from csa_ros import Segmenter
from csa_ros import Vocabulary
from csa_ros.model.backbone import load_backbone
from csa_ros.model.towers.architecture import build
from csa_ros.model.weights.source import parse_model
from csa_ros.model.weights.source import prefix_for_files
from csa_ros.tools import train
from csa_ros.tools.running import FAILED
from csa_ros.training import held_out
from csa_ros.training import optimizer
from csa_ros.training import run
from csa_ros.training.choices import LOSSES
from csa_ros.training.choices import PARTS
from csa_ros.training.features import collect
from csa_ros.training.features import Encoder
from csa_ros.training.objective import Objective
import numpy as np
import open_clip
from PIL import Image
import pytest
from safetensors.torch import load_file
from safetensors.torch import save_file
import torch
import towers

ARCHITECTURE = 'TrainingTiny'
COLORS = {'red': (220, 30, 30), 'green': (30, 200, 30), 'blue': (30, 30, 220)}
PICTURES = 12
# Begins a training in a process of its own, in which the architecture must be known too; it is
# killed in its last step, and has written a state after each of the others.
KILLED = """
import os
from pathlib import Path
import signal
import sys
sys.path.append({tests!r})
import towers
towers.register(Path({folder!r}), {name!r})
from csa_ros.tools import train
from csa_ros.training import run
run.SAVE_SECONDS = 0.0
learn = run.Training._learn

def killed(self, *batch):
    if self._step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return learn(self, *batch)

run.Training._learn = killed
train.main(sys.argv[1:])
"""


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Return a file with weights of a tiny architecture that open_clip knows by its name."""
    folder = tmp_path_factory.mktemp('start')
    towers.register(folder, ARCHITECTURE)
    path = folder / 'start.safetensors'
    save_file(towers.make_clip().state_dict(), path)
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder of coloured pictures, and the file with their captions."""
    folder = tmp_path_factory.mktemp('data')
    rows = ['picture,caption']
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        name, color = list(COLORS.items())[number % 3]
        pixels = np.clip(np.array(color) + random.normal(0, 20, (36, 40, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f'{number}.png')
        rows += [f'{number}.png,a {name} wall', f'{number}.png,{name} paint']
    captions = folder / 'captions.csv'
    captions.write_text('\n'.join(rows) + '\n')
    return folder, captions


@pytest.fixture
def arguments(start, data, tmp_path):
    """Return what makes the arguments of a training, quick and into a file of the test."""
    folder, captions = data

    def make(*more, out='out.safetensors', **replaced):
        given = {'model': f'{ARCHITECTURE}:{start}', 'images': folder, 'captions': captions,
                 'out': tmp_path / out, 'epochs': 2, 'batch': 4, 'rate': 1e-3, 'held-out': 0.2,
                 'device': 'cpu', **replaced}
        return [str(word) for name, value in given.items() for word in (f'--{name}', value)
                ] + [*map(str, more)]
    return make


def weights(path):
    return load_file(path)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


# What comes out

def test_a_training_leaves_a_model_that_segments(arguments, tmp_path, capsys):
    """It has learnt, on pictures that it has not seen too; the words said load it."""
    assert train.main(arguments('--train', 'all', epochs=8)) == train.DONE
    out, report = tmp_path / 'out.safetensors', tmp_path / 'out.safetensors.json'
    assert {path.name for path in tmp_path.iterdir()} == {out.name, report.name}
    history = json.loads(report.read_text())['history']
    assert [entry['epoch'] for entry in history] == list(range(9))
    assert history[-1]['held_out']['loss'] < 0.7 * history[0]['held_out']['loss']
    assert history[-1]['loss'] < history[1]['loss']
    captured = capsys.readouterr()
    assert 'train: epoch 8 of 8, loss ' in captured.err
    model = captured.out.rpartition('model:=')[2].strip()
    assert model == f'{ARCHITECTURE}:{out}'
    segmenter = Segmenter.load(model, device='cpu', cache_dir=tmp_path / 'cache')
    words = segmenter.encode(Vocabulary.parse(['red wall', 'blue wall']), 'a {}')
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = COLORS['red'], COLORS['blue']
    labels = segmenter.segment(picture, words).labels
    assert (labels[:, :32] == 0).mean() > 0.9
    assert (labels[:, 64:] == 1).mean() > 0.9


def test_the_same_seed_leaves_the_same_file(arguments, tmp_path):
    for name, seed in (('one', 0), ('two', 0), ('three', 1)):
        train.main(arguments(out=f'{name}.safetensors', seed=seed, epochs=1))
    one, two, three = (tmp_path / f'{name}.safetensors' for name in ('one', 'two', 'three'))
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_mode & 0o777 == Path(f'{one}.json').stat().st_mode & 0o777
    assert not same(weights(one), weights(three))


@pytest.mark.parametrize('part', PARTS)
def test_only_what_is_to_learn_does(arguments, start, tmp_path, part):
    train.main(arguments(train=part, epochs=1))
    before, after = weights(start), weights(tmp_path / 'out.safetensors')
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {'token_embedding.weight', 'text_projection'} <= changed
    assert ('visual.proj' in changed) == (part != 'words')
    assert ('visual.conv1.weight' in changed) == (part == 'all')
    assert ('visual.transformer.resblocks.1.ln_1.weight' in changed) == (part != 'words')


def test_last_blocks_are_the_last():
    """By open_clip's names of towers, and by timm's."""
    for architecture, frozen, learning in (
            ('ViT-B-32', ('visual.conv1.weight', 'visual.transformer.resblocks.9.ln_1.weight',
                          'visual.ln_pre.weight', 'visual.class_embedding'),
             ('visual.transformer.resblocks.10.ln_1.weight', 'visual.ln_post.weight',
              'visual.proj', 'text_projection')),
            ('MobileCLIP-B', ('visual.trunk.blocks.9.norm1.weight', 'visual.trunk.pos_embed'),
             ('visual.trunk.blocks.10.norm1.weight', 'visual.trunk.norm.weight',
              'visual.trunk.head.weight', 'text.text_projection.weight'))):
        config = open_clip.get_model_config(architecture)
        with torch.device('meta'):
            clip = build(config)
        chosen = optimizer.learning(clip, 'last-blocks')
        assert set(learning) <= chosen.keys() | {'text.text_projection.weight'}
        assert not set(frozen) & chosen.keys()
        assert not any(name.startswith('visual.') for name in optimizer.learning(clip, 'words'))


@pytest.mark.parametrize('names', [
    *([name] for name in LOSSES), ['siglip', 'patches', 'dreamlip']])
def test_every_loss_falls_and_is_a_number_at_once(names):
    """At the scales that are measured, whatever the model's cosines are."""
    backbone = towers.make_backbone()
    for parameter in optimizer.learning(backbone.clip, 'all').values():
        parameter.requires_grad_(True)
    encoder = Encoder(backbone, True, torch.float32)
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8)
    captions = [('a red car', 'a road'), ('a tree', 'a lawn'), ('a road', 'a road'),
                ('a bus', 'a red bus'), ('a tree', 'a red car'), ('sky', 'a cloud')]
    objective = Objective(names)
    with torch.no_grad():
        objective.fit(encoder(frames, captions))
    chosen = torch.optim.AdamW(backbone.clip.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = objective(encoder(frames, captions))
        chosen.zero_grad()
        loss.backward()
        chosen.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_features_are_those_of_the_model():
    """In one pass where the tower learns: those of open_clip; otherwise the node's patches."""
    backbone = towers.make_backbone()
    frames = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    one, two = (Encoder(backbone, learns, torch.float32) for learns in (True, False))
    image, patches = one.images(frames)
    same_image, dense = two.images(frames)
    torch.testing.assert_close(image, same_image)
    assert patches.shape == dense.shape == (2, 16, 32)
    assert not torch.allclose(patches, dense, atol=1e-3)
    pixels = (frames.permute(0, 3, 1, 2) / 255 - torch.tensor(towers.MEAN).view(3, 1, 1)
              ) / torch.tensor(towers.STD).view(3, 1, 1)
    torch.testing.assert_close(image, backbone.clip.encode_image(pixels, normalize=True))
    texts = ['a car', 'a very ' + 'long ' * 40 + 'caption']
    tokens = open_clip.SimpleTokenizer(context_length=24)(texts)
    torch.testing.assert_close(one.texts(texts), backbone.clip.encode_text(tokens, normalize=True))


def test_captions_of_several_pictures_are_of_each():
    texts = collect([('a car', 'a road'), ('a road', 'a road')])
    assert texts.texts == ['a car', 'a road']
    assert texts.which.tolist() == [[0, 1], [1, 1]]
    assert texts.own.tolist() == [[True, True], [False, True]]


# Held out

def test_a_share_is_held_out_always_the_same():
    learnt, held = held_out.split(50, 0.2, 3)
    assert sorted(learnt + held) == list(range(50))
    assert len(held) == 10
    assert held_out.split(50, 0.2, 3) == (learnt, held)
    assert held_out.split(50, 0.2, 4) != (learnt, held)
    assert held_out.split(50, 0.0, 3) == (list(range(50)), [])
    assert len(held_out.split(5, 0.01, 3)[1]) == 1
    assert len(held_out.split(10**5, 0.5, 3)[1]) == held_out.MOST


def test_what_is_found():
    """A caption of several pictures is right for each of them."""
    own = torch.tensor([[True, False, True], [False, True, True]])
    right = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.8, 0.6]])
    assert held_out._found(right, own) == (1, 1)
    assert held_out._found(right.flip(0), own) == pytest.approx((0, 1 / 3))


# Breaks

def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(
        arguments, start, tmp_path, capsys):
    """The last state is of the middle of an epoch; the file is the same to the last bit."""
    options = ['--loss', 'fff', 'patches', '--train', 'all']
    train.main(arguments(*options, out='whole.safetensors'))
    broken = arguments(*options, out='broken.safetensors')
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(start.parent),
                         name=ARCHITECTURE)
    ended = subprocess.run([sys.executable, '-c', code, *broken], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert 'broken.safetensors.state' in left
    capsys.readouterr()
    assert train.main(broken) == train.DONE
    assert 'train: goes on from step 3 of 4' in capsys.readouterr().err
    whole, again = (tmp_path / f'{name}.safetensors' for name in ('whole', 'broken'))
    assert whole.read_bytes() == again.read_bytes()
    reports = [Path(f'{path}.json').read_text() for path in (whole, again)]
    assert reports[0] == reports[1]
    assert not (tmp_path / 'broken.safetensors.state').exists()


def test_a_training_that_was_ended_at_its_end_is_finished(arguments, tmp_path, monkeypatch):
    """Between the last state and the weights."""
    monkeypatch.setattr(run.Training, '_write', lambda self: None)
    monkeypatch.setattr(Path, 'unlink', lambda *_, **__: None)
    train.main(arguments(epochs=1))
    monkeypatch.undo()
    assert not (tmp_path / 'out.safetensors').exists()
    assert train.main(arguments(epochs=1)) == train.DONE
    assert (tmp_path / 'out.safetensors').exists()


def test_an_interrupted_training_says_how_to_go_on(arguments, monkeypatch, capsys):
    monkeypatch.setattr(run.Training, 'run', lambda *_: signal.raise_signal(signal.SIGINT))
    assert train.main(arguments()) == 130
    assert 'the same command goes on from the last state' in capsys.readouterr().err


@pytest.fixture
def state(arguments, tmp_path, monkeypatch):
    """Leave the state of a training that was ended after its first epoch; return its file."""
    end_part = run.Training._end_part

    def ended(self, say):
        end_part(self, say)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(run.Training, '_end_part', ended)
        assert train.main(arguments()) == 130
    return tmp_path / 'out.safetensors.state'


@pytest.mark.parametrize('option, value, words', [
    ('rate', 2e-3, 'rate was 0.001 and is now 0.002'),
    ('batch', 5, 'batch was 4 and is now 5'),
    ('loss', 'fff', "losses was ['siglip', 'patches'] and is now ['fff']"),
])
def test_another_training_does_not_go_on_with_a_state(
        arguments, state, capsys, option, value, words):
    assert train.main(arguments(**{option: value})) == FAILED
    error = capsys.readouterr().err
    assert f'{state} is the state of another training: {words}' in error
    assert 'name another file with --out' in error
    assert state.exists()


def test_a_damaged_state_is_named(arguments, state, capsys):
    """And what a pickle in its place would do is not done."""
    for content in (b'', b'cos\nsystem\n(S"touch /tmp/no"\ntR.', state.read_bytes()[:-99]):
        state.write_bytes(content)
        assert train.main(arguments()) == FAILED
        assert f'{state} is damaged' in capsys.readouterr().err


def test_weights_are_never_overwritten(arguments, tmp_path, capsys):
    (tmp_path / 'out.safetensors').write_text('mine')
    assert train.main(arguments()) == FAILED
    assert 'out.safetensors is there already: name another file' in capsys.readouterr().err
    assert (tmp_path / 'out.safetensors').read_text() == 'mine'


def test_a_loss_that_is_no_number_ends_it_and_keeps_what_was_good(
        arguments, tmp_path, monkeypatch, capsys):
    """In the second epoch one value of a weight is none any more."""
    learn = run.Training._learn

    def poisoned(self, *batch):
        if self._step == 3:
            self._parameters['text_projection'].data[0, 0] = torch.nan
        return learn(self, *batch)
    monkeypatch.setattr(run.Training, '_learn', poisoned)
    assert train.main(arguments()) == FAILED
    error = capsys.readouterr().err
    assert 'the loss is nan and its gradient' in error and 'at step 3' in error
    assert 'has the weights of epoch 1. Give a lower --rate than 0.001' in error
    kept = weights(tmp_path / 'out.safetensors')
    assert all(value.isfinite().all() for value in kept.values())


def test_a_full_disk_ends_it_and_keeps_what_was_good(arguments, tmp_path, capsys):
    """Files that can be no longer than so many bytes stand for it; what is there of one goes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200000, before[1]))
    try:
        assert train.main(arguments()) == FAILED
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert 'out.safetensors.state cannot be written: ' in error
    assert 'make room, and the same command goes on from there' in error
    assert not list(tmp_path.iterdir())


# What is refused

@pytest.mark.parametrize('replaced, words', [
    ({'epochs': 0}, '--epochs is 0: it must be at least 1'),
    ({'batch': 1}, '--batch is 1: it must be at least 2'),
    ({'rate': 0}, '--rate is 0.0: it must be above 0'),
    ({'rate': 'nan'}, '--rate is nan: it must be above 0'),
    ({'seed': -1}, '--seed is -1: it must be at least 0'),
    ({'held-out': 1}, '--held-out is 1.0: it must be from 0 to below 1'),
    ({'out': 'weights.pt'}, "weights.pt ends in '.pt': weights are written as .safetensors"),
    ({'out': 'nowhere/weights.safetensors'}, 'there is no folder'),
    ({'train': 'everything'}, 'invalid choice'),
])
def test_bad_arguments(arguments, replaced, words, capsys):
    with pytest.raises(SystemExit) as error:
        train.main(arguments(**replaced))
    assert error.value.code == 2
    assert words in capsys.readouterr().err


def test_losses_that_hold_each_other_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        train.main(arguments('--loss', 'siglip', 'fff'))
    assert '--loss fff is siglip with more positives' in capsys.readouterr().err


@pytest.mark.parametrize('replaced, words', [
    ({'images': 'nowhere'}, 'nowhere does not exist'),
    ({'batch': 11},
     '--batch is 11 and there are 10 pictures to learn from (2 of 12 are held out)'),
    ({'precision': 'fp16'}, '--precision fp16 needs a GPU'),
    ({'model': 'ViT-B-99:/nowhere'}, "knows no architecture 'ViT-B-99'"),
    ({'model': f'{ARCHITECTURE}:/nowhere'}, 'there is no file /nowhere'),
])
def test_what_cannot_be_trained(arguments, replaced, words, capsys):
    assert train.main(arguments(**replaced)) == FAILED
    assert words in capsys.readouterr().err


def test_one_picture_alone_teaches_nothing(arguments, data, tmp_path, capsys):
    captions = tmp_path / 'one.csv'
    captions.write_text('picture,caption\n0.png,a red wall\n')
    given = arguments(captions=captions)
    del given[given.index('--batch'):given.index('--batch') + 2]
    for held, words in ((0.1, '0 pictures to learn from (1 of 1 are held out)'),
                        (0, '1 pictures to learn from: captions are compared among pictures')):
        assert train.main([*given, '--held-out', str(held)]) == FAILED
        assert words in capsys.readouterr().err


def test_what_is_left_out_is_said(arguments, data, tmp_path, capsys):
    """Rows that repeat, and captions that are too long."""
    _, captions = data
    long = 'a red wall ' * 20
    path = tmp_path / 'more.csv'
    path.write_text(captions.read_text() + f'0.png,a red wall\n1.png,{long}\n')
    train.main(arguments(captions=path, epochs=1))
    error = capsys.readouterr().err
    assert f'{path} repeats 1 captions of a picture, which count once' in error
    assert '1 captions are longer than the 22 tokens' in error


# Names of models

@pytest.mark.parametrize('model, prefix', [
    ('demo', 'demo'), ('demo:/a/file', 'demo'),
    ('ViT-B-16-quickgelu/openai', 'ViT-B-16-quickgelu'),
    # The tag knows of another activation than the architecture.
    ('ViT-B-16/openai', 'ViT-B-16-quickgelu'), ('ViT-B-16/laion2b_s34b_b88k', 'ViT-B-16'),
    ('ViT-B-16:/a/file', 'ViT-B-16')])
def test_a_file_is_loaded_by_the_name_of_what_it_came_from(model, prefix):
    source = parse_model(model)
    assert prefix_for_files(source) == prefix
    loaded = parse_model(f'{prefix}:/a/file')
    assert (loaded.mean, loaded.std) == (source.mean, source.std)
    assert bool(loaded.config.get('quick_gelu')) == bool(source.config.get('quick_gelu'))


def test_every_model_that_can_be_used_has_such_a_name():
    """Also where one architecture has tags that want other pixels."""
    usable = 0
    for architecture, tag in open_clip.list_pretrained():
        try:
            source = parse_model(f'{architecture}/{tag}')
        except RuntimeError:
            continue
        usable += 1
        assert prefix_for_files(source)
    assert usable > 50


def test_weights_of_the_demo_model_load_from_a_file(tmp_path):
    """With its sizes; another model's do not."""
    bundled = load_backbone('demo', 'cpu')
    path = tmp_path / 'mine.safetensors'
    save_file({name: value.clone() for name, value in bundled.clip.state_dict().items()}, path)
    loaded = load_backbone(f'demo:{path}', 'cpu')
    assert (loaded.short_side, loaded.stride) == (bundled.short_side, bundled.stride)
    assert loaded.identity != bundled.identity
    assert same(loaded.clip.state_dict(), bundled.clip.state_dict())
    with pytest.raises(RuntimeError, match='there is no file /nowhere'):
        load_backbone('demo:/nowhere', 'cpu')
    with pytest.raises(RuntimeError, match="model 'demo/x' is not understood"):
        load_backbone('demo/x', 'cpu')
