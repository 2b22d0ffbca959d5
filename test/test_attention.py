"""What every attention keeps to, and what each refuses; `test_parity.py` has their numbers."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

from csa_ros.labels.windows import plan_whole
from csa_ros.model.attention import sc_clip
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.attention.methods import choose
from csa_ros.model.attention.methods import describe
from csa_ros.model.attention.methods import RESIDUAL
from csa_ros.model.attention.mixing import gaussian
from csa_ros.model.attention.sc_clip import Depths
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.tower import ClipTower
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import open_clip
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from towers import backbone_of
from towers import make_backbone
from towers import make_clip
from towers import make_config

PATCH = 8
HAVE_NO_CHOICE = [name for name, method in ATTENTION.items() if method.residual is None]
HAVE_A_CHOICE = [name for name in ATTENTION if name not in HAVE_NO_CHOICE]
examples = settings(max_examples=12)


def deep_config(layers=4, side=64):
    config = make_config()
    config['vision_cfg'].update(layers=layers, image_size=side)
    return config


@lru_cache
def deep_backbone(layers=4, side=64):
    """Return a random model with windows of 8 x 8 patches, which is enough for all attentions."""
    return backbone_of(make_clip(config=deep_config(layers, side)))


BACKBONE = deep_backbone()
ENCODERS = {name: DenseEncoder(BACKBONE, name) for name in ATTENTION}


def images(count, rows, columns, seed=0):
    """Return noise as coarse as patches, which are otherwise all alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, rows, columns, generator=generator)
    fine = torch.randn(count, 3, rows * PATCH, columns * PATCH, generator=generator)
    return 2 * coarse.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) + fine / 2


def shape_of_tower(width=64, blocks=2):
    return SimpleNamespace(width=width, blocks=[None] * blocks, attention='csa')


def encode(encoder, pixels):
    """Return what is compared with words."""
    return encoder.joining.join(encoder(pixels), plan_whole(*pixels.shape[-2:]))


# A batch and its images are not multiplied in the same order; what lies within that of a
# threshold may fall on either side of it, which no other image can bring about.
def assert_equal_features(actual, expected):
    assert actual.shape == expected.shape
    cosines = (actual * expected).sum(-1)
    assert cosines.median() > 1 - 1e-4
    assert (cosines > 1 - 1e-4).float().mean() > 0.8


@pytest.mark.parametrize('attention', ATTENTION)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), count=st.integers(1, 3))
@examples
def test_any_grid_and_any_batch(attention, rows, columns, count):
    """Features have length 1, whatever the grid, and are those of each image alone."""
    encoder = ENCODERS[attention]
    pixels = images(count, rows, columns, seed=rows)
    if rows * columns < ATTENTION[attention].min_patches:
        with pytest.raises(ModelError, match=f'{columns} x {rows} patches: it needs 31'):
            encoder(pixels)
        return
    features = encode(encoder, pixels)
    assert features.shape == (count, rows, columns, 32)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(count, rows, columns))
    alone = torch.cat([encode(encoder, image) for image in pixels.split(1)])
    assert_equal_features(alone, features)


@pytest.mark.parametrize('attention', ATTENTION)
def test_nothing_passes_from_one_image_to_the_next(attention):
    """Not even from one of a far greater range."""
    pixels = images(3, 8, 8)
    louder = pixels.clone()
    louder[1] *= 100
    one, other = (encode(ENCODERS[attention], batch) for batch in (pixels, louder))
    assert not torch.allclose(one[1], other[1], atol=1e-2)
    torch.testing.assert_close(one[::2], other[::2], atol=1e-5, rtol=0)


@pytest.mark.parametrize('layers', [1, 2, 3, 6, 7, 13])
@pytest.mark.parametrize('attention', ATTENTION)
def test_towers_of_any_depth(attention, layers):
    if layers < ATTENTION[attention].min_blocks:
        with pytest.raises(ModelError, match="'sc-clip'.*the tower has 1: it needs 2"):
            DenseEncoder(deep_backbone(layers), attention)
        return
    features = DenseEncoder(deep_backbone(layers), attention)(images(1, 8, 8))
    assert features.isfinite().all()
    assert features.flatten(0, 2).std(dim=0).min() > 0


