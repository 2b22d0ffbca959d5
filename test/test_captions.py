"""Captions: true of their own crops, and false of crops that do not show what they name."""

from collections import Counter

from csa_ros.demo import captions
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.train import crop
from csa_ros.demo.train import render
import numpy as np

RED_CAR = Counter({('car', None): 0.5, ('car', 'red'): 0.5, ('road', None): 0.5,
                   ('road', 'wet'): 0.5})
BLUE_CAR = Counter({('car', None): 0.9, ('car', 'blue'): 0.9, ('road', None): 0.02})
EMPTY_ROAD = Counter({('road', None): 1.0, ('road', 'dry'): 1.0})


def test_facts_are_shares_of_the_crop():
    """Instances of one class add up; colours are counted apart."""
    instances = np.array([[0, 0, 1, 2]], np.uint8)
    names, looks = ('road', 'car', 'car'), ({'wet': True}, {'color': 'red'}, {'color': 'blue'})
    facts = captions.facts_of(instances, names, looks)
    assert facts == {('road', None): 0.5, ('road', 'wet'): 0.5, ('car', None): 0.5,
                     ('car', 'red'): 0.25, ('car', 'blue'): 0.25}


def test_truth_of_captions():
    """Colours count, small things leave it open, absent ones make it false."""
    stated = [(('car', None),), (('car', 'red'),), (('car', 'red'), ('road', 'wet')),
              (('road', None),)]
    table = captions.truth([RED_CAR, BLUE_CAR, EMPTY_ROAD], stated)
    np.testing.assert_array_equal(table, [[1, 1, 1, 1], [1, 0, 0, np.nan], [0, 0, 0, 1]])


def test_captions_use_synonyms_colours_and_several_things():
    """Captions vary in words, and name colours, states of the road and more than one thing."""
    random = np.random.default_rng(0)
    texts = {captions.caption(RED_CAR, random, ['a photo of a {}.'])[0] for _ in range(300)}
    joined = ' '.join(texts)
    for words in ('automobile', 'red car', 'wet road', 'street', 'on a', 'a photo of a '):
        assert words in joined, words


def test_captions_of_real_crops_are_true_of_them():
    """What a caption states of its own crop is never false."""
    random = np.random.default_rng(1)
    frame = render(1000)
    for _ in range(100):
        pixels, instances = crop(frame, random)
        assert pixels.shape == (64, 64, 3)
        facts = captions.facts_of(instances, frame.names, frame.looks)
        text, stated = captions.caption(facts, random, ['{}'])
        assert text
        assert stated
        assert captions.truth([facts], [stated]) == 1


def test_every_class_has_its_own_words():
    """No synonym stands for two classes."""
    words = [word for name in CLASSES for word in captions.SYNONYMS[name]]
    assert len(words) == len(set(words))
