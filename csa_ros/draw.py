"""Class colours, the coloured overlay, and the colour key drawn on it."""

from bisect import bisect_left
from collections.abc import Sequence
import colorsys
from functools import lru_cache
import hashlib
import unicodedata

import cv2
import numpy as np

# Colours of the Cityscapes labels (https://www.cityscapes-dataset.com), save that its bus and
# truck, near-black blues beside its car, are set apart, and that words it lumps together
# (tree, grass, house, ...) have colours of their own.
_KNOWN = {
    'road': (128, 64, 128),
    'sidewalk': (244, 35, 232),
    'parking': (250, 170, 160),
    'building': (70, 70, 70),
    'wall': (102, 102, 156),
    'fence': (190, 153, 153),
    'guard rail': (180, 165, 180),
    'bridge': (150, 100, 100),
    'pole': (153, 153, 153),
    'traffic light': (250, 170, 30),
    'traffic sign': (220, 220, 0),
    'vegetation': (107, 142, 35),
    'terrain': (152, 251, 152),
    'sky': (70, 130, 180),
    'person': (220, 20, 60),
    'rider': (255, 0, 0),
    'car': (0, 0, 142),
    'truck': (150, 90, 40),
    'bus': (0, 175, 175),
    'train': (0, 80, 100),
    'motorcycle': (0, 0, 230),
    'bicycle': (119, 11, 32),
    'house': (150, 75, 75),
    'tree': (20, 105, 35),
    'grass': (120, 215, 70),
    'traffic cone': (255, 95, 0),
    'lane marking': (255, 255, 255),
    'crosswalk': (200, 128, 128),
    'water': (40, 190, 255),
    'background': (40, 40, 40),
}
_SYNONYMS = {
    'street': 'road',
    'pavement': 'sidewalk',
    'plant': 'vegetation',
    'automobile': 'car',
    'lorry': 'truck',
    'pedestrian': 'person',
    'human': 'person',
    'bike': 'bicycle',
    'motorbike': 'motorcycle',
    'trafficlight': 'traffic light',
    'trafficsign': 'traffic sign',
    'cone': 'traffic cone',
}

# Of the first 400, a number whose colours tell the shipped vocabularies' classes apart well.
_SALT = 51

_SUPERSAMPLING = 4
_CAP_HEIGHT_OF_FONT = 22
_MIN_CAP_HEIGHT = 7
_MIN_KEY_WIDTH = 12
_MAX_KEY_WIDTH = 0.5
_TEXT_COLOR = 240
_BORDER_COLOR = (110, 110, 110)
_PANEL_COLOR = 18
_PANEL_OPACITY = 0.7
_LATIN = str.maketrans({
    'ß': 'ss', 'æ': 'ae', 'Æ': 'AE', 'œ': 'oe', 'Œ': 'OE', 'ø': 'o', 'Ø': 'O', 'ł': 'l', 'Ł': 'L',
    'đ': 'd', 'Đ': 'D', 'ð': 'd', 'þ': 'th', 'ı': 'i', '’': "'", '–': '-'})


def color_of(name: str) -> tuple[int, int, int]:
    """
    Return the (red, green, blue) of a class name, each 0..255.

    A pure function of the name, whatever its case: the same in every vocabulary, process and
    machine. Street words have the Cityscapes colours, all others one drawn from a hash.
    """
    key = ' '.join(name.casefold().replace('_', ' ').replace('-', ' ').split())
    key = _SYNONYMS.get(key, key)
    return _KNOWN.get(key) or _hashed_color(key)


def palette(names: Sequence[str]) -> np.ndarray:
    """Return the colours of the names: (C, 3) uint8 RGB."""
    return np.array([color_of(name) for name in names], np.uint8).reshape(-1, 3)


