"""The plain path is an oracle: it gives the authors' numbers, and those of the exact path."""

from csa_ros.bench import plain
from csa_ros.bench.plain import PlainPath
from csa_ros.model.dense import DenseEncoder
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
import pytest
from test_parity import BUNDLED
from test_parity import load_tower
import torch
from towers import make_backbone


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


def picture(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def reference():
    backbone, arrays = load_tower(BUNDLED)
    settings = Settings(crop=int(arrays['slide_crop']), stride=int(arrays['slide_stride']))
    image = arrays['slide_image']
    encoder = DenseEncoder(backbone)
    features = torch.cat([encoder(image[:, :, rows, columns]) for rows, columns
                          in plain._windows(image.shape[-2:], settings)])
    logits = plain.merge(features, arrays['query_features'], tuple(image.shape[-2:]),
                         tuple(arrays['output_size'].tolist()), settings)
    return logits, arrays


def test_logits_are_the_authors(reference):
    logits, arrays = reference
    torch.testing.assert_close(logits[0], arrays['slide_logits'], rtol=0, atol=1e-5)


@pytest.mark.parametrize('array, threshold, area', [
    ('labels_plain', 0.0, 0.0), ('labels_threshold', 0.45, 0.0), ('labels_area', 0.1, 0.1)])
def test_labels_are_the_authors(reference, array, threshold, area):
    logits, arrays = reference
    settings = Settings(logit_scale=40.0, unknown_threshold=threshold, min_area=area)
    labels = plain.decide(logits, arrays['query_class'], 4, settings).labels[0]
    # Below the threshold the authors write class 0.
    labels = labels.where(labels != UNKNOWN, 0)
    assert (labels == arrays[array]).double().mean() >= 0.9999


def test_confidence_is_the_authors(reference):
    logits, arrays = reference
    settings = Settings(logit_scale=40.0)
    confidence = plain.decide(logits, arrays['query_class'], 4, settings).confidence[0]
    expected = (255 * arrays['probabilities_plain'].amax(0)).round()
    assert (confidence - expected).abs().max() <= 1


@pytest.mark.parametrize('words', [['road', 'car', 'sky'], ['road', 'car|truck|bus', 'sky']])
@pytest.mark.parametrize('shape', [(60, 80), (97, 71)])
def test_it_equals_the_exact_path(segmenter, words, shape):
    rgb = picture(*shape)
    words = segmenter.encode(Vocabulary.parse(words), 'simple')
    settings = segmenter.resolve(Settings(unknown_threshold=0.35))
    expected = PlainPath(segmenter).segment(rgb, words, settings)
    result = segmenter.segment(rgb, words, settings)
    assert expected.labels.shape == shape
    assert len(np.unique(expected.labels)) > 1
    assert (result.labels == expected.labels).mean() >= 0.9999
    assert np.abs(result.confidence.astype(int) - expected.confidence).max() <= 1


@pytest.mark.parametrize('options', [{'inference': 'whole'}, {'short_side': 24}])
def test_what_the_authors_do_not_slide_over_is_refused(segmenter, options):
    with pytest.raises(ValueError, match='slides windows of 32 pixels'):
        PlainPath(segmenter).pixels([picture(60, 80)], segmenter.resolve(Settings(**options)))
