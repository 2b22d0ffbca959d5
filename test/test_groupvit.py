"""GroupViT: its towers, its weights in both forms, its segments and what is made of them."""

from csa_ros.decoding.segments import probabilities
from csa_ros.model.segments import SegmentEncoder
from csa_ros.model.text_tower import encode_tokens
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
import groupvit
import pytest
import torch
from torch.nn import functional as F

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


@pytest.mark.parametrize('threshold, suffix', [(0.95, 'bg95'), (0.35, 'bg35'), (0.0, 'nobg')])
@pytest.mark.parametrize('name', ['sq', 'rect', 'slide'])
def test_labels_match_the_reference(reference, tmp_path, name, threshold, suffix):
    backbone, arrays = reference
    if name == 'slide' and suffix != 'bg95':
        pytest.skip('the reference has no such labels of windows')
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
