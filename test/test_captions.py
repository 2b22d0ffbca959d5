"""Captions: true of their own crops, and false of crops that do not show what they name."""

from random import Random

from csa_ros.demo import captions
from csa_ros.demo.scenes import CLASSES
import numpy as np

FACTS = (('car', None), ('car', 'blue'), ('car', 'red'), ('road', None), ('road', 'wet'))
#           car  blue  red  road   wet
RED_CAR = (0.5, 0.0, 0.5, 0.5, 0.5)
BLUE_CAR = (0.9, 0.9, 0.0, 0.02, 0.0)
EMPTY_ROAD = (0.0, 0.0, 0.0, 1.0, 0.0)


def test_facts_are_the_class_and_its_look():
    """Colours, wetness and weather are facts; things without words have none."""
    assert captions.facts_of('car', {'color': 'red'}) == (('car', None), ('car', 'red'))
    assert captions.facts_of('road', {'wet': True}) == (('road', None), ('road', 'wet'))
    assert captions.facts_of('grass', {}) == (('grass', None),)
    assert captions.facts_of('unlabelled', {}) == ()


def test_truth_of_captions():
    """Colours count, small things leave it open, absent ones make it false."""
    stated = [(0,), (2,), (2, 4), (3,)]
    table = captions.truth(np.array([RED_CAR, BLUE_CAR, EMPTY_ROAD]), stated)
    np.testing.assert_array_equal(table, [[1, 1, 1, 1], [1, 0, 0, np.nan], [0, 0, 0, 1]])
    assert table.dtype == np.float32


def test_captions_use_synonyms_colours_and_several_things():
    """Captions vary in words, and name colours, states of the road and more than one thing."""
    random = Random(0)
    shown = [fact for fact, share in zip(FACTS, RED_CAR) if share]
    texts = {captions.caption(shown, random, ['a photo of a {}.'])[0] for _ in range(300)}
    joined = ' '.join(texts)
    for words in ('automobile', 'red car', 'wet road', 'street', 'on a', 'a photo of a '):
        assert words in joined, words
    assert 'blue' not in joined


def test_captions_state_what_is_shown():
    """One to three different things of those shown are stated."""
    random = Random(1)
    shown = [(name, None) for name in CLASSES[1:6]] + [('building', 'brick')]
    for _ in range(100):
        text, stated = captions.caption(shown, random, ['{}'])
        assert text
        assert set(stated) <= set(shown)
        assert 1 <= len({name for name, _ in stated}) == len(stated) <= 3


def test_every_class_has_its_own_words():
    """No synonym stands for two classes."""
    words = [word for name in CLASSES for word in captions.SYNONYMS[name]]
    assert len(words) == len(set(words))
