"""Captions of picture crops: what the demo model learns words from, never from pixels' labels."""

from collections.abc import Mapping
from collections.abc import Sequence
from random import Random
from typing import Any

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
# (class name, None), or (class name, word for its look).
Fact = tuple[str, str | None]
JOINTS = (' and ', ' next to ', ' near ', ' in front of ', ' with ')


def describe(look: Mapping[str, Any], name: str) -> str | None:
    """Return the word which a look adds to a class name ('red', 'wet', 'sunny') or None."""
    if name == 'sky':
        return look['weather']
    if name in ('road', 'pavement'):
        return 'wet' if look['wet'] else 'dry'
    return look.get('color')


def facts_of(name: str, look: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return the facts that are true of a crop that shows a thing: none for one without words."""
    if name not in SYNONYMS:
        return ()
    word = describe(look, name)
    return ((name, None), (name, word)) if word else ((name, None),)


def _phrase(fact: Fact, random: Random) -> str:
    name, word = fact
    noun = random.choice(SYNONYMS[name])
    if word is None:
        return noun
    if name == 'sky':
        word = random.choice(SKY_WORDS[word])
    if name == 'person':
        return f'{noun} in {word}' if random.random() < 0.6 else f'{noun} in a {word} shirt'
    return f'{word} {noun}'


def caption(shown: Sequence[Fact], random: Random, templates: Sequence[str]
            ) -> tuple[str, tuple[Fact, ...]]:
    """
    Write a caption of one to three things that a crop shows.

    `shown` are facts that fill at least PRESENT of the crop, those of a class after the class
    itself; `random` is a `random.Random`; `templates` are prompts with one `{}` each, for
    captions of one thing. Returns the text and the tuple of facts that it states.
    """
    names = [name for name, word in shown if word is None]
    count = min(len(names), random.choices((1, 2, 3), (0.65, 0.25, 0.1))[0])
    stated = []
    for name in random.sample(names, count):
        detailed = [fact for fact in shown if fact[0] == name and fact[1]]
        chosen = detailed and random.random() < 0.4
        stated.append(random.choice(detailed) if chosen else (name, None))
    phrases = [_phrase(fact, random) for fact in stated]
    if len(phrases) == 1:
        if random.random() < 0.75:
            return random.choice(templates).format(phrases[0]), tuple(stated)
        return phrases[0], tuple(stated)
    text = 'a ' + phrases[0]
    for (name, _), phrase in zip(stated[1:], phrases[1:]):
        on = name in ('road', 'pavement', 'grass') and random.random() < 0.6
        text += (' on a ' if on else random.choice(JOINTS) + 'a ') + phrase
    return text, tuple(stated)


def truth(shares: np.ndarray, stated: Sequence[Sequence[int]]) -> np.ndarray:
    """
    Tell which captions are true of which crops.

    `shares` (N, F) are the shares of N crops that show each of F facts; `stated` are, for each of
    M captions, the indices of the one to three facts that it states. Returns (N, M) float32: 1
    where the caption is true of the crop, 0 where it is false, NaN where a thing that it names is
    too small to decide.
    """
    # -1 false, 0 undecided, 1 true: the least of a caption's facts decides.
    verdict = np.where(shares >= PRESENT, 1, np.where(shares < ABSENT, -1, 0)).astype(np.int8)
    most = max(map(len, stated))
    # A caption of fewer facts repeats one of them.
    padded = np.array([[*facts, *[facts[0]] * (most - len(facts))] for facts in stated])
    verdict = verdict[:, padded].min(axis=2)
    return np.where(verdict == 0, np.nan, verdict > 0).astype(np.float32)
