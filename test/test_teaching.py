"""Classes that are shown, without ROS."""

from dataclasses import replace

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.gpu import KEY_BUCKET
from csa_ros.gpu import QUERY_BUCKET
from csa_ros.model.reuse import WindowMemory
from csa_ros.segmenter import _cosines
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
from csa_ros.teaching.cache import KNOWN
from csa_ros.teaching.cache import make
from csa_ros.teaching.cache import Strength
from csa_ros.teaching.cache import UNHEARD
from csa_ros.teaching.choice import choose
from csa_ros.teaching.collection import Example
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.region import mask_of
from csa_ros.vocabulary import UNKNOWN
import cv2
import numpy as np
import pytest
import radio
import torch
from torch.nn import functional as F

NONSENSE = 'zorblax'
SIZE = (320, 240)
WORDS = [name if name != 'grass' else NONSENSE for name in CLASSES]
GRASS = CLASSES.index('grass')


@pytest.fixture(scope='module')
def demo():
    return Segmenter.load('demo', settings=Settings(short_side=240))


@pytest.fixture(scope='module')
def streets():
    """Return eight pictures and the masks of their grass, then four more."""
    frames = (Scene(seed).render(1.0, SIZE) for seed in range(900, 940))
    grassy = ((frame.rgb, frame.labels == GRASS) for frame in frames
              if (frame.labels == GRASS).sum() > 2000)
    return [next(grassy) for _ in range(12)]


@pytest.fixture(scope='module')
def taught(demo, streets):
    examples = Examples()
    for rgb, mask in streets[:8]:
        examples = examples.add(NONSENSE, demo.look(rgb, mask))
    return examples


def iou(segmenter, words, streets, class_id=GRASS):
    both = either = 0
    for rgb, mask in streets:
        found = segmenter.segment(rgb, words).labels == class_id
        both, either = both + (found & mask).sum(), either + (found | mask).sum()
    return both / either


def test_a_word_that_means_nothing_is_found_once_it_was_shown(demo, streets, taught):
    unseen = streets[8:]
    before = iou(demo, demo.encode(WORDS), unseen)
    words = demo.encode(WORDS, examples=taught)
    assert before < 0.1
    assert iou(demo, words, unseen) > before + 0.2
    assert words.taught.keys() == {NONSENSE}
    known = words.taught[NONSENSE]
    assert known.count == 8 and known.strength == UNHEARD
    assert known.word_iou < 0.2 < known.iou


def test_a_word_that_the_model_knows_is_trusted(demo, streets):
    examples = Examples()
    for rgb, mask in streets[:2]:
        examples = examples.add('grass', demo.look(rgb, mask))
    words = demo.encode([*CLASSES], examples=examples)
    assert words.taught['grass'].word_iou > 0.3
    assert iou(demo, words, streets[8:]) > iou(demo, demo.encode([*CLASSES]), streets[8:]) - 0.05


def test_words_learn_from_what_was_shown(demo, streets, taught):
    plain = demo.encode(WORDS)
    tuned = demo.tune(plain, taught)
    assert not torch.equal(tuned.features, plain.features)
    assert iou(demo, tuned, streets[8:]) > iou(demo, plain, streets[8:]) + 0.2
    again = demo.tune(plain, taught)
    torch.testing.assert_close(again.features, tuned.features, atol=1e-3, rtol=0)
    with pytest.raises(TeachingError, match='nothing was shown of any word in the vocabulary'):
        demo.tune(demo.encode(['road', 'sky']), taught)


def cosines(segmenter, words, rgb):
    settings = segmenter.settings
    features = segmenter.features(segmenter.pixels([rgb], settings), settings)
    features = segmenter._parts(features, rgb.shape[:2], settings).features
    return _cosines(features, words.features, words.cache)


def test_what_was_not_shown_is_the_same_to_the_bit(demo, streets, taught):
    rgb = streets[9][0]
    plain, words = demo.encode(WORDS), demo.encode(WORDS, examples=taught)
    before, after = cosines(demo, plain, rgb), cosines(demo, words, rgb)
    others = words.query_class != GRASS
    assert torch.equal(before[..., others], after[..., others])
    assert (after[..., ~others] > before[..., ~others]).all()
    # Without examples, with none of these words, and where they count for nothing.
    assert demo.encode(WORDS, examples=Examples()).cache is None
    assert demo.encode(['road', 'sky'], examples=taught).cache is None
    chosen, key_class = taught.of(WORDS)
    keys = torch.stack([example.look.key for example in chosen])
    nothing = make(plain.features, plain.query_class, keys, key_class,
                   {GRASS: Strength(0.0, 10.0)})
    assert torch.equal(cosines(demo, replace(plain, cache=nothing), rgb), before)


