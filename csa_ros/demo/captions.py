"""Captions of picture crops: what the demo model learns words from, never from pixels' labels."""

from collections import Counter

from csa_ros.demo.scenes import CLASSES
import numpy as np

# A crop shows a class that fills PRESENT of it, and does not show one that fills less than ABSENT.
# Between the two a caption that names the class is neither true nor false of the crop.
PRESENT, ABSENT = 0.04, 0.005

SYNONYMS = {
    'sky': ('sky',), 'road': ('road', 'street', 'asphalt'),
    'pavement': ('pavement', 'sidewalk', 'footpath'), 'grass': ('grass', 'lawn'),
    'building': ('building', 'house', 'facade'), 'tree': ('tree', 'foliage'),
    'car': ('car', 'automobile'), 'bus': ('bus', 'coach'), 'truck': ('truck', 'lorry'),
    'person': ('person', 'pedestrian', 'human'), 'bicycle': ('bicycle', 'bike'),
    'traffic light': ('traffic light', 'traffic signal', 'stoplight'),
    'traffic cone': ('traffic cone', 'cone')}
SKY_WORDS = {'sunny': ('blue', 'clear', 'sunny'), 'cloudy': ('cloudy', 'grey'),
             'rainy': ('rainy', 'dark'), 'foggy': ('foggy', 'hazy'),
             'evening': ('evening', 'sunset')}
JOINTS = (' and ', ' next to ', ' near ', ' in front of ', ' with ')


def describe(look, name):
    """Return the word which a look adds to a class name ('red', 'wet', 'sunny') or None."""
    if name == 'sky':
        return look['weather']
    if name in ('road', 'pavement'):
        return 'wet' if look['wet'] else 'dry'
    return look.get('color')


def facts_of(instances, names, looks):
    """
    Say what is true of a crop.

    `instances` is the crop's (h, w) uint8 instance map, `names` and `looks` the class name and
    the looks of every instance id. Returns the share of the crop that shows each fact; a fact is
    (class name, None) or (class name, word for its look).
    """
    counts = np.bincount(instances.ravel(), minlength=len(names))
    shares = Counter()
    for instance in np.flatnonzero(counts):
        name, share = names[instance], counts[instance] / instances.size
        shares[name, None] += share
        word = describe(looks[instance], name)
        if word:
            shares[name, word] += share
    return shares


def _phrase(fact, random):
    name, word = fact
    noun = str(random.choice(SYNONYMS[name]))
    if word is None:
        return noun
    if name == 'sky':
        word = str(random.choice(SKY_WORDS[word]))
    if name == 'person':
        return f'{noun} in {word}' if random.random() < 0.6 else f'{noun} in a {word} shirt'
    return f'{word} {noun}'


def caption(facts, random, templates):
    """
    Write a caption of one to three things that a crop shows.

    `facts` are the crop's, from `facts_of`; `random` is a numpy Generator; `templates` are
    prompts with one `{}` each, for captions of one thing. Returns the text and the tuple of facts
    that it states.
    """
    shown = [name for name in CLASSES if facts[name, None] >= PRESENT]
    count = min(len(shown), int(random.choice((1, 2, 3), p=(0.65, 0.25, 0.1))))
    stated = []
    for name in random.permutation(shown)[:count]:
        words = [fact for fact, share in facts.items()
                 if fact[0] == name and fact[1] and share >= PRESENT]
        detailed = words and random.random() < 0.4
        stated.append(words[random.integers(len(words))] if detailed else (str(name), None))
    phrases = [_phrase(fact, random) for fact in stated]
    if len(phrases) == 1:
        if random.random() < 0.75:
            return str(random.choice(templates)).format(phrases[0]), tuple(stated)
        return phrases[0], tuple(stated)
    text = 'a ' + phrases[0]
    for name, phrase in zip((fact[0] for fact in stated[1:]), phrases[1:]):
        on = name in ('road', 'pavement', 'grass') and random.random() < 0.6
        text += (' on a ' if on else str(random.choice(JOINTS)) + 'a ') + phrase
    return text, tuple(stated)


def truth(all_facts, all_stated):
    """
    Tell which captions are true of which crops.

    `all_facts` are the facts of each of the N crops, `all_stated` those that each of the M
    captions states. Returns (N, M) float32: 1 where the caption is true of the crop, 0 where it is
    false, NaN where a thing that it names is too small to decide.
    """
    facts = sorted({fact for stated in all_stated for fact in stated}, key=str)
    column = {fact: i for i, fact in enumerate(facts)}
    shares = np.array([[shares[fact] for fact in facts] for shares in all_facts])
    # -1 false, 0 undecided, 1 true: the least of a caption's facts decides.
    verdict = np.where(shares >= PRESENT, 1, np.where(shares < ABSENT, -1, 0))
    captions = [verdict[:, [column[fact] for fact in stated]].min(axis=1)
                for stated in all_stated]
    verdict = np.stack(captions, axis=1)
    return np.where(verdict == 0, np.nan, verdict > 0).astype(np.float32)
