"""Phrases in pictures: relevancy against one of its own, regions, and what goes with what."""

from csa_ros.choices import MAX_PHRASES
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.finding.regions import found_regions
from csa_ros.finding.regions import MAX_REGIONS
from csa_ros.finding.regions import object_regions
from csa_ros.finding.relevancy import CANONICAL
from csa_ros.finding.relevancy import own_queries
from csa_ros.gpu import QUERY_BUCKET
from csa_ros.model.reuse import WindowMemory
from csa_ros.model.text import PromptError
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest
import radio
import torch
from torch.nn import functional as F
from towers import make_backbone

PROMPTS = ('a photo of a {}.',)
SMALL = Settings(short_side=96, crop=64, stride=32)
WORDS = ['road', 'person|pedestrian', 'car|truck', 'sky']
STREET = Scene(3).render(1.0, (160, 120))


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory):
    return Segmenter(make_backbone(), cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return Segmenter.load('demo', 'cpu', cache_dir=tmp_path_factory.mktemp('cache'))


def encode_text(segmenter, phrases):
    """Return features (N, D) float64 of length 1, straight from the text tower."""
    prompts = segmenter.backbone.text.encode(PROMPTS, phrases).double().numpy()
    return prompts / np.linalg.norm(prompts, axis=1, keepdims=True)


def plain_relevancy(segmenter, rgb, phrase, negatives, own, scale, settings):
    """Return (H, W) float64: LERF's formula for each patch, and SCLIP's merging, in NumPy."""
    pixels = segmenter.pixels([rgb], settings)
    patches = segmenter.encoder(pixels).double().numpy()[0]
    positive = np.max([patches @ text for text in encode_text(segmenter, [phrase, *own])], 0)
    each = [np.exp(scale * positive)
            / (np.exp(scale * positive) + np.exp(scale * (patches @ text)))
            for text in encode_text(segmenter, negatives)]
    least = torch.from_numpy(np.min(each, axis=0))[None, None]
    return F.interpolate(least, rgb.shape[:2], mode='bilinear')[0, 0].numpy()


@pytest.mark.parametrize('scale', [10.0, 40.0, 100.0])
def test_relevancy_is_lerfs(segmenter, scale):
    """To 1e-5, with words that say the same as the phrase, and that do not."""
    rgb = STREET.rgb[:90, :120]
    settings = segmenter.resolve(Settings('whole', logit_scale=scale))
    words = segmenter.encode(WORDS, PROMPTS)
    phrases = ['a red car', 'The Truck']
    sought = segmenter.seek(phrases, words, PROMPTS)
    planes, = segmenter.relevancy(
        segmenter.features(segmenter.pixels([rgb], settings), settings), words, sought,
        rgb.shape[:2], settings)
    queries = list(words.vocabulary.queries)
    others = [query for query in queries if query not in ('car', 'truck')]
    for plane, phrase, left, own in zip(planes[:, :].numpy(), phrases, (queries, others),
                                        ((), ('car', 'truck'))):
        expected = plain_relevancy(
            segmenter, rgb, phrase, [*CANONICAL, *left], own, scale / 4, settings)
        assert np.ptp(expected) > 0.005
        np.testing.assert_allclose(plane, expected, atol=1e-5, rtol=0)
    result = segmenter.segment(rgb, words, settings, sought=sought)
    assert result.relevancy.shape == (2, 90, 120) and result.relevancy.dtype == np.uint8
    assert np.abs(result.relevancy / 255 - planes[:, :].numpy()).max() <= 0.51 / 255


def test_without_words_the_canonical_phrases_are_all_there_is(segmenter):
    rgb = STREET.rgb[:90, :120]
    settings = segmenter.resolve(Settings('whole'))
    planes, = segmenter.relevancy(
        segmenter.features(segmenter.pixels([rgb], settings), settings), None,
        segmenter.seek('car', prompts=PROMPTS), rgb.shape[:2], settings)
    expected = plain_relevancy(segmenter, rgb, 'car', CANONICAL, (), 10.0, settings)
    np.testing.assert_allclose(planes[:, :].numpy()[0], expected, atol=1e-5, rtol=0)


def test_words_that_say_the_same_are_no_negatives():
    vocabulary = Vocabulary.parse(['road', 'vehicle=car|truck', 'traffic light'])
    own = own_queries(['Car', 'the vehicle', 'traffic', 'a traffic light'], vocabulary)
    assert own.tolist() == [[False, True, True, False], [False, True, True, False], [False] * 4,
                            [False, False, False, True]]
    assert own_queries(['a red car'], vocabulary) is None
    assert own_queries(['car'], None) is None


@pytest.mark.parametrize('settings', [
    SMALL, Settings('whole', short_side=96), Settings('slide', 96, 64, 32, refine='pamr')],
    ids=['windows', 'whole', 'pamr'])
@pytest.mark.parametrize('model', ['CLIP', 'RADIO'])
def test_labels_are_the_same_beside_phrases(tmp_path, settings, model):
    """Alone, in a batch, with a memory, and as a GPU has it: one relevancy, and equal labels."""
    backbone = make_backbone() if model == 'CLIP' else radio.backbone()
    vocabulary = WORDS if model == 'CLIP' else ['w0', 'w1', 'w2']
    if model == 'RADIO':
        generator = torch.Generator().manual_seed(0)
        backbone.text.features.update({phrase: torch.randn(48, generator=generator)
                                       for phrase in CANONICAL})
    segmenter = Segmenter(backbone, cache_dir=tmp_path)
    settings = segmenter.resolve(settings)
    words = segmenter.encode(vocabulary, PROMPTS)
    sought = segmenter.seek([vocabulary[0], 'w3'], words, PROMPTS)
    images = [STREET.rgb, STREET.rgb[:, ::-1].copy()]
    plain = segmenter.submit(images, words, settings).result()
    both = segmenter.submit(images, words, settings, sought=sought).result()
    for rgb, alone, result in zip(images, plain, both):
        assert alone.relevancy is None
        np.testing.assert_array_equal(result.labels, alone.labels)
        np.testing.assert_array_equal(result.confidence, alone.confidence)
        assert result.relevancy.shape == (2, *rgb.shape[:2])
        single = segmenter.segment(rgb, words, settings, sought=sought)
        assert np.abs(single.relevancy.astype(int) - result.relevancy).max() <= 1
    memory = WindowMemory()
    reused = segmenter.resolve(Settings(**{**vars(settings), 'reuse_threshold': 1.0}))
    for _ in range(2):
        result = segmenter.segment(images[0], words, reused, memory=memory, sought=sought)
        assert np.abs(both[0].relevancy.astype(int) - result.relevancy).max() <= 1
    missing = QUERY_BUCKET - len(words.features)
    few = MAX_PHRASES - len(sought.phrases)
    padded = segmenter.compute(
        torch.from_numpy(np.stack(images)), F.pad(words.features, (0, 0, 0, missing)),
        F.pad(words.query_class, (0, missing), value=UNKNOWN), settings, (),
        (F.pad(sought.features, (0, 0, 0, few)), sought.negatives,
         F.pad(sought.own, (0, missing, 0, few))))
    difference = padded.relevancy[:, :2].numpy().astype(int) - [r.relevancy for r in both]
    # A GPU's way to resize differs by a grey level.
    assert np.abs(difference).max() <= 8 and np.abs(difference).mean() < 0.5


def test_a_phrase_finds_what_it_says(demo):
    words = demo.encode(Vocabulary.parse(CLASSES))
    rgb, truth = STREET.rgb, STREET.labels
    for phrase in ('sky', 'a building'):
        best, *others = demo.find(rgb, phrase, words)
        assert best.name == phrase and 0.6 <= best.score <= 1
        assert all(other.score <= best.score for other in others)
        left, top, width, height = best.box
        shown = truth[top:top + height, left:left + width][best.mask]
        assert (shown == CLASSES.index(phrase.removeprefix('a '))).mean() > 0.6
    sought = demo.seek(['sky', 'a building'], words)
    together = demo.find(rgb, sought, words)
    assert {region.name for region in together} == {'sky', 'a building'}
    assert demo.find(rgb, 'sky')


def test_what_was_taught_is_found_by_its_name(demo):
    """A word that means nothing to the model is found by its examples."""
    rgb, mask = STREET.rgb, STREET.labels == CLASSES.index('building')
    examples = Examples().add('zyx', demo.look(rgb, mask))
    heats = []
    for words in (demo.encode(['sky', 'road', 'zyx']),
                  demo.encode(['sky', 'road', 'zyx'], examples=examples)):
        result = demo.segment(rgb, words, sought=demo.seek('zyx', words))
        heats.append(result.relevancy[0])
    assert heats[1][mask].mean() > heats[0][mask].mean() + 30


@pytest.mark.parametrize('phrases, error, match', [
    ([], ValueError, '0 phrases: give one to 8'),
    (['p'] * 9, ValueError, '9 phrases: give one to 8'),
    ('car ' * 100, PromptError, 'shorten the query')])
def test_what_cannot_be_sought_is_refused(segmenter, phrases, error, match):
    with pytest.raises(error, match=match):
        segmenter.seek(phrases)


def test_regions_of_a_phrase_are_those_above_the_threshold():
    relevancy = np.zeros((2, 20, 30), np.uint8)
    relevancy[0, 2:5, 3:9] = 160
    relevancy[0, 3, 4] = 200
    relevancy[0, 10:15, 20:22] = 250
    relevancy[0, 15, 22] = 250  # touches by a corner
    relevancy[1] = 140
    strong, weak = found_regions(['a', 'b'], relevancy, 0.6)
    assert (strong.name, strong.box, strong.area) == ('a', (20, 10, 3, 6), 11)
    assert (weak.box, weak.area, weak.mask.sum()) == ((3, 2, 6, 3), 18, 18)
    assert (strong.score, weak.score) == (250 / 255, 200 / 255)
    everything = found_regions(['a', 'b'], relevancy, 0.0)
    assert everything[-1].area == 600
    assert [region.area for region in everything[:2]] == [11, 18]


def test_there_are_never_too_many_regions():
    noise = np.zeros((1, 100, 100), np.uint8)
    noise[0, ::2, ::2] = 255
    assert len(found_regions(['a'], noise, 0.6)) == MAX_REGIONS
    labels = np.random.default_rng(0).integers(0, 2, (90, 120), dtype=np.uint8)
    objects = object_regions([(0, 'a'), (1, 'b')], labels, labels, 1)
    assert len(objects) <= 2 * MAX_REGIONS


def test_objects_are_regions_of_classes():
    labels = np.full((12, 16), 255, np.uint8)
    confidence = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    labels[1:4, 1:4] = 2
    labels[6:11, 5:15] = 2
    labels[0, 15] = 0
    large, small = object_regions([(2, 'car'), (7, 'absent')], labels, confidence, 9)
    assert (large.name, large.box, large.area) == ('car', (5, 6, 10, 5), 50)
    assert small.box == (1, 1, 3, 3)
    assert small.score == pytest.approx(confidence[1:4, 1:4].mean() / 255)
    assert object_regions([(2, 'car')], labels, confidence, 51) == []
    corner, = object_regions([(0, 'a')], labels, confidence, 1)
    assert (corner.box, corner.mask.all()) == ((15, 0, 1, 1), True)
