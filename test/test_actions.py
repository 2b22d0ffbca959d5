"""Actions in a stream: what is kept of frames, how it is compared, and what cannot be."""

import json

from csa_ros.actions import adapters
from csa_ros.actions import matching
from csa_ros.actions import model as learned
from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import LEARNING
from csa_ros.actions.choices import METHODS
from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import feature_length
from csa_ros.actions.frames import features_of
from csa_ros.actions.frames import fit
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.frames import of_changes
from csa_ros.actions.frames import of_class
from csa_ros.actions.model import ActionModel
from csa_ros.actions.recogniser import load_recogniser
from csa_ros.actions.recogniser import Recogniser
from csa_ros.actions.recogniser import WORD_SHARE
from csa_ros.model.errors import ModelError
from csa_ros.model.text import PromptError
from csa_ros.teaching.fingerprint import difference
from csa_ros.training.checkpoint import write_weights
import numpy as np
import pytest
from safetensors.torch import save_file
import torch
import towers

NAMES = ('a wave', 'a nod', 'a bow')
LENGTH = feature_length(towers.CONFIG['embed_dim'])


@pytest.fixture(scope='module')
def backbone():
    return towers.make_backbone()


@pytest.fixture
def make(backbone, tmp_path):
    """Return a function that makes a recogniser of a method, with a model if one is given."""
    return lambda method='clip-fsar', model=None: Recogniser(
        backbone, method, model, tmp_path)


def pictures(seed, count=FRAMES):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(count)]