@pytest.mark.parametrize('attention', ATTENTION)
def test_attentions_differ(attention):
    pixels = images(1, 8, 8)
    features = encode(ENCODERS[attention], pixels)
    for name, other in ENCODERS.items():
        assert name == attention or not torch.allclose(features, encode(other, pixels), atol=1e-2)


@pytest.mark.parametrize('attention', ATTENTION)
def test_bf16_is_close_to_float32(attention):
    """Most patches: where a threshold decides, rounding may decide otherwise."""
    low = backbone_of(open_clip.CLIP(**deep_config(), cast_dtype=torch.bfloat16))
    low.clip.load_state_dict(BACKBONE.clip.state_dict())
    open_clip.convert_weights_to_lp(low.clip.eval().requires_grad_(False), torch.bfloat16)
    assert low.dtype == torch.bfloat16
    features = encode(DenseEncoder(low, attention), images(2, 8, 8))
    assert features.dtype == torch.float32
    cosines = (features * encode(ENCODERS[attention], images(2, 8, 8))).sum(-1)
    assert cosines.median() > 0.99


class OneDevice(TorchDispatchMode):
    """Fails where anything of another device takes part, as in a copy from the host."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        tensors = tree_leaves((args, kwargs, result))
        devices = {tensor.device.type for tensor in tensors if isinstance(tensor, torch.Tensor)}
        assert devices <= {'cuda'}, f'{operator} on {devices}'
        return result


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('attention', ATTENTION)
def test_nothing_waits_for_a_gpu(attention, dtype):
    """Fake tensors, which need no GPU, have no values: a look at one raises."""
    with FakeTensorMode():
        with torch.device('cuda'):
            clip = open_clip.CLIP(**deep_config(), cast_dtype=dtype).eval().requires_grad_(False)
        open_clip.convert_weights_to_lp(clip, dtype)
        encoder = DenseEncoder(SimpleNamespace(patch_tower=ClipTower(clip.visual)), attention)
        pixels = torch.empty(2, 3, 64, 72, device='cuda')
        with OneDevice():
            features = encoder.forward(pixels)
            aggregate = ATTENTION[attention].aggregate
            if aggregate is not None:
                features = aggregate(features.flatten(1, 2))
    assert features.dtype == torch.float32
    assert features.numel() == 2 * 8 * 9 * (32 if aggregate is None else 64)


def test_the_watch_over_devices_notices():
    """Else the test above could not fail."""
    with FakeTensorMode():
        tensor = torch.empty(4, device='cuda')
        elsewhere = torch.empty(4)
        with OneDevice(), pytest.raises(AssertionError, match='cpu'):
            elsewhere.to('cuda')
        for look in (lambda: tensor.sum().item(), lambda: tensor[tensor > 0]):
            with pytest.raises(RuntimeError):
                look()


@pytest.mark.parametrize('width, expected', [(768, True), (1023, True), (1024, False),
                                             (1280, False)])
def test_csa_drops_the_residual_of_large_towers(width, expected):
    tower = shape_of_tower(width)
    assert choose('csa', 'auto', tower).residual is expected
    assert choose('csa', 'keep', tower).residual is True
    assert choose('csa', 'drop', tower).residual is False


@pytest.mark.parametrize('width', [64, 1024])
def test_all_others_stay_as_they_are(width):
    for name, method in ATTENTION.items():
        if name not in ('csa', 'radseg'):
            assert choose(name, 'auto', shape_of_tower(width)) == method
    # Made for RADIO's tower, it takes nothing for missing on any other.
    assert choose('radseg', 'auto', shape_of_tower(width)) == replace(
        ATTENTION['radseg'], denoise=0.0)
    kept = {name: method.residual for name, method in ATTENTION.items()}
    assert kept == {'csa': True, 'vanilla': True, 'maskclip': True, 'clearclip': False,
                    'naclip': False, 'sc-clip': None, 'gem': None, 'radseg': True}


@pytest.mark.parametrize('width, attention, residual, expected', [
    (768, 'csa', 'auto', 'csa attention'),
    (768, 'csa', 'keep', 'csa attention'),
    (1024, 'csa', 'keep', 'csa attention'),
    (1024, 'naclip', 'drop', 'naclip attention'),
    (1024, 'gem', 'auto', 'gem attention'),
    (1024, 'csa', 'auto', "csa attention, the last block's residual connection and feed-forward "
                          'network dropped (the tower is 1024 wide)'),
    (768, 'csa', 'drop', "csa attention, the last block's residual connection and feed-forward "
                         'network dropped (as asked for)'),
    (768, 'naclip', 'keep', "naclip attention, the last block's residual connection and "
                            'feed-forward network kept (as asked for)'),
])
def test_what_was_chosen_is_said(width, attention, residual, expected):
    assert describe(attention, residual, shape_of_tower(width)) == expected


@pytest.mark.parametrize('attention', HAVE_NO_CHOICE)
@pytest.mark.parametrize('residual', ['keep', 'drop'])
def test_what_is_no_choice_is_refused(attention, residual):
    with pytest.raises(ModelError, match=f"'{residual}' is no choice with .*'{attention}'.*auto"):
        choose(attention, residual, shape_of_tower())


@pytest.mark.parametrize('attention, residual, message', [
    ('cs', 'auto', "unknown attention 'cs': choose one of auto, csa, vanilla, maskclip, "),
    ('', 'auto', "unknown attention ''"),
    ('csa', 'yes', "unknown residual 'yes': choose one of auto, keep, drop"),
    ('gem', '', "unknown residual ''"),
])
def test_unknown_names_are_refused(attention, residual, message):
    with pytest.raises(ModelError, match=message):
        DenseEncoder(BACKBONE, attention, residual)


@pytest.mark.parametrize('attention', HAVE_A_CHOICE)
def test_keeping_and_dropping_differ_by_their_definition(attention):
    """Dropped, the block's output is that of its attention; kept, the rest is built on it."""
    x = torch.randn(2, 1 + 12, 64, generator=torch.Generator().manual_seed(0))
    before = x
    for block in BACKBONE.clip.visual.transformer.resblocks[:-1]:
        before = block(before)
    tower, last = shape_of_tower(), BACKBONE.tower.blocks[-1]
    dropped, kept = (choose(attention, residual, tower)(BACKBONE.tower.blocks, x, (3, 4))
                     for residual in ('drop', 'keep'))
    y = before + dropped
    torch.testing.assert_close(kept, y + last.feed_forward(y))


