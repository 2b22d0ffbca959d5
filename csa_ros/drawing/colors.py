"""The colours of classes: what a word is usually shown in, and how others are told from it."""

from collections.abc import Sequence
from functools import lru_cache
import hashlib
from itertools import product

from csa_ros.drawing.color_difference import distances
from csa_ros.drawing.color_difference import separations
import numpy as np

# By hand, after what things look like and what the Cityscapes labels
# (https://www.cityscapes-dataset.com) have for them, then moved by little: within a shipped
# vocabulary, the benchmarks of 59 classes and more apart, any two differ by 15 in CIEDE2000, and
# by 7 to the red- and the green-blind.
_KNOWN = {
    'road': (128, 64, 128),
    'sidewalk': (244, 35, 232),
    'vegetation': (107, 142, 35),
    'car': (0, 0, 142),
    'building': (70, 70, 70),
    'wall': (105, 101, 160),
    'fence': (188, 150, 144),
    'pole': (147, 151, 154),
    'traffic light': (250, 167, 12),
    'traffic sign': (227, 227, 10),
    'terrain': (152, 251, 152),
    'sky': (76, 133, 185),
    'person': (202, 38, 67),
    'rider': (255, 6, 3),
    'motorcycle': (26, 4, 255),
    'bicycle': (107, 0, 16),
    'water': (54, 193, 255),
    'grass': (110, 215, 85),
    'tree': (26, 107, 39),
    'traffic cone': (244, 82, 1),
    'lane marking': (255, 255, 255),
    'background': (40, 40, 40),
    'unknown': (22, 21, 20),
    'truck': (137, 66, 0),
    'bus': (0, 179, 181),
    'train': (0, 74, 90),
    'crosswalk': (200, 128, 128),
    'obstacle': (255, 121, 78),
    'curb': (200, 190, 140),
    'floor': (156, 117, 101),
    'ceiling': (223, 221, 190),
    'carpet': (131, 39, 70),
    'door': (166, 82, 1),
    'window': (117, 202, 216),
    'curtain': (230, 130, 170),
    'stairs': (110, 102, 69),
    'chair': (248, 79, 12),
    'sofa': (143, 61, 198),
    'table': (165, 138, 88),
    'desk': (81, 43, 5),
    'bed': (190, 150, 230),
    'cabinet': (137, 53, 34),
    'shelf': (212, 178, 8),
    'computer': (0, 150, 130),
    'television': (29, 46, 79),
    'lamp': (255, 242, 106),
    'picture': (199, 14, 147),
    'box': (230, 182, 126),
    'bag': (94, 23, 117),
    'cable': (20, 20, 20),
    'refrigerator': (200, 225, 250),
    'oven': (96, 93, 105),
    'sink': (60, 130, 230),
    'toilet': (253, 247, 247),
    'dog': (243, 195, 206),
    'trail': (199, 160, 110),
    'tall grass': (204, 233, 56),
    'bush': (40, 150, 90),
    'fallen log': (105, 52, 41),
    'rock': (131, 130, 140),
    'gravel': (183, 182, 196),
    'sand': (240, 215, 140),
    'mud': (81, 49, 0),
    'soil': (182, 107, 51),
    'puddle': (0, 90, 200),
    'snow': (245, 250, 255),
    'hill': (105, 115, 80),
    'animal': (255, 151, 169),
    'aeroplane': (170, 210, 255),
    'bird': (0, 210, 160),
    'boat': (16, 111, 152),
    'bottle': (37, 233, 93),
    'cat': (255, 142, 40),
    'cow': (90, 58, 43),
    'horse': (174, 74, 12),
    'sheep': (235, 225, 205),
    'parking': (250, 170, 160),
    'guard rail': (180, 165, 180),
    'bridge': (150, 100, 100),
    'house': (150, 75, 75),
}
_SYNONYMS = {
    word: known for known, words in {
        'aeroplane': 'airplane, plane, aircraft',
        'animal': 'deer',
        'bag': 'backpack, rucksack, handbag, suitcase, luggage',
        'bicycle': 'bike, cycle',
        'boat': 'ship',
        'box': 'cardboard box, carton, crate',
        'building': 'barn, hut, skyscraper',
        'bush': 'shrub, hedge',
        'cabinet': 'cupboard, wardrobe, closet',
        'cable': 'power cord, wire, cord',
        'car': 'automobile, vehicle',
        'carpet': 'rug, mat',
        'chair': 'office chair, armchair, seat',
        'computer': 'laptop, monitor, screen',
        'crosswalk': 'zebra crossing, pedestrian crossing',
        'curb': 'kerb, curbstone, kerbstone',
        'curtain': 'blind',
        'fallen log': 'log',
        'floor': 'flooring, wooden floor, tiled floor',
        'hill': 'mountain',
        'lamp': 'light, ceiling light',
        'lane marking': 'road marking, road paint, lane line',
        'motorcycle': 'motorbike, scooter',
        'obstacle': 'barrier',
        'oven': 'stove',
        'person': 'pedestrian, human, people, man, woman, child, boy, girl, hiker',
        'picture': 'painting, poster',
        'refrigerator': 'fridge, freezer',
        'rider': 'cyclist',
        'road': 'street, asphalt',
        'rock': 'boulder, stone',
        'shelf': 'bookcase, bookshelf',
        'sidewalk': 'pavement',
        'sofa': 'couch',
        'soil': 'dirt, earth, bare earth, ground',
        'stairs': 'stair, staircase, stairway, step',
        'table': 'dining table',
        'tall grass': 'weed',
        'television': 'tv, tv monitor, television monitor',
        'traffic cone': 'cone',
        'traffic light': 'trafficlight',
        'traffic sign': 'trafficsign',
        'trail': 'path, dirt road, dirt track, track',
        'tree': 'tree trunk',
        'truck': 'lorry',
        'vegetation': 'plant, potted plant, pottedplant',
        'water': 'river, lake, sea',
    }.items() for word in words.split(', ')}