def stirred(model, seed=0):
    """Return a model as if it had learned something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return model.eval().requires_grad_(False)


# Alignment

def test_the_order_of_frames_matters_to_alignment_alone():
    frames = torch.eye(FRAMES)
    there, back = frames[None], frames.flip(0)[None]
    ordered = matching.ordered_distances(there, torch.cat([there, back]))[0]
    assert ordered[0] < ordered[1] - 1
    mean = matching.mean_distances(there, torch.cat([there, back]))[0]
    assert mean[0] == mean[1]


@pytest.mark.parametrize('frames, others', [(1, 1), (1, 5), (5, 1), (3, 8)])
def test_clips_of_any_length_are_aligned(frames, others):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, count, 16, generator=generator) for count in (frames, others))
    distances = matching.ordered_distances(x, y)
    assert distances.shape == (2, 2)
    assert distances.isfinite().all()
    torch.testing.assert_close(distances, matching.ordered_distances(y, x).T)


def test_features_that_are_zero_are_like_nothing():
    assert matching.cosines(torch.zeros(1, 4), torch.ones(1, 4)).item() == 0


# What is kept of frames

@pytest.mark.parametrize('size, kept', [((30, 40), (30, 40)), ((30, 400), (30, 40)),
                                        ((400, 30), (40, 30)), ((1, 1), (1, 1))])
def test_pictures_are_cut_to_four_thirds_and_fitted(size, kept):
    rgb = np.zeros((*size, 3), np.uint8)
    top, left = ((whole - part) // 2 for whole, part in zip(size, kept))
    rgb[top:top + kept[0], left:left + kept[1]] = 200
    fitted = fit(rgb, 32)
    assert fitted.shape == (3, 32, 32)
    assert fitted.dtype == torch.uint8
    assert (fitted == 200).all()


@pytest.mark.parametrize('rgb, said', [
    (None, 'NoneType'), (np.zeros((4, 4), np.uint8), r'\(4, 4\)'),
    (np.zeros((4, 4, 3), np.float32), 'float32'), (np.zeros((0, 4, 3), np.uint8), r'\(0, 4, 3\)')])
def test_what_is_no_picture_is_refused(make, rgb, said):
    with pytest.raises(ActionError, match=said):
        make().observe(rgb)


def test_what_is_kept_begins_with_the_feature_of_the_class_token(make, backbone):
    rgb, = pictures(0, 1)
    kept = make().observe(rgb)
    pixels = FrameEncoder(backbone).normalize(fit(rgb, 32)[None])
    feature = backbone.clip.encode_image(pixels)[0]
    assert kept.shape == (LENGTH,)
    torch.testing.assert_close(of_class(kept), feature, atol=1e-5, rtol=0)


def test_columns_are_the_means_of_their_patches():
    """By their place, and less what a clip has in common."""
    tokens = torch.zeros(FRAMES, 1 + 2 * 8, 3)
    tokens[:, 0] = 7
    patches = tokens[:, 1:].unflatten(1, (2, 8))
    patches[2, :, 5] = 4
    features = features_of(tokens, (2, 8))
    assert features.shape == (FRAMES, feature_length(3))
    assert (of_class(features) == 7).all()
    changes = of_changes(features).unflatten(1, (4, 3))
    assert changes[2, 2].tolist() == [1.75] * 3
    assert (changes[torch.arange(FRAMES) != 2, 2] == -0.25).all()
    assert not changes[:, [0, 1, 3]].any()


# Adapters

def test_adapters_that_have_learned_nothing_change_nothing(backbone):
    """To the bit."""
    tower = adapters.AdaptedTower(backbone)
    frames = torch.stack([fit(rgb, 32) for rgb in pictures(0, 2 * FRAMES)])
    encoder = FrameEncoder(backbone)
    plain = encoder(frames)
    pixels = encoder.normalize(frames).unflatten(0, (2, FRAMES))
    text = torch.randn(2, backbone.embed_dim)
    with torch.inference_mode():
        for word in (None, text):
            assert torch.equal(tower(pixels, word).flatten(0, 1), plain)
        stirred(tower)
        assert not torch.allclose(tower(pixels).flatten(0, 1), plain, atol=1e-3)


def test_clips_are_apart_and_frames_are_not(backbone):
    """No frame changes what is seen in another clip; each changes what is seen in its own."""
    tower = stirred(adapters.AdaptedTower(backbone))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, FRAMES, 3, 32, 32, generator=generator)
    text = torch.randn(2, backbone.embed_dim, generator=generator)
    with torch.inference_mode():
        both, alone = tower(pixels), tower(pixels[:1])
        torch.testing.assert_close(both[:1], alone, atol=1e-4, rtol=1e-4)
        other = pixels[:1].clone()
        other[:, 0] = 0
        assert not torch.allclose(tower(other)[:, 1], alone[:, 1], atol=1e-3)
        worded = tower(pixels, text)
        assert not torch.allclose(worded, both, atol=1e-3)
        torch.testing.assert_close(tower(pixels[1:], text[1:]), worded[1:], atol=1e-4, rtol=1e-4)


def test_the_clip_is_neither_part_of_the_weights_nor_learns(backbone):
    tower = adapters.AdaptedTower(backbone)
    names = dict(tower.named_parameters())
    assert set(names) == set(tower.state_dict())
    assert all(name.startswith('blocks.') for name in names)
    assert not any(weight.requires_grad for weight in backbone.clip.parameters())


# Recognising

@pytest.mark.parametrize('method', METHODS)
def test_what_was_shown_is_recognised(make, backbone, method):
    """By each method, of a window that was shown; names in another order change nothing."""
    model = ActionModel.of(backbone, method).eval() if method == 'ma-clip' else None
    this = make(method, model)
    clips = {name: [this.observe(rgb) for rgb in pictures(seed)]
             for seed, name in enumerate(NAMES)}
    shown = {name: this.demonstrate(window, name)[None] for name, window in clips.items()}
    assert all(kept.shape == (1, FRAMES, LENGTH) and kept.dtype == torch.float32
               for kept in shown.values())
    words, alone = this.encode(NAMES), this.encode(NAMES[::-1])
    for index, name in enumerate(NAMES):
        said = this.recognise(clips[name], words, {})
        found = this.recognise(clips[name], words, shown)
        assert found.shape == (3,)
        assert found.dtype == np.float32
        assert found.sum() == pytest.approx(1)
        # Without what words have said.
        assert (found / said ** WORD_SHARE).argmax() == index
        np.testing.assert_allclose(this.recognise(clips[name], alone, shown), found[::-1],
                                   rtol=1e-4)


def test_actions_that_were_not_shown_go_by_their_words(make):
    """What examples say, they say among those that have some; others keep their share."""
    this = make()
    window = [this.observe(rgb) for rgb in pictures(0)]
    words = this.encode(NAMES)
    said = this.recognise(window, words, {})
    shown = {name: this.demonstrate([this.observe(rgb) for rgb in pictures(seed)], name)[None]
             for seed, name in enumerate(NAMES[:2])}
    found = this.recognise(window, words, {**shown, 'of another list': shown[NAMES[0]]})
    assert found[2] == pytest.approx(said[2], rel=1e-5)
    assert found[0] > said[0]
    none = {name: kept[:0] for name, kept in shown.items()}
    np.testing.assert_array_equal(this.recognise(window, words, none), said)


def test_one_action_and_none(make):
    this = make()
    window = [this.observe(rgb) for rgb in pictures(0)]
    assert this.recognise(window, this.encode([]), {}).shape == (0,)
    one = this.encode(['a wave'])
    shown = {'a wave': this.demonstrate(window, 'a wave')[None]}
    assert this.recognise(window, one, shown).tolist() == [1]
    assert this.recognise(window, one, {}).tolist() == [1]


def test_windows_of_another_length_are_refused(make):
    this = make()
    short = [this.observe(rgb) for rgb in pictures(0, 3)]
    for call in (lambda: this.demonstrate(short, 'a wave'),
                 lambda: this.recognise(short, this.encode(NAMES), {})):
        with pytest.raises(ActionError, match='3 frames: a window has 8'):
            call()
    window = [this.observe(rgb) for rgb in pictures(0)]
    with pytest.raises(ActionError, match='empty'):
        this.demonstrate(window, ' ')
    with pytest.raises(ActionError, match=r'shape \(1, 4, 32\)'):
        this.recognise(window, this.encode(NAMES), {'a wave': torch.zeros(1, 4, 32)})


@pytest.mark.parametrize('names, prompts, error, said', [
    (['a wave', ' '], '', ActionError, 'action 2 of 2 has no name'),
    (['a wave', 'a wave '], '', ActionError, "'a wave' is there 2 times"),
    (['a wave'], 'no place', PromptError, 'no place'),
    (['a ' + 'very ' * 30 + 'long wave'], '', PromptError, 'at most 24')])
def test_words_that_cannot_be_used_are_refused(make, names, prompts, error, said):
    with pytest.raises(error, match=said):
        make().encode(names, prompts)


# Weights

@pytest.mark.parametrize('method', LEARNING)
def test_weights_are_written_and_read(backbone, tmp_path, method, make):
    model = stirred(ActionModel.of(backbone, method))
    path = tmp_path / 'weights.safetensors'
    write_weights(path, model.state_dict(), learned.metadata(method, backbone))
    read = learned.load(path, backbone, method)
    assert not any(weight.requires_grad for weight in read.parameters())
    window = pictures(0)
    kept = []
    for each in (model, read):
        this = make(method, each)
        observed = [this.observe(rgb) for rgb in window]
        shown = {name: this.demonstrate(observed, name)[None] for name in NAMES[:2]}
        kept.append(this.recognise(observed, this.encode(NAMES), shown))
    np.testing.assert_array_equal(*kept)
    other = next(name for name in LEARNING if name != method)
    with pytest.raises(ActionError, match=f'trained for method {method}'):
        learned.load(path, backbone, other)
    with pytest.raises(ActionError, match=r'another model \(tiny\)'):
        learned.load(path, towers.make_backbone(1), method)


def test_the_weights_of_the_authors_are_read(backbone, tmp_path):
    model = stirred(ActionModel.of(backbone, 'clip-fsar'))
    path = tmp_path / 'checkpoint.safetensors'
    theirs = {name.replace('tr.', 'head.context2.'): value.half()
              for name, value in model.state_dict().items()}
    save_file({**theirs, 'head.scale': torch.ones(1)}, path)
    read = learned.load(path, backbone, 'clip-fsar').state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(read[name], value, atol=1e-2, rtol=1e-2)


def test_weights_that_cannot_be_used_are_refused(backbone, tmp_path):
    with pytest.raises(ActionError, match='there is no file'):
        learned.load(tmp_path / 'none.safetensors', backbone, 'clip-fsar')
    damaged = tmp_path / 'damaged.safetensors'
    damaged.write_bytes(b'nothing')
    with pytest.raises(ActionError, match='damaged'):
        learned.load(damaged, backbone, 'clip-fsar')
    other = tmp_path / 'other.safetensors'
    save_file({'x': torch.ones(1)}, other)
    with pytest.raises(ActionError, match='no weights of train_actions'):
        learned.load(other, backbone, 'clip-fsar')
    narrow = tmp_path / 'narrow.safetensors'
    save_file(ActionModel(16).state_dict(), narrow)
    with pytest.raises(ActionError, match='does not fit method clip-fsar of tiny'):
        learned.load(narrow, backbone, 'clip-fsar')


@pytest.mark.parametrize('method, weights, said', [
    ('otam', '', "'otam' is not understood"), ('mean', 'x.safetensors', 'has nothing to load'),
    ('ma-clip', '', 'needs weights')])
def test_methods_that_cannot_be_had_are_refused(method, weights, said):
    """Before a model is loaded."""
    with pytest.raises(ActionError, match=said):
        load_recogniser('demo', 'cpu', method=method, weights=weights)


def test_examples_of_another_model_have_another_fingerprint(make, backbone):
    """Those that only compare in another way have not."""
    plain = make().fingerprint
    assert make('mean').fingerprint == plain
    assert make('clip-fsar', ActionModel.of(backbone, 'clip-fsar')).fingerprint == plain
    adapted = [make('ma-clip', stirred(ActionModel.of(backbone, 'ma-clip'), seed)).fingerprint
               for seed in (1, 2)]
    assert len({plain, *adapted}) == 3
    assert json.loads(plain)['frames'] == FRAMES
    assert 'adapters' in difference(adapted[0], 'tiny', adapted[1])


def test_a_model_that_is_no_clip_is_refused():
    class Other:

        @property
        def clip(self):
            raise ModelError('no CLIP')

    with pytest.raises(ModelError, match='no CLIP'):
        FrameEncoder(Other())
