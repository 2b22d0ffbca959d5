"""GroupViT: its towers, its segments, and what is made of them."""

from csa_ros.cost import CostError
from csa_ros.decoding.segments import LAST_SEGMENT
from csa_ros.decoding.segments import planes_of
from csa_ros.decoding.segments import probabilities
from csa_ros.labels.windows import plan_windows
from csa_ros.model.errors import ModelError
from csa_ros.model.reuse import WindowMemory
from csa_ros.model.segments import SegmentEncoder
from csa_ros.model.text_tower import encode_tokens
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import UNKNOWN
import groupvit
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from towers import make_backbone

TOLERANCE = 1e-4
# Of the labels of a picture: where two groups are within 1e-4.
MOST_PIXELS = 8


def worst(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


@pytest.fixture(params=groupvit.reference_files(), ids=lambda path: path.stem, scope='module')
def reference(request):
    return groupvit.backbone(request.param), groupvit.arrays(request.param)


@pytest.mark.parametrize('name', ['sq', 'rect'])
def test_tokens_match_the_reference(reference, name):
    backbone, arrays = reference
    image = arrays[f'{name}_image']
    tower, grid = backbone.tower, SegmentEncoder(backbone).grid(*image.shape[-2:])

    def check(found, *stages):
        for each, stage in zip(found, stages, strict=True):
            assert worst(each, arrays[f'{name}_{stage}']) < TOLERANCE, stage

    tokens = tower.embed(image)
    check([tokens, tower.place(grid)[None]], 'patch_tokens', 'pos')
    tokens = tokens + tower.place(grid)
    first, second = backbone.visual.layers[0], backbone.visual.layers[1]
    found = first(tokens, None)
    check(found, 'stage0_tokens', 'stage0_group_tokens', 'stage0_soft')
    found = second(*found[:2])
    check(found, 'stage1_tokens', 'stage1_group_tokens', 'stage1_soft')
    # In a batch with another picture: nothing may pass from one to the next.
    final, shares = (part[1:] for part in tower.group(torch.cat([tokens.flip(1) * 2, tokens])))
    check([final, tower.project(final), tower.project(final.mean(1))],
          'final_tokens', 'image_feat', 'image_x')
    enlarged = F.interpolate(shares.unflatten(-1, grid), size=image.shape[-2:], mode='bilinear')
    check([enlarged.movedim(1, -1)], 'attn_map_last')


def test_words_match_the_reference(reference, tmp_path, monkeypatch):
    backbone, arrays = reference
    tokens = arrays['tokens']
    found = encode_tokens(backbone.text._clip.clip, tokens.flatten(0, 1))
    assert worst(found, arrays['text_x']) < TOLERANCE
    # The prompts of a word are averaged as they are.
    monkeypatch.setattr(backbone.text, 'encode', lambda templates, queries: found)
    segmenter = Segmenter(backbone, cache_dir=tmp_path)
    monkeypatch.setattr(backbone.text, 'count', lambda template, query: 5)
    words = segmenter.encode([f'w{index}' for index in range(7)], ('{}', 'a {}'))
    assert worst(words.features, arrays['text_embedding']) < TOLERANCE


@pytest.mark.parametrize('name, threshold, suffix', [
    ('sq', 0.95, 'bg95'), ('sq', 0.35, 'bg35'), ('sq', 0.0, 'nobg'), ('rect', 0.95, 'bg95'),
    ('rect', 0.35, 'bg35'), ('rect', 0.0, 'nobg'), ('slide', 0.95, 'bg95')])
def test_labels_match_the_reference(reference, tmp_path, name, threshold, suffix):
    backbone, arrays = reference
    image, words = arrays[f'{name}_image'], groupvit.words()
    segmenter = Segmenter(backbone, cache_dir=tmp_path)
    settings = segmenter.resolve(Settings('whole' if name == 'rect' else 'slide',
                                          unknown_threshold=threshold))
    kept = segmenter.features(image, settings)
    decision = segmenter.decide(kept, words, image.shape[-2:], settings)
    labels = decision.labels[0].long()
    if threshold:
        labels = torch.where(labels == UNKNOWN, 0, labels + 1)
    assert (labels != arrays[f'{name}_labels_{suffix}']).sum() <= MOST_PIXELS
    # Of windows all labels are background: their probabilities tell more.
    parts = segmenter._parts(kept, image.shape[-2:], settings)
    cosines = parts.features @ arrays['text_embedding'].T
    likely = probabilities(cosines, words.query_class, settings.logit_scale)
    found, = parts.spread(F.pad(likely, (0, 0, 0, 1)))
    expected = arrays[f'{name}_logits_{suffix}'][0, -7:]
    differing = ((found[:, :] - expected).abs() > TOLERANCE).any(0)
    assert differing.sum() <= MOST_PIXELS
    confidence = decision.confidence[0] / 255
    assert (confidence - expected.amax(0)).abs()[~differing].max() <= 0.5 / 255 + TOLERANCE


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    backbone = groupvit.backbone(preset=groupvit.READING)
    return Segmenter(backbone, cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def entries(segmenter):
    return segmenter.encode(['sky', 'road', 'car|bus', 'tree', 'person', 'water', 'sea'], 'simple')


MOSAIC = groupvit.MOSAIC
PASSES = [('slide', 'off'), ('slide', 'pamr'), ('slide', 'pamr-output'), ('whole', 'off')]


@pytest.mark.parametrize('inference, refine', PASSES)
def test_frames_of_any_size_are_segmented(segmenter, entries, inference, refine):
    """One by one, as a batch, and from memory: labels, confidence, overlay and segments."""
    settings = Settings(inference, refine=refine, unknown_threshold=0.05)
    frames = [np.ascontiguousarray(MOSAIC[:50, shift:shift + 70]) for shift in (0, 20)]
    single = [segmenter.segment(frame, entries, settings, 0.5, segments=True) for frame in frames]
    batch = segmenter.submit(frames, entries, settings, 0.5, segments=True).result()
    memory = WindowMemory()
    reusing = Settings(inference, refine=refine, unknown_threshold=0.05, reuse_threshold=1.0)
    kept = [segmenter.segment(frames[0], entries, reusing, 0.5, memory, segments=True)
            for _ in range(2)]
    assert memory.windows_encoded < memory.windows_seen
    for one, other in [*zip(single, batch), (single[0], kept[0]), (single[0], kept[1])]:
        assert (one.labels == other.labels).mean() > 0.99
        assert (one.segments == other.segments).mean() > 0.99
        assert one.labels.shape == one.segments.shape == one.overlay.shape[:2] == (50, 70)
        assert one.segments.max() < 4 * (1 if inference == 'whole' else 2)
    assert segmenter.segment(frames[0], entries, settings).segments is None


def test_pixels_of_a_segment_have_one_label(segmenter, entries):
    result = segmenter.segment(MOSAIC, entries, Settings('whole'), segments=True)
    for segment in np.unique(result.segments):
        inside = result.segments == segment
        assert len(np.unique(result.labels[inside])) == 1
    assert 1 < len(np.unique(result.segments)) <= segmenter.segments == 4


def test_planes_share_every_pixel_out():
    shares = torch.rand(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plan = plan_windows(96, 128, 64, 48)
    planes = planes_of(shares, plan)
    assert planes.shape == (24, 96, 128)
    torch.testing.assert_close(planes.sum(0), torch.ones(96, 128))
    # In the first window's own corner, each pixel is of the segment that has most of it.
    enlarged = F.interpolate(shares[:1], size=(64, 64), mode='bilinear')[0]
    assert torch.equal(planes[:4, :48, :48].argmax(0), enlarged[:, :48, :48].argmax(0))


def test_segments_that_a_byte_cannot_count_are_the_last(segmenter, entries):
    result = segmenter.segment(MOSAIC, entries, Settings(short_side=96, stride=8), segments=True)
    assert result.segments.max() < LAST_SEGMENT
    result = segmenter.segment(MOSAIC, entries, Settings(short_side=192, stride=16),
                               segments=True)
    assert result.segments.max() == LAST_SEGMENT


def test_the_five_best_are_classes_whatever_their_queries():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(2, 5, 8, generator=generator)
    alone = probabilities(cosines, torch.arange(8), 10.0)
    best = cosines[:, -1].topk(5).indices
    for window, chosen in zip(alone, best):
        assert set(window[0].nonzero()[:, 0].tolist()) == set(chosen.tolist())
    softmax = (10 * cosines[:, :-1]).softmax(-1)
    among = torch.full_like(softmax, -torch.inf).scatter(
        2, best[:, None].expand(-1, 4, -1), 10 * cosines[:, :-1].gather(
            2, best[:, None].expand(-1, 4, -1))).softmax(-1)
    torch.testing.assert_close(alone, softmax * among)
    # Of eight queries of four classes none is left out, nor is padding of any use.
    few = probabilities(cosines, torch.arange(8) // 2, 10.0)
    torch.testing.assert_close(few, softmax ** 2)
    padded = probabilities(F.pad(cosines, (0, 3), value=-1e4),
                           F.pad(torch.arange(8), (0, 3), value=UNKNOWN), 10.0)
    torch.testing.assert_close(padded[..., :8], alone)
    assert not padded[..., 8:].any()


def test_what_is_found_is_found_in_segments(segmenter, entries):
    settings = segmenter.resolve(Settings('whole'))
    sought = segmenter.seek(['a red car', 'road'], entries, 'simple')
    result = segmenter.segment(MOSAIC, entries, settings, sought=sought, segments=True)
    assert result.relevancy.shape == (2, *MOSAIC.shape[:2])
    for segment in np.unique(result.segments):
        inside = result.relevancy[:, result.segments == segment]
        assert (inside == inside[:, :1]).all()
    regions = segmenter.find(MOSAIC, sought, entries, 0.0, settings)
    assert max(region.score for region in regions) == pytest.approx(result.relevancy.max() / 255)
    # Without words, too.
    found = segmenter.find(MOSAIC, ['a red car'], None, 0.0, settings)
    assert [region.name for region in found] == ['a red car'] * len(found) and found


def test_a_class_is_taught_by_the_segment_that_shows_it(segmenter, entries):
    settings = segmenter.resolve(Settings('whole'))
    result = segmenter.segment(MOSAIC, entries, settings, segments=True)
    shown = result.segments == result.segments[32, 48]
    look = segmenter.look(MOSAIC, shown.astype(np.uint8), settings)
    kept = segmenter.features(segmenter.pixels([MOSAIC], settings), settings)
    parts = segmenter._parts(kept, MOSAIC.shape[:2], settings)
    likeness = parts.features[0, :-1] @ look.key
    assert likeness.argmax() == result.segments[32, 48] and likeness.max() > 0.9
    examples = Examples().add('dock', look)
    words = segmenter.encode(['dock', *entries.vocabulary.names], 'simple', examples)
    taught = segmenter.segment(MOSAIC, words, settings).labels
    assert (taught[shown] == 0).mean() > 0.9
    with_words_alone = segmenter.encode(['dock', *entries.vocabulary.names], 'simple')
    assert not (segmenter.segment(MOSAIC, with_words_alone, settings).labels[shown] == 0).any()


@pytest.mark.parametrize('arguments, reason', [
    ({'attention': 'csa'}, "attention 'csa' compares patches, and groupvit gathers them into "
                           "segments: use 'auto', or a model of patches"),
    ({'residual': 'drop'}, "residual 'drop' is of the attention of patches"),
    ({'quantized': True}, "precision 'int8' is for towers of patches"),
])
def test_what_cannot_hold_is_refused(arguments, reason):
    quantized = arguments.pop('quantized', False)
    with pytest.raises(ModelError, match=reason):
        Segmenter(groupvit.backbone(quantized=quantized), **arguments)


def test_settings_and_frames_that_do_not_fit_are_refused(segmenter, entries, tmp_path):
    for settings, reason in ((Settings(crop=60), 'a multiple of its patch size, 8'),
                             (Settings(stride=65), 'windows would leave gaps'),
                             (Settings(short_side=4), 'at least one patch')):
        with pytest.raises(ValueError, match=reason):
            segmenter.resolve(settings)
    with pytest.raises(CostError, match='takes .* GiB of memory'):
        segmenter.segment(np.zeros((2000, 2000, 3), np.uint8), entries,
                          Settings(short_side=2000, stride=16))
    with pytest.raises(ValueError, match='tiny has patches and no segments'):
        Segmenter(make_backbone(), cache_dir=tmp_path).segment(MOSAIC, ['sky'], segments=True)


def test_it_computes_in_halves(segmenter, entries):
    low = Segmenter(groupvit.backbone(dtype=torch.bfloat16, preset=groupvit.READING))
    features = [each.features(each.pixels([MOSAIC], each.settings), each.settings)[..., -64:]
                for each in (segmenter, low)]
    assert F.cosine_similarity(*features, dim=-1).min() > 0.9
    modules = low.backbone.visual.modules()
    layers = {type(module).__name__: module.weight.dtype for module in modules
              if isinstance(module, (torch.nn.Linear, torch.nn.LayerNorm))}
    assert layers == {'Linear': torch.bfloat16, 'LayerNormFp32': torch.float32}


def test_a_gpu_runs_it_as_it_runs_others(segmenter, entries):
    """With queries that are padding, as a CUDA graph has them."""
    settings = segmenter.resolve(Settings(unknown_threshold=0.05))
    expected = segmenter.segment(MOSAIC, entries, settings, segments=True)
    decision = segmenter.compute(
        torch.from_numpy(MOSAIC)[None], F.pad(entries.features, (0, 0, 0, 4)),
        F.pad(entries.query_class, (0, 4), value=UNKNOWN), settings, segments=True)
    for found, each in ((decision.labels, expected.labels),
                        (decision.segments, expected.segments)):
        assert (found[0].numpy() == each).mean() > 0.99
