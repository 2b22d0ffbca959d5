from csa_ros.demo.scenes import Scene
from csa_ros.labels.merge import merge_map
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import whole_strides
from csa_ros.model.attention import mixing
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.attention.radseg import RadSeg
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.reuse import WindowMemory
from csa_ros.model.towers.radio import RadioTower
from csa_ros.process.cancellation import cancellable
from csa_ros.process.cancellation import Cancelled
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
import numpy as np
import pytest
import radio
import torch
from torch.nn import functional as F
from towers import make_backbone

TOLERANCE = 1e-4
ARRAYS = radio.arrays()
BACKBONE = radio.backbone()


def pixels(name):
    image = ARRAYS[f'{name}_image']
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (BACKBONE.mean, BACKBONE.std))
    return (image - mean) / std


def worst(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


def kept(attention, name):
    """Return what an attention makes of the patches of a picture, before the head."""
    encoder = DenseEncoder(BACKBONE, attention)
    picture = pixels(name)
    patches = ARRAYS[f'{name}_features_vanilla'].shape[1]
    return encoder._tokens(picture)[:, -patches:]


@pytest.mark.parametrize('rows, columns', [(8, 8), (6, 10), (10, 6), (32, 32), (40, 24)])
def test_positions(rows, columns):
    expected = ARRAYS[f'pos_{rows}x{columns}']
    tower = BACKBONE.tower
    placed = tower.place((rows, columns), None)
    assert not placed[:8].any()
    actual = placed[8:]
    if rows * columns > len(expected):
        actual = actual[::37]
    assert worst(actual, expected) < TOLERANCE
    aligned = RadioTower(BACKBONE.visual, align_corners=True).place((rows, columns), None)[8:]
    reference = F.interpolate(
        BACKBONE.visual.positions.T.unflatten(1, (32, 32))[None], size=(max(rows, columns),) * 2,
        mode='bilinear', align_corners=True)[0, :, :rows, :columns].flatten(1).T
    torch.testing.assert_close(aligned, reference)


@pytest.mark.parametrize('name', ['square', 'wide', 'tall'])
def test_features(name):
    assert worst(kept('vanilla', name), ARRAYS[f'{name}_features_vanilla']) < TOLERANCE
    assert worst(kept('radseg', name), ARRAYS[f'{name}_features_scra']) < TOLERANCE


def test_tokens_of_the_first_and_the_last_block(monkeypatch):
    encoder, seen = DenseEncoder(BACKBONE, 'radseg'), []
    for block in BACKBONE.visual.blocks:
        monkeypatch.setattr(block.norm1, 'forward', lambda x, run=block.norm1.forward: (
            seen.append(x), run(x))[1])
    encoder.tokens(pixels('wide'))
    assert worst(seen[0], ARRAYS['wide_tokens_in']) < TOLERANCE
    assert worst(seen[-1], ARRAYS['wide_tokens_before_last']) < TOLERANCE


def test_what_recursive_attention_gives(monkeypatch):
    last, seen = BACKBONE.visual.blocks[-1], []
    monkeypatch.setattr(last.attn.proj, 'forward', lambda x, run=last.attn.proj.forward: (
        seen.append(run(x)), seen[-1])[1])
    DenseEncoder(BACKBONE, 'radseg').tokens(pixels('wide'))
    assert worst(seen[-1], ARRAYS['wide_scra_attention_output']) < TOLERANCE


@pytest.mark.parametrize('name', ['wide', 'tall'])
def test_global_aggregation_and_head(name):
    """Alone, and in a batch with another frame: nothing may pass from one to the next."""
    encoder = DenseEncoder(BACKBONE, 'radseg')
    frame = encoder(pixels(name))
    for frames in (frame, torch.cat([frame.flip(1, 2) * 1.5, frame])):
        patches = RadSeg().aggregate(frames.flatten(1, 2))[-1:]
        assert worst(patches, ARRAYS[f'{name}_features_scga']) < TOLERANCE
        aligned = BACKBONE.tower.project(patches)
        assert worst(aligned, ARRAYS[f'{name}_aligned']) < TOLERANCE
        joined = encoder.joining.join(frames, plan_whole(*ARRAYS[f'{name}_image'].shape[-2:]))
        assert worst(joined[-1:].flatten(1, 2), F.normalize(aligned, dim=-1)) < TOLERANCE


def test_each_frame_has_a_mean_of_its_own():
    """The authors' is that of the batch: with it the numbers are theirs, and others without."""
    patches = DenseEncoder(BACKBONE, 'radseg')(pixels('square')).flatten(1, 2)
    directions = F.normalize(patches, dim=-1)
    excess = directions @ directions.mT
    excess = 10 * (excess - excess.mean())
    theirs = excess.masked_fill(excess < 0, -torch.inf).softmax(-1) @ patches
    assert worst(theirs, ARRAYS['square_features_scga']) < TOLERANCE
    ours = RadSeg().aggregate(patches)
    assert 0.1 < worst(ours, ARRAYS['square_features_scga']) < 1
    for index in range(2):
        torch.testing.assert_close(ours[index], RadSeg().aggregate(patches[index:index + 1])[0])


def test_many_patches_are_compared_in_lots(monkeypatch):
    patches = torch.randn(2, 50, 12, generator=torch.Generator().manual_seed(1))
    expected = RadSeg().aggregate(patches)
    tokens = kept('radseg', 'wide')
    monkeypatch.setattr(mixing, 'LONG', 20)
    monkeypatch.setattr(mixing, 'LOT', 16)
    torch.testing.assert_close(RadSeg().aggregate(patches), expected)
    torch.testing.assert_close(kept('radseg', 'wide'), tokens)
    with pytest.raises(Cancelled), cancellable(lambda: True):
        RadSeg().aggregate(patches)


@pytest.mark.parametrize('size, expected', [
    ((150, 200), (192, 256)),   # the reference file's
    ((192, 256), (192, 256)),
    ((64, 64), (96, 96)),       # at least a window
    ((50, 300), (96, 320)),
    ((256, 190), (256, 192)),
])
def test_frames_are_enlarged_to_whole_strides(size, expected):
    assert whole_strides(*size, crop=96, stride=64) == expected


def test_windows_are_those_of_the_reference():
    plan = plan_windows(192, 256, 96, 64)
    windows = [(top // 16, left // 16, (top + 96) // 16, (left + 96) // 16)
               for top in plan.tops for left in plan.lefts]
    assert [list(window) for window in windows] == ARRAYS['slide_windows'].tolist()


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(BACKBONE, cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def slide(segmenter):
    """Return the enlarged picture, normalised, and the features of its windows."""
    size = whole_strides(*ARRAYS['slide_image'].shape[-2:], 96, 64)
    picture = F.interpolate(
        ARRAYS['slide_image'], size=size, mode='bilinear', align_corners=False)
    assert worst(picture, ARRAYS['slide_preprocessed_image']) < TOLERANCE
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (BACKBONE.mean, BACKBONE.std))
    picture = (picture - mean) / std
    return picture, segmenter.features(picture, segmenter.settings)


def test_auto_is_radseg_with_its_own_settings(segmenter):
    assert segmenter.encoder.attention == 'radseg'
    assert segmenter.attention == 'radseg attention'
    settings = segmenter.settings
    assert (settings.crop, settings.stride, settings.short_side) == (96, 64, 144)
    assert (settings.logit_scale, settings.denoise) == (100.0, 0.5)


def test_windows_are_averaged_before_anything_else(segmenter, slide):
    picture, windows = slide
    joining, plan = segmenter.encoder.joining, plan_windows(*picture.shape[-2:], 96, 64)
    merge, = joining.maps(plan)
    merged = merge(windows)[:, :]
    assert worst(merged[None], ARRAYS['slide_features_merged']) < TOLERANCE
    patches = RadSeg().aggregate(merged.flatten(1).T[None])
    assert worst(patches.mT.unflatten(2, (12, 16)), ARRAYS['slide_features_scga']) < TOLERANCE
    aligned = BACKBONE.tower.project(patches).mT.unflatten(2, (12, 16))
    assert worst(aligned, ARRAYS['slide_aligned']) < TOLERANCE
    joined = joining.join(windows, plan)
    assert worst(joined.permute(0, 3, 1, 2), F.normalize(aligned, dim=1)) < TOLERANCE
    scores = joining.scores(joined @ radio.words().features.T, 100.0)
    assert worst(scores.permute(0, 3, 1, 2), ARRAYS['slide_probabilities_patches']) < TOLERANCE


def test_decision(segmenter, slide):
    picture, windows = slide
    words, settings = radio.words(), segmenter.resolve(Settings(short_side=150))
    cosines = segmenter.logits(windows, words.features, picture.shape[-2:], (150, 200),
                               settings)
    assert cosines.shape == (6, 150, 200)
    scores = segmenter.encoder.joining.scores(
        segmenter.encoder.joining.join(windows, plan_windows(*picture.shape[-2:], 96, 64))
        @ words.features.T, 100.0)
    maps = merge_map(plan_whole(150, 200), (12, 16), (150, 200))(scores)[:, :]
    assert worst(maps.flatten(1).amax(1), ARRAYS['slide_max_per_class']) < TOLERANCE
    left = maps * (ARRAYS['slide_max_per_class'] >= 0.5)[:, None, None]
    assert worst(left[:, ::5, ::5], ARRAYS['slide_probabilities']) < TOLERANCE
    decision = segmenter.decide(windows, words, (150, 200), settings)
    assert torch.equal(decision.labels[0], ARRAYS['slide_labels'])
    assert (decision.confidence[0] - left.amax(0) * 255).abs().max() < 0.51
    sure = segmenter.resolve(Settings(short_side=150, unknown_threshold=0.5))
    labels = segmenter.decide(windows, words, (150, 200), sure).labels[0]
    # Where theirs is 0 ours is unknown, 255. Half way between two patches that are sure of two
    # classes either is one half, and rounding decides.
    clear = (left.amax(0) - 0.5).abs() > TOLERANCE / 10
    assert clear.float().mean() > 0.998
    assert torch.equal((labels + 1)[clear], ARRAYS['slide_labels_thresh05_plus1'][clear])


def test_one_pass(segmenter):
    whole = segmenter.resolve(Settings('whole', short_side=96))
    windows = segmenter.features(pixels('wide'), whole)
    labels = segmenter.decide(windows, radio.words(), (96, 160), whole).labels[0]
    assert torch.equal(labels, ARRAYS['wide_whole_labels'])


STREET = Scene(5).render(1.0, (200, 150)).rgb


@pytest.mark.parametrize('attention', ATTENTION)
def test_every_attention_runs_on_it(attention, tmp_path):
    segmenter = Segmenter(BACKBONE, attention, cache_dir=tmp_path)
    published = attention == 'radseg'
    assert segmenter.encoder.joining.whole == published
    assert segmenter.settings.denoise == (0.5 if published else 0)
    result = segmenter.segment(STREET, ['w0', 'w1', 'w2', 'w3', 'w4', 'w5'])
    assert result.labels.shape == STREET.shape[:2]
    assert len(np.unique(result.labels)) > 1


@pytest.mark.parametrize('how', [
    {'inference': 'whole'}, {'refine': 'pamr'}, {'refine': 'pamr-output'}, {'min_area': 0.2},
    {'unknown_threshold': 0.6}, {'denoise': 0.9}, {'short_side': 288},
    {'crop': 128, 'stride': 32}, {'logit_scale': 10.0}])
def test_every_setting_works_with_it(segmenter, how):
    """And frames of a batch are labelled as each alone is."""
    words = segmenter.encode(['w0', 'w1', 'w2', 'w3', 'w4', 'w5'])
    settings = Settings(**how)
    results = segmenter.submit([STREET, STREET[:, ::-1]], words, settings).result()
    alone = segmenter.segment(STREET, words, settings)
    np.testing.assert_array_equal(results[0].labels, alone.labels)
    plain = segmenter.segment(STREET, words)
    assert not (np.array_equal(alone.labels, plain.labels)
                and np.array_equal(alone.confidence, plain.confidence))


def test_windows_are_reused(segmenter):
    memory, settings = WindowMemory(), Settings(reuse_threshold=1.0)
    words = segmenter.encode(['w0', 'w1', 'w2'])
    first = segmenter.segment(STREET, words, settings, memory=memory)
    encoded = memory.windows_encoded
    np.testing.assert_array_equal(first.labels, segmenter.segment(STREET, words).labels)
    again = segmenter.segment(STREET, words, settings, memory=memory)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert memory.windows_encoded - encoded < encoded
    # Other words need no window again.
    others = segmenter.encode(['w5', 'w4'])
    reused = segmenter.segment(STREET, others, settings, memory=memory)
    np.testing.assert_array_equal(reused.labels, segmenter.segment(STREET, others).labels)


@pytest.mark.parametrize('how, message', [
    ({'stride': 40}, "stride is 40 pixels: with attention 'radseg' windows are averaged patch by "
                     'patch, make it a multiple of the patch size, 16, such as 32'),
    ({'crop': 100}, 'needs a multiple of its patch size, 16, such as 96')])
def test_windows_lie_on_the_grid_of_patches(segmenter, how, message):
    with pytest.raises(ValueError, match=message):
        segmenter.resolve(Settings(**how))
    # Without windows, or with another attention, any stride will do.
    assert Segmenter(BACKBONE, 'csa', Settings(stride=40)).settings.stride == 40


def test_what_a_graph_computes_is_the_same(segmenter):
    """With queries that fill it up, as on a GPU."""
    words = segmenter.encode(['w0', 'w1', 'w2'])
    text = F.pad(words.features, (0, 0, 0, 5))
    query_class = F.pad(words.query_class, (0, 5), value=UNKNOWN)
    settings = segmenter.settings
    decision = segmenter.compute(torch.from_numpy(STREET)[None], text, query_class, settings)
    result = segmenter.segment(STREET, words)
    np.testing.assert_array_equal(decision.labels[0], result.labels)
    np.testing.assert_array_equal(decision.confidence[0], result.confidence)
    assert len(segmenter._constants(STREET.shape[:2], settings)) == 6


def test_in_bfloat16_it_is_almost_the_same(segmenter, tmp_path):
    """In a random tower classes are as close as nowhere else."""
    half = Segmenter(radio.on('cpu', torch.bfloat16), cache_dir=tmp_path)
    expected, actual = (each.segment(STREET, radio.words()).labels for each in (segmenter, half))
    assert (actual == expected).mean() > 0.97
    maps = [each.encoder.joining.join(each.encoder(pixels('wide')), plan_whole(96, 160))
            for each in (segmenter, half)]
    assert F.cosine_similarity(*maps, dim=-1).min() > 0.998


def test_on_a_clip_it_is_a_choice_that_is_unpublished(tmp_path):
    clip = Segmenter(make_backbone(), 'radseg', cache_dir=tmp_path)
    assert clip.encoder.joining.whole
    assert 'nothing is published for this kind of tower' in clip.attention
    assert (clip.settings.denoise, clip.settings.logit_scale) == (0.0, 40.0)
    assert Segmenter(make_backbone(), cache_dir=tmp_path).encoder.attention == 'csa'
    labels = clip.segment(STREET, ['road', 'car', 'sky']).labels
    assert labels.shape == STREET.shape[:2]