def test_the_prior_falls_with_distance_and_leaves_the_class_token_alone():
    prior = gaussian((3, 5), torch.zeros(1, 1, 16, 2, dtype=torch.float64))
    assert prior.shape == (16, 16) and prior.dtype == torch.float64
    assert not prior[0].any() and not prior[:, 0].any()
    for i in range(15):
        for j in range(15):
            square = (i // 5 - j // 5) ** 2 + (i % 5 - j % 5) ** 2
            assert prior[1 + i, 1 + j].item() == pytest.approx(np.exp(-square / 50), abs=1e-6)


@pytest.mark.parametrize('blocks, expected', [
    (12, (8, 3, 3, 10)),  # as published, for ViT-B
    (24, (16, 6, 8, 20)),  # and for ViT-L
    (32, (21, 8, 10, 26)),
    (4, (2, 1, 1, 3)),
    (2, (0, 0, 0, 1)),
])
def test_depths_are_the_authors_and_shares_of_them(blocks, expected):
    assert Depths.of(blocks) == expected


@given(st.integers(2, 100))
def test_depths_lie_before_the_last_block(blocks):
    depths = Depths.of(blocks)
    assert 0 <= depths.together <= depths.similar < blocks - 1
    assert 0 <= depths.first < depths.end < blocks


def naive_outliers(patches):
    """Follow the definition patch by patch."""
    distances = np.square(patches[:, None] - patches).sum(-1)
    nearest = [[j for j in np.argsort(row, kind='stable') if j != i][:30]
               for i, row in enumerate(distances)]
    reach = np.array([distances[i, near[-1]] for i, near in enumerate(nearest)])
    factors = np.array([reach[i] * np.mean([1 / reach[j] for j in near])
                        for i, near in enumerate(nearest)])
    return factors > np.quantile(factors, 0.95)


@given(count=st.integers(31, 90), seed=st.integers(0, 100))
@examples
def test_outliers_follow_their_definition(count, seed):
    patches = np.random.default_rng(seed).normal(size=(2, count, 16))
    found = sc_clip.outliers(torch.from_numpy(patches))
    assert found.tolist() == [naive_outliers(image).tolist() for image in patches]


def test_equal_patches_have_no_outliers():
    """An image of one colour is nothing to fail at."""
    assert not sc_clip.outliers(torch.zeros(1, 40, 16)).any()
    mixed = torch.cat([torch.zeros(1, 40, 16), torch.ones(1, 1, 16)], dim=1)
    assert sc_clip.outliers(mixed)[0, 40]


def naive_repair(patches, unusual, rows, columns):
    repaired = patches.copy()
    for row, column in np.argwhere(unusual):
        near = [patches[y, x]
                for y in range(max(row - 1, 0), min(row + 2, rows))
                for x in range(max(column - 1, 0), min(column + 2, columns))
                if not unusual[y, x]]
        if near:
            repaired[row, column] = np.mean(near, axis=0)
    return repaired


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), share=st.floats(0, 1),
       seed=st.integers(0, 100))