def test_every_query_of_a_class_has_the_bonus_and_more_examples_count_no_more():
    generator = torch.Generator().manual_seed(0)
    text, features = (F.normalize(torch.randn(count, 16, generator=generator), dim=-1)
                      for count in (4, 5))
    query_class = torch.tensor([0, 1, 1, 2])
    keys = F.normalize(torch.randn(1, 16, generator=generator), dim=-1)
    one = make(text, query_class, keys, torch.tensor([1]), {1: KNOWN})
    bonus = one.bonus(features)
    assert torch.equal(bonus[:, 1], bonus[:, 2])
    assert not bonus[:, [0, 3]].any()
    three = make(text, query_class, keys.expand(3, -1), torch.tensor([1, 1, 1]), {1: KNOWN})
    torch.testing.assert_close(three.bonus(features), bonus)
    torch.testing.assert_close(
        bonus[:, 1:2], torch.exp(-10 * (1 - features @ keys.T)) * one.values[0, 1])


def test_strengths_are_chosen_without_the_key_that_was_made_of_a_picture():
    """By the letter: of each example, words and the keys of all others."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return F.normalize(torch.randn(shape, generator=generator), dim=-1)

    text, query_class, centers = normal(5, 16), torch.tensor([0, 1, 1, 2, 3]), normal(4, 16)
    key_class = torch.tensor([1, 0, 1, 2, 1, 2])
    examples = []
    for c in key_class.tolist():
        near = torch.cat([centers[c].expand(9, -1), centers])
        patches = F.normalize(0.6 * near + normal(13, 16), dim=-1).half()
        inside = torch.tensor([0.9] * 8 + [0.4] * 5)
        key = F.normalize(patches[:8].float().mean(0), dim=0)
        weight = torch.rand(13, generator=generator)
        examples.append(Example('', Look(key, patches, inside, weight, 'a')))
    chosen = choose(text, query_class, examples, key_class)
    assert {c: each.count for c, each in chosen.items()} == {0: 1, 1: 3, 2: 2}
    assert chosen[0].iou is None
    # The last class was chosen for after all others.
    strengths = {c: each.strength for c, each in chosen.items()}
    keys = torch.stack([example.look.key for example in examples])
    both = either = 0.0
    for index in (key_class == 2).nonzero()[:, 0].tolist():
        others = torch.arange(len(keys)) != index
        look = examples[index].look
        patches = look.patches.float()
        cache = make(text, query_class, keys[others], key_class[others], strengths)
        found = query_class[(patches @ text.T + cache.bonus(patches)).argmax(1)] == 2
        both += float(look.stands_for[found & (look.inside >= 0.5)].sum())
        either += float(look.stands_for[found | (look.inside >= 0.5)].sum())
    assert 0 < both < either
    assert chosen[2].iou == pytest.approx(both / either)


@pytest.mark.parametrize('how', [{'inference': 'whole'}, {'refine': 'pamr'}, {'min_area': 0.01},
                                 {'denoise': 0.3}])
def test_it_works_with_every_setting_and_in_batches(demo, streets, taught, how):
    words, settings = demo.encode(WORDS, examples=taught), Settings(short_side=240, **how)
    pictures = [rgb for rgb, _ in streets[8:10]]
    results = demo.submit(pictures, words, settings).result()
    for rgb, result in zip(pictures, results):
        np.testing.assert_array_equal(demo.segment(rgb, words, settings).labels, result.labels)
    plain = demo.submit(pictures, demo.encode(WORDS), settings).result()
    assert not np.array_equal(plain[0].labels, results[0].labels)


def test_windows_that_are_reused_know_what_is_taught_meanwhile(demo, streets, taught):
    rgb, memory = streets[8][0], WindowMemory()
    settings = Settings(short_side=240, reuse_threshold=1.0)
    demo.segment(rgb, demo.encode(WORDS), settings, memory=memory)
    words = demo.encode(WORDS, examples=taught)
    np.testing.assert_array_equal(demo.segment(rgb, words, settings, memory=memory).labels,
                                  demo.segment(rgb, words).labels)


def test_padding_as_in_a_graph_changes_nothing(demo, streets, taught):
    rgb, words = streets[8][0], demo.encode(WORDS, examples=taught)
    keys, sharpness, values = words.cache.tensors
    more, few = -len(words.features) % QUERY_BUCKET, -len(keys) % KEY_BUCKET
    decision = demo.compute(
        torch.from_numpy(rgb)[None], F.pad(words.features, (0, 0, 0, more)),
        F.pad(words.query_class, (0, more), value=UNKNOWN), demo.settings,
        (F.pad(keys, (0, 0, 0, few)), F.pad(sharpness, (0, few)),
         F.pad(values, (0, more, 0, few))))
    np.testing.assert_array_equal(decision.labels[0], demo.segment(rgb, words).labels)


@pytest.mark.parametrize('attention', ['radseg', 'naclip'])
def test_it_works_with_radio(attention, streets, tmp_path):
    segmenter = Segmenter(radio.backbone(), attention, cache_dir=tmp_path)
    rgb, mask = streets[0]
    examples = Examples().add('w2', segmenter.look(rgb, mask))
    words = segmenter.encode(['w0', 'w1', 'w2'], examples=examples)
    assert words.taught['w2'].count == 1
    plain = segmenter.segment(rgb, segmenter.encode(['w0', 'w1', 'w2']))
    shown = segmenter.segment(rgb, words)
    assert (shown.labels == 2).sum() > (plain.labels == 2).sum()


# Regions

def test_a_polygon_and_a_mask_of_the_same_are_the_same_and_a_box_is_around_it(demo, streets):
    rgb = streets[0][0]
    mask = np.zeros(rgb.shape[:2], bool)
    mask[40:121, 30:101] = True
    polygon = [(30, 40), (100, 40), (100, 120), (30, 120)]
    looks = [demo.look(rgb, region) for region in ((30, 40, 71, 81), polygon, mask)]
    torch.testing.assert_close(looks[2].key, looks[1].key)
    torch.testing.assert_close(looks[2].inside, looks[1].inside)
    # Some of the box looks like its surroundings.
    inside, around = (look.inside @ look.stands_for for look in looks[:2])
    assert 0.2 * around < inside < 0.95 * around
    assert looks[0].thumbnail == looks[1].thumbnail
    assert looks[0].key.norm() == pytest.approx(1)
    picture = cv2.imdecode(np.frombuffer(looks[0].thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (81, 71, 3)
    part = rgb[40:121, 30:101, ::-1].astype(float)
    assert np.abs(picture - part).mean() < 8


def test_all_of_a_picture_is_a_region_too(demo, streets):
    rgb = streets[0][0]
    looks = [demo.look(rgb, region) for region in (None, (), (-5, -5, 5000, 5000))]
    for look in looks:
        torch.testing.assert_close(look.key, looks[0].key)
        assert (look.inside > 0.99).all()
        assert look.stands_for.sum() == pytest.approx(
            len(demo.features(demo.pixels([rgb], demo.settings), demo.settings).flatten(0, 2)))


@pytest.mark.parametrize('region, message', [
    ((400, 10, 20, 20), r'\(400, 10, 20, 20\) lies outside the picture of 320 x 240'),
    ((10, 10, 0, 20), 'a box of 0 x 20 pixels: its width and height must be above 0'),
    ((10, 10, 5, -2), 'a box of 5 x -2 pixels'),
    ((10, 10, float('nan'), 4), 'nan.*give a box'),
    ((1, 2, 3), r'shape \(3,\): give a box'),
    ([(1, 2), (3, 4)], 'give a box .* three corners'),
    ('here', 'give a box'),
    (np.zeros((240, 320)), 'lies outside'),
    (np.ones((24, 32)), r'shape \(24, 32\)'),
    ((10, 10, 2, 2), 'of the patch that it has most of: it is too small for this model'),
])
def test_regions_that_cannot_be_used(demo, streets, region, message):
    with pytest.raises(TeachingError, match=message):
        demo.look(streets[0][0], region)


def test_regions_end_at_the_border():
    mask = mask_of((-10, 5, 30, 1e9), (20, 40))
    assert mask.sum() == 20 * 15 and mask[5:, :20].all()
    far = mask_of([(-1e12, 0), (1e12, 0), (1e12, 1e12), (-1e12, 1e12)], (20, 40))
    assert far.all()


# Examples

def look(key=0, fingerprint='a'):
    direction = F.one_hot(torch.tensor(key), 8).float()
    return Look(direction, direction[None].half(), torch.ones(1), torch.ones(1), fingerprint)


def test_examples_are_never_changed():
    none = Examples()
    one = none.add(' pallet ', look())
    two = one.add('bin', look(1))
    assert [len(none), len(one), len(two)] == [0, 1, 2]
    assert two.counts == {'pallet': 1, 'bin': 1}
    assert [item.name for item in two.forget()] == ['pallet']
    assert [item.name for item in two.forget('pallet')] == ['bin']
    assert len(none.forget()) == 0
    assert (none.fingerprint, two.fingerprint) == ('', 'a')
    chosen, classes = two.of(['road', 'bin', 'pallet'])
    assert [item.name for item in chosen] == ['pallet', 'bin'] and classes.tolist() == [2, 1]


def test_the_oldest_make_room(monkeypatch):
    monkeypatch.setattr(Examples, 'most_per_name', 3)
    monkeypatch.setattr(Examples, 'most', 5)
    examples = Examples()
    for index, name in enumerate(['a', 'a', 'a', 'a', 'b', 'b', 'c', 'b', 'd']):
        examples = examples.add(name, look(index % 8))
    assert examples.counts == {'a': 1, 'b': 2, 'c': 1, 'd': 1}
    assert examples.forgotten == 4


def test_names_and_models_that_cannot_be():
    with pytest.raises(TeachingError, match='name of what is shown is empty'):
        Examples().add('  ', look())
    with pytest.raises(TeachingError, match='seen by another model'):
        Examples().add('a', look()).add('b', look(fingerprint='b'))


def test_a_fingerprint_tells_models_attentions_and_windows_apart(demo, tmp_path):
    prints = {demo.fingerprint(), demo.fingerprint(Settings(short_side=320)),
              demo.fingerprint(Settings('whole', short_side=240)),
              Segmenter(demo.backbone, 'vanilla', demo.settings, tmp_path).fingerprint()}
    assert len(prints) == 4
    assert demo.fingerprint(Settings(short_side=240, logit_scale=9.0)) == demo.fingerprint()
