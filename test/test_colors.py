"""Class colours: what they are, that they keep, and that people can tell them apart."""

import subprocess
import sys

from csa_ros.drawing import colors
from csa_ros.drawing.color_difference import ciede2000
from csa_ros.drawing.color_difference import DEUTERANOPIA
from csa_ros.drawing.color_difference import distances
from csa_ros.drawing.color_difference import PROTANOPIA
from csa_ros.drawing.color_difference import separations
from csa_ros.drawing.colors import color_of
from csa_ros.drawing.colors import LEAST_DIFFERENCE
from csa_ros.drawing.colors import palette
from csa_ros.presets import preset_names
from csa_ros.vocabulary import Vocabulary
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

# L*, a*, b* of two colours and their difference, from table 1 of Sharma, Wu and Dalal (2005).
PUBLISHED = np.array([
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
    (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
    (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
])
# Of the classes of each shipped vocabulary: the least difference, and what is left of it for the
# colour-blind. With a hundred classes and more the first cannot be LEAST_DIFFERENCE.
BOUNDS = {'street': (20, 7), 'cityscapes': (14.9, 6.9), 'indoor': (14.9, 6.9),
          'off_road': (14.9, 6.8), 'autoware': (14.9, 6.9), 'voc20': (14.9, 6.9),
          'voc21': (14.9, 6.9), 'context59': (10, 1.2), 'context60': (10, 1.2),
          'coco_object': (10, 0.3), 'ade20k': (8.5, 0.1), 'coco_stuff': (7.8, 0.05)}
KNOWN = sorted(colors._KNOWN)
WORDS = st.one_of(st.sampled_from(KNOWN), st.from_regex(r'[a-z]{2,8}', fullmatch=True))


def least(differences):
    return differences[~np.eye(len(differences), dtype=bool)].min()


def test_differences_are_the_published_ones():
    first, second, expected = PUBLISHED[:, :3], PUBLISHED[:, 3:6], PUBLISHED[:, 6]
    assert np.abs(ciede2000(first, second) - expected).max() < 5.1e-5
    assert np.abs(ciede2000(second, first) - expected).max() < 5.1e-5


def test_differences_of_rgb():
    ends = np.array([(0, 0, 0), (255, 255, 255)], np.uint8)
    assert distances(ends, ends) == pytest.approx(np.array([(0, 100), (100, 0)]), abs=0.01)
    red_and_green = np.array([(200, 60, 30), (95, 115, 20)], np.uint8)
    seen = [least(distances(red_and_green, red_and_green, cones))
            for cones in (None, PROTANOPIA, DEUTERANOPIA)]
    assert seen[0] > 45
    assert max(seen[1:]) < 15
    # Grey is grey to all; blue and yellow are not confused.
    blue_and_yellow = np.array([(0, 0, 255), (255, 255, 0)], np.uint8)
    assert least(distances(blue_and_yellow, blue_and_yellow, PROTANOPIA)) > 70
    assert distances(ends[:0], ends).shape == (0, 2)


@pytest.mark.parametrize('name', preset_names())
def test_classes_of_shipped_vocabularies_are_told_apart_by_all(name):
    shown = Vocabulary.parse(f'@{name}').colors
    apart, for_the_colour_blind = BOUNDS[name]
    assert least(distances(shown, shown)) >= apart
    for cones in PROTANOPIA, DEUTERANOPIA:
        assert least(distances(shown, shown, cones)) >= for_the_colour_blind


def test_colors_by_hand_are_those_of_the_shipped_vocabularies():
    """None of them gives way to another, so that they look as they were meant to."""
    for name in ('street', 'cityscapes', 'indoor', 'off_road', 'autoware', 'voc21'):
        for word, color in zip(Vocabulary.parse(f'@{name}').names,
                               Vocabulary.parse(f'@{name}').colors.tolist()):
            assert color == list(color_of(word)) == list(colors._KNOWN[colors._key(word)]), word


@pytest.mark.parametrize('name, color', [
    ('road', (128, 64, 128)),
    ('car', (0, 0, 142)),
    ('sidewalk', (244, 35, 232)),
    ('vegetation', (107, 142, 35)),
])
def test_street_words_have_the_cityscapes_colors(name, color):
    assert color_of(name) == color


@pytest.mark.parametrize('name, same', [
    ('pavement', 'sidewalk'),
    ('Pedestrian', 'person'),
    ('traffic_light', 'Traffic  Light'),
    ('Zebra', 'zebra'),
    ('plants', 'plant'), ('plant', 'vegetation'), ('potted plants', 'vegetation'),
    ('people', 'person'), ('Cars', 'car'), ('buses', 'bus'), ('women', 'person'),
    ('TRAFFIC-LIGHTS', 'traffic light'), ('benches', 'bench'), ('boxes', 'box'),
    ('berries', 'berry'), ('leaves', 'leaf'),
    ('shelves', 'shelf'), ('zebras', 'zebra'), ('zebra crossings', 'crosswalk'),
    ('CURBSTONE', 'curb'), ('ROAD_PAINT', 'lane marking'), ('trees', 'tree'),
    ('houses', 'house'), ('glasses', 'glass'), ('couch', 'sofa'),
])
def test_spellings_plurals_and_synonyms_share_a_color(name, same):
    assert color_of(name) == color_of(same)


@pytest.mark.parametrize('name', ['grass', 'bus', 'glass', 'cactus', 'tennis', 's', ''])
def test_words_that_only_look_like_plurals_stay(name):
    assert colors._singular(name) == name


def test_colors_are_the_same_in_every_process():
    names = ['zebra', '日本', *(f'thing {i}' for i in range(80))]
    code = f'from csa_ros.drawing.colors import palette; print(palette({names}).tolist())'
    printed = subprocess.check_output([sys.executable, '-c', code], text=True)
    assert printed.strip() == str(palette(names).tolist())
    assert color_of('zebra') == (180, 240, 255)


def test_shape_of_a_palette():
    assert palette(['road', 'zebra']).dtype == np.uint8
    assert palette(['road', 'zebra']).tolist() == [list(color_of('road')), list(color_of('zebra'))]
    assert palette([]).shape == (0, 3)


def test_choices_are_apart_from_one_another_and_from_streets():
    choices = colors._CHOICES
    assert least(separations(choices, choices)) >= LEAST_DIFFERENCE
    street = Vocabulary.parse('@street').colors
    assert separations(choices, street[:-1]).min() >= LEAST_DIFFERENCE


@given(st.lists(WORDS, min_size=2, max_size=25, unique=True))
def test_any_words_are_apart(names):
    shown = palette(names)
    assert least(distances(shown, shown)) >= LEAST_DIFFERENCE


@given(st.lists(WORDS, min_size=2, max_size=25, unique=True), st.integers(1, 24))
def test_words_added_at_the_end_change_no_color_of_those_before(names, count):
    # Known words come first wherever they stand, so that one added later may claim its colour.
    first = [name for name in names if name in colors._KNOWN][:count]
    rest = [name for name in names if name not in colors._KNOWN]
    before = [*first, *rest[:count]]
    assert np.array_equal(palette([*before, *rest[count:]])[:len(before)], palette(before))


def test_hardly_any_color_changes_when_others_come_and_go():
    rng = np.random.default_rng(0)
    words = [*KNOWN, *(f'thing {i}' for i in range(len(KNOWN)))]
    kept = []
    for _ in range(60):
        names = rng.choice(words, 12, replace=False).tolist()
        kept += (palette(names)[1:] == palette(names[1:])).all(axis=1).tolist()
    assert np.mean(kept) > 0.95


def test_as_many_classes_as_there_can_be_are_all_different():
    shown = palette([f'thing {i}' for i in range(255)])
    assert len(np.unique(shown, axis=0)) == 255
    assert least(distances(shown, shown)) > 5