def overlay(rgb: np.ndarray, labels: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """
    Blend class colours into a picture.

    rgb is (H, W, 3) uint8; labels (H, W) uint8; colors (C, 3) uint8 RGB with C at most 255; alpha
    0..1, where 0 gives the input and 1 the plain colours. Pixels whose label has no colour, 255
    (unknown) among them, keep the input. Returns a new (H, W, 3) uint8 array. Raises ValueError.
    """
    if labels.shape != rgb.shape[:2]:
        raise ValueError(f'labels are {labels.shape} but the picture is {rgb.shape[:2]}; '
                         'they must have the same height and width')
    if not 0 <= alpha <= 1:
        raise ValueError(f'alpha is {alpha}; give a number from 0 to 1')
    table = np.zeros((256, 1, 3), np.uint8)
    table[:len(colors), 0] = colors
    painted = cv2.applyColorMap(labels, table)
    blended = cv2.addWeighted(rgb, 1 - alpha, painted, alpha, 0)
    colorless = labels >= len(colors)
    return cv2.copyTo(rgb, colorless.view(np.uint8), blended)


def draw_key(rgb: np.ndarray, names: Sequence[str], colors: np.ndarray,
             labels: np.ndarray | None = None) -> None:
    """
    Draw a colour key in the upper left corner of a picture.

    rgb is (H, W, 3) uint8 and is drawn on; names has C entries and colors is (C, 3) uint8 RGB.
    With labels, (H, W) uint8, only the classes in it are listed, largest area first, in steps of a
    factor of two so that a video's key holds still. The text is sized by the picture and shrinks
    and wraps into columns before '+N more' stands for the rest; a picture too small for one row
    stays as it is. OpenCV draws ASCII alone: accents are dropped, and a name in another script is
    shown as #id.
    """
    ids = range(len(names)) if labels is None else _ids_by_area(labels, len(names))
    rows = tuple((_ascii(names[i], i), tuple(int(value) for value in colors[i])) for i in ids)
    panel = _panel(rows, *rgb.shape[:2]) if rows else None
    if panel is not None:
        margin, image, opacity = panel
        height, width = opacity.shape
        area = rgb[margin:margin + height, margin:margin + width]
        area[:] = cv2.blendLinear(np.ascontiguousarray(area), image, 1 - opacity, opacity)


def _hashed_color(key: str) -> tuple[int, int, int]:
    """Return a colour that is neither dark nor pale; colorsys is exact on every machine."""
    digest = hashlib.sha256(f'{_SALT}:{key}'.encode('utf-8', 'surrogatepass')).digest()
    hue, saturation, value = (int.from_bytes(digest[i:i + 4], 'big') / 2**32 for i in (0, 4, 8))
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.45 + 0.55 * saturation, 0.5 + 0.5 * value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _ids_by_area(labels: np.ndarray, num_classes: int) -> list[int]:
    counts = np.bincount(labels.ravel(), minlength=256)[:num_classes]
    return sorted(np.flatnonzero(counts).tolist(), key=lambda i: -int(counts[i]).bit_length())


def _ascii(name: str, class_id: int) -> str:
    """Return the name in the characters that OpenCV's fonts have."""
    letters = unicodedata.normalize('NFKD', name.translate(_LATIN))
    text = ''.join(letter for letter in letters if not unicodedata.combining(letter))
    drawable = text.isascii() and text.isprintable() and text.strip()
    return text if drawable else f'#{class_id}'


@lru_cache(maxsize=16)
def _panel(rows: tuple, height: int, width: int) -> tuple | None:
    """Return the key's margin, its (h, w, 3) uint8 picture and its (h, w) opacity, or None."""
    margin = min(height, width) // 60
    layout = _fit(rows, height - 2 * margin, width - 2 * margin)
    if layout is None:
        return None
    cap, columns = layout
    left = pad = cap
    size = (2 * (pad // 2) + _pitch(cap) * len(columns[0]),
            pad + sum(_column_width(column, cap) + pad for column in columns))
    image = np.full((*size, 3), _PANEL_COLOR, np.uint8)
    opacity = np.full(size, _PANEL_OPACITY, np.float32)
    for column in columns:
        for i, (text, color) in enumerate(column):
            _draw_row(image, opacity, left, pad // 2 + i * _pitch(cap), cap, text, color)
        left += _column_width(column, cap) + pad
    return margin, image, opacity


def _fit(rows: tuple, height: int, width: int) -> tuple[int, list[tuple]] | None:
    """Return the cap height and the rows of each column: all rows, or as many as fit."""
    preferred = max(_MIN_CAP_HEIGHT, round(min(height, width) / 55))
    for cap in range(preferred, _MIN_CAP_HEIGHT - 1, -1):
        columns = _wrap(rows, cap, height, width)
        if columns:
            return cap, columns

    def wrap_first(shown: int) -> list[tuple] | None:
        more = (f'+{len(rows) - shown} more', None)
        return _wrap((*rows[:shown], more), _MIN_CAP_HEIGHT, height, width)

    too_many = bisect_left(range(len(rows)), True, key=lambda shown: wrap_first(shown) is None)
    columns = wrap_first(too_many - 1) if too_many else None
    return (_MIN_CAP_HEIGHT, columns) if columns else None


def _wrap(rows: tuple, cap: int, height: int, width: int) -> list[tuple] | None:
    """Split rows into columns of about equal length, or return None where they do not fit."""
    available = max(round(_MAX_KEY_WIDTH * width), min(width, _MIN_KEY_WIDTH * cap))
    rows = tuple((_shorten(text, cap, available - 2 * cap), color) for text, color in rows)
    capacity = (height - 2 * (cap // 2)) // _pitch(cap)
    if capacity < 1 or not all(text for text, _ in rows):
        return None
    length = -(-len(rows) // -(-len(rows) // capacity))
    columns = [rows[i:i + length] for i in range(0, len(rows), length)]
    used = cap + sum(_column_width(column, cap) + cap for column in columns)
    return columns if used <= available else None


def _pitch(cap: int) -> int:
    """Return the distance between two rows for a cap height, both in pixels."""
    return round(1.75 * cap)


def _swatch(cap: int) -> tuple[int, int]:
    """Return the width of a swatch and its distance from the text."""
    return round(1.5 * cap), round(0.7 * cap)


def _row_width(text: str, cap: int) -> int:
    return sum(_swatch(cap)) + _text_mask(text, cap).shape[1]


def _column_width(column: tuple, cap: int) -> int:
    return max(_row_width(text, cap) for text, _ in column)


@lru_cache(maxsize=2048)
def _shorten(text: str, cap: int, width: int) -> str:
    """Cut a text to a row of a width in pixels; empty where not even one letter fits."""
    if _row_width(text, cap) <= width:
        return text
    end = len(text) - 1
    while end > 0:
        shorter = text[:end].rstrip() + '...'
        excess = _row_width(shorter, cap) - width
        if excess <= 0:
            return shorter
        end -= max(1, excess // (2 * cap))
    return ''


def _draw_row(image: np.ndarray, opacity: np.ndarray, left: int, top: int, cap: int, text: str,
              color: tuple[int, int, int] | None) -> None:
    """Draw one swatch, if there is a colour, and its text into a panel."""
    swatch, gap = _swatch(cap)
    if color is not None:
        middle = top + (_pitch(cap) - cap) // 2
        box = (slice(middle - 1, middle + cap + 1), slice(left, left + swatch))
        image[box] = color
        cv2.rectangle(image, (left, middle - 1), (left + swatch - 1, middle + cap), _BORDER_COLOR)
        opacity[box] = 1
    mask = _text_mask(text, cap)
    box = (slice(top, top + mask.shape[0]),
           slice(left + swatch + gap, left + swatch + gap + mask.shape[1]))
    image[box] = np.maximum(image[box], _TEXT_COLOR * mask[..., None])
    opacity[box] = np.maximum(opacity[box], mask)


@lru_cache(maxsize=2048)
def _text_mask(text: str, cap: int) -> np.ndarray:
    """Return the coverage, (pitch, w) float32 of 0..1, of a text whose capitals are `cap` high."""
    large = _SUPERSAMPLING * cap
    baseline = _SUPERSAMPLING * ((_pitch(cap) - cap) // 2 + cap)
    canvas = np.zeros((_SUPERSAMPLING * _pitch(cap), (len(text) + 2) * 2 * large), np.uint8)
    cv2.putText(canvas, text, (large // 2, baseline), cv2.FONT_HERSHEY_SIMPLEX,
                large / _CAP_HEIGHT_OF_FONT, 255, max(1, large // 10), cv2.LINE_AA)
    inked = np.flatnonzero(canvas.any(axis=0))
    width = -(-(inked[-1] + 1 - inked[0]) // _SUPERSAMPLING)
    canvas = canvas[:, inked[0]:inked[0] + width * _SUPERSAMPLING]
    return cv2.resize(canvas, (width, _pitch(cap)), interpolation=cv2.INTER_AREA) / np.float32(255)
