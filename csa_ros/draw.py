"""The coloured overlay, and the colour key drawn on it."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

from csa_ros.drawing.colors import color_of
from csa_ros.drawing.colors import palette
from csa_ros.drawing.lettering import pitch
from csa_ros.drawing.lettering import spell
from csa_ros.drawing.lettering import text_mask
import cv2
import numpy as np

__all__ = ['color_of', 'draw_key', 'overlay', 'palette']

_MIN_CAP_HEIGHT = 7
_MIN_KEY_WIDTH = 12
_MAX_KEY_WIDTH = 0.5
_TEXT_COLOR = 240
_BORDER_COLOR = (110, 110, 110)
_PANEL_COLOR = 18
_PANEL_OPACITY = 0.7
_UNKNOWN = 255
# The swatch of what has no colour.
_UNFILLED = (-1, -1, -1)


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
             labels: np.ndarray | None = None, unknown: bool = False) -> None:
    """
    Draw a colour key in the upper left corner of a picture.

    rgb is (H, W, 3) uint8 and is drawn on; names has C entries and colors is (C, 3) uint8 RGB.
    With labels, (H, W) uint8, only the classes in it are listed, largest area first, in steps of a
    factor of two so that a video's key holds still. The text is sized by the picture and shrinks
    and wraps into columns before '+N more' stands for the rest; a picture too small for one row
    stays as it is. With `unknown`, 255 is listed like a class, with an empty swatch, as such
    pixels have no colour. Names are drawn as `csa_ros.drawing.lettering.spell` has them.
    """
    ids = [*range(len(names)), *([_UNKNOWN] if unknown else [])]
    if labels is not None:
        ids = _by_area(ids, labels)
    rows = tuple(_row(i, names, colors) for i in ids)
    panel = _panel(rows, *rgb.shape[:2]) if rows else None
    if panel is not None:
        margin, image, opacity = panel
        height, width = opacity.shape
        area = rgb[margin:margin + height, margin:margin + width]
        area[:] = cv2.blendLinear(np.ascontiguousarray(area), image, 1 - opacity, opacity)


def _by_area(ids: Sequence[int], labels: np.ndarray) -> list[int]:
    """Return those of the ids that are in labels, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=256).tolist()
    return sorted((i for i in ids if counts[i]), key=lambda i: -counts[i].bit_length())


def _row(class_id: int, names: Sequence[str], colors: np.ndarray
         ) -> tuple[str, tuple[int, ...]]:
    """Return the text and the colour of a class in the key."""
    if class_id == _UNKNOWN:
        return 'unknown', _UNFILLED
    return spell(names[class_id], class_id), tuple(int(value) for value in colors[class_id])


@lru_cache(maxsize=16)
def _panel(rows: tuple, height: int, width: int) -> tuple | None:
    """Return the key's margin, its (h, w, 3) uint8 picture and its (h, w) opacity, or None."""
    margin = min(height, width) // 60
    layout = _fit(rows, height - 2 * margin, width - 2 * margin)
    if layout is None:
        return None
    cap, columns = layout
    left = pad = cap
    size = (2 * (pad // 2) + pitch(cap) * len(columns[0]),
            pad + sum(_column_width(column, cap) + pad for column in columns))
    image = np.full((*size, 3), _PANEL_COLOR, np.uint8)
    opacity = np.full(size, _PANEL_OPACITY, np.float32)
    for column in columns:
        for i, (text, color) in enumerate(column):
            _draw_row(image, opacity, left, pad // 2 + i * pitch(cap), cap, text, color)
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
    capacity = (height - 2 * (cap // 2)) // pitch(cap)
    if capacity < 1 or not all(text for text, _ in rows):
        return None
    length = -(-len(rows) // -(-len(rows) // capacity))
    columns = [rows[i:i + length] for i in range(0, len(rows), length)]
    used = cap + sum(_column_width(column, cap) + cap for column in columns)
    return columns if used <= available else None


def _swatch(cap: int) -> tuple[int, int]:
    """Return the width of a swatch and its distance from the text."""
    return round(1.5 * cap), round(0.7 * cap)


def _row_width(text: str, cap: int) -> int:
    return sum(_swatch(cap)) + text_mask(text, cap).shape[1]


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
        middle = top + (pitch(cap) - cap) // 2
        box = (slice(middle - 1, middle + cap + 1), slice(left, left + swatch))
        filled = color != _UNFILLED
        if filled:
            image[box] = color
        opacity[box] = filled
        corners = (left, middle - 1), (left + swatch - 1, middle + cap)
        cv2.rectangle(image, *corners, _BORDER_COLOR)
        cv2.rectangle(opacity, *corners, 1)
    mask = text_mask(text, cap)
    box = (slice(top, top + mask.shape[0]),
           slice(left + swatch + gap, left + swatch + gap + mask.shape[1]))
    image[box] = np.maximum(image[box], _TEXT_COLOR * mask[..., None])
    opacity[box] = np.maximum(opacity[box], mask)