_PLURALS = {
    'people': 'person', 'men': 'man', 'women': 'woman', 'children': 'child', 'mice': 'mouse',
    'geese': 'goose', 'feet': 'foot', 'leaves': 'leaf', 'shelves': 'shelf', 'knives': 'knife',
    'wolves': 'wolf', 'calves': 'calf', 'loaves': 'loaf', 'buses': 'bus'}

# In CIEDE2000, of two classes: a colour that comes closer to one in use gives way.
LEAST_DIFFERENCE = 10.0

# First choices of words that are not known: the most that were found of which all, and what most
# streets are shown in, are LEAST_DIFFERENCE apart by `separations`.
_CHOICES = np.array([
    (0, 45, 105), (0, 105, 90), (0, 150, 120), (15, 15, 225), (30, 135, 75), (30, 210, 165),
    (45, 75, 105), (45, 90, 105), (45, 105, 195), (60, 75, 180), (75, 45, 135), (75, 120, 135),
    (75, 255, 210), (90, 150, 150), (105, 15, 45), (105, 15, 75), (105, 60, 45), (105, 60, 225),
    (105, 225, 210), (120, 180, 165), (120, 180, 225), (135, 30, 0), (135, 75, 90),
    (135, 105, 0), (135, 150, 195), (150, 120, 90), (150, 240, 165), (165, 15, 75),
    (165, 60, 45), (165, 105, 165), (165, 105, 255), (165, 180, 105), (180, 90, 105),
    (180, 150, 120), (180, 210, 255), (180, 240, 255), (195, 60, 135), (195, 120, 150),
    (195, 255, 240), (210, 165, 255), (210, 255, 90), (225, 120, 255), (225, 150, 195),
    (240, 45, 120), (240, 120, 75), (240, 135, 0), (240, 180, 195), (255, 0, 75),
    (255, 105, 210), (255, 165, 135), (255, 195, 120), (255, 210, 195), (255, 255, 165)
], np.uint8)
# Colours for when all of these are in use; black is what Hydra paints where there is none.
_LEVELS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
_GRID = np.array(list(product(_LEVELS, repeat=3)), np.uint8)[1:]


def color_of(name: str) -> tuple[int, int, int]:
    """
    Return the (red, green, blue) of a class name, each 0..255.

    It is the same in every process and on every machine, whatever the case, and for the plural
    and some synonyms too. `palette` moves it where another class of the vocabulary has its like.
    """
    red, green, blue = _palette((name,))[0]
    return red, green, blue