@examples
def test_repair_follows_its_definition(rows, columns, share, seed):
    generator = np.random.default_rng(seed)
    patches = generator.normal(size=(2, rows, columns, 3))
    unusual = generator.random((2, rows, columns)) < share
    found = sc_clip.repair(torch.from_numpy(patches).flatten(1, 2),
                           torch.from_numpy(unusual).flatten(1), (rows, columns))
    expected = [naive_repair(*image, rows, columns) for image in zip(patches, unusual)]
    np.testing.assert_allclose(found.unflatten(1, (rows, columns)).numpy(), expected, atol=1e-9)


def test_an_image_of_one_colour_is_segmented(tmp_path):
    segmenter = Segmenter(BACKBONE, 'sc-clip', cache_dir=tmp_path)
    result = segmenter.segment(np.full((64, 96, 3), 128, np.uint8), Vocabulary.parse(['a', 'b']))
    assert set(np.unique(result.labels)) <= {0, 1}


def test_windows_that_are_too_small_are_refused_at_once(tmp_path):
    """When a model is loaded and when settings are changed, not when the first frame comes."""
    with pytest.raises(ModelError, match="'sc-clip'.*window of 32 x 32 .*4 x 4.*larger crop"):
        Segmenter(make_backbone(), 'sc-clip', cache_dir=tmp_path)
    segmenter = Segmenter(BACKBONE, 'sc-clip', cache_dir=tmp_path)
    for wrong in (Settings(crop=40), Settings(short_side=40),
                  Settings('whole', short_side=40)):
        with pytest.raises(ModelError, match='window of 40 x 40 pixels has 5 x 5 patches'):
            segmenter.resolve(wrong)
    for right in (Settings(crop=48), Settings(short_side=48), Settings('whole', crop=8)):
        segmenter.resolve(right)


def test_a_strip_that_is_too_small_is_refused_by_itself(tmp_path):
    """The long side is limited, so that a frame can be all but a line."""
    segmenter = Segmenter(BACKBONE, 'sc-clip', cache_dir=tmp_path)
    words = segmenter.encode(Vocabulary.parse(['a', 'b']))
    with pytest.raises(ModelError, match='window of 64 x 8 pixels has 8 x 1 patches'):
        segmenter.segment(np.zeros((1, 2000, 3), np.uint8), words)
    assert segmenter.segment(np.zeros((64, 64, 3), np.uint8), words).labels.shape == (64, 64)


@pytest.mark.parametrize('inference', ['slide', 'whole'])
@pytest.mark.parametrize('attention', ATTENTION)
def test_frames_are_segmented(attention, inference, tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (70, 110, 3), np.uint8)
    segmenter = Segmenter(BACKBONE, attention, Settings(inference), tmp_path)
    published = attention != 'radseg'
    assert segmenter.attention == f'{attention} attention' + (
        '' if published else ', of which nothing is published for this kind of tower')
    assert segmenter.settings.denoise == 0
    labels = segmenter.segment(rgb, Vocabulary.parse(['road', 'car', 'sky', 'tree'])).labels
    assert labels.shape == (70, 110)
    assert labels.max() <= 3


@pytest.mark.parametrize('residual', RESIDUAL)
def test_the_segmenter_takes_the_residual(residual, tmp_path):
    segmenter = Segmenter(BACKBONE, 'csa', cache_dir=tmp_path, residual=residual)
    assert ('dropped' in segmenter.attention) == (residual == 'drop')
    pixels = images(1, 8, 8)
    expected = DenseEncoder(BACKBONE, 'csa', residual)(pixels)
    assert torch.equal(segmenter.encoder(pixels), expected)
    assert torch.equal(expected, ENCODERS['csa'](pixels)) == (residual != 'drop')