def palette(names: Sequence[str]) -> np.ndarray:
    """
    Return the colours of a vocabulary's names: (C, 3) uint8 RGB.

    A name has the colour of `color_of`, unless a class before it (those that are known by hand
    come first) has one that is hard to tell from it. Then it has the first of its other choices
    that is not, so that names added at the end change none. Where all are, as with a hundred
    classes and more, it has the one that is farthest from those in use.
    """
    return np.array(_palette(tuple(names)), np.uint8).reshape(-1, 3)


@lru_cache(maxsize=64)
def _palette(names: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    keys = [_key(name) for name in names]
    colors: dict[int, tuple[int, int, int]] = {}
    used = np.empty((0, 3), np.uint8)
    for index, key in enumerate(keys):
        color = _KNOWN.get(key)
        if color and not _resembles(color, used):
            colors[index] = color
            used = np.concatenate([used, np.array([color], np.uint8)])
    if len(colors) < len(keys):
        room = _Room(used)
        for index, key in enumerate(keys):
            if index not in colors:
                colors[index] = room.take(key)
    return tuple(colors[index] for index in range(len(names)))


class _Room:
    """What is left beside colours in use, (N, 3) uint8."""

    def __init__(self, used: np.ndarray) -> None:
        self._used = used
        self._choices = _least(separations(_CHOICES, used))
        # How far every colour of the grid is from those in use: once there is no choice left.
        self._grid: tuple[np.ndarray, np.ndarray] | None = None

    def take(self, key: str) -> tuple[int, int, int]:
        """Return the colour of a word, which is in use from now on."""
        free = np.flatnonzero(self._choices >= LEAST_DIFFERENCE).tolist()
        # Each word has an order of its own (rendezvous hashing), so that it has the same choice
        # whatever others take.
        color = (_CHOICES[min(free, key=lambda index: _rank(key, index))] if free
                 else self._farthest())
        self._use(color[np.newaxis])
        red, green, blue = color.tolist()
        return red, green, blue

    def _use(self, color: np.ndarray) -> None:
        self._used = np.concatenate([self._used, color])
        self._choices = np.minimum(self._choices, _least(separations(_CHOICES, color)))
        if self._grid:
            by_all, by_most = self._grid
            self._grid = (np.minimum(by_all, _least(separations(_GRID, color))),
                          np.minimum(by_most, _least(distances(_GRID, color))))

    def _farthest(self) -> np.ndarray:
        """Return the colour that is farthest for all, or for most where no such is far enough."""
        self._grid = self._grid or (_least(separations(_GRID, self._used)),
                                    _least(distances(_GRID, self._used)))
        by_all, by_most = self._grid
        return _GRID[(by_all if by_all.max() >= LEAST_DIFFERENCE else by_most).argmax()]


def _least(differences: np.ndarray) -> np.ndarray:
    """Return the least of each row of (N, M), infinity where there is nothing to differ from."""
    return differences.min(axis=1, initial=np.inf)


def _resembles(color: tuple[int, int, int], others: np.ndarray) -> bool:
    near = _least(distances(np.array([color], np.uint8), others))
    return bool(near[0] < LEAST_DIFFERENCE)


@lru_cache(maxsize=2**16)
def _rank(key: str, index: int) -> bytes:
    return hashlib.sha256(f'{index}:{key}'.encode('utf-8', 'surrogatepass')).digest()


def _key(name: str) -> str:
    """Return what names of one colour have in common."""
    key = ' '.join(name.casefold().replace('_', ' ').replace('-', ' ').split())
    for form in (key, _singular(key)):
        form = _SYNONYMS.get(form, form)
        if form in _KNOWN:
            return form
    return _singular(key)


def _singular(key: str) -> str:
    """Return a phrase with its last word in the singular, by the rules of English."""
    start, space, word = key.rpartition(' ')
    if word in _PLURALS:
        word = _PLURALS[word]
    elif len(word) > 3 and word.endswith('s') and not word.endswith(('ss', 'us', 'is')):
        if word.endswith('ies'):
            word = f'{word[:-3]}y'
        elif word.endswith(('ches', 'shes', 'sses', 'xes', 'zzes')):
            word = word[:-2]
        else:
            word = word[:-1]
    return f'{start}{space}{word}'
