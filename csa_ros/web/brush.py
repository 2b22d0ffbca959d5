"""From the strokes of a brush to the polygon that a node is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from csa_ros.parameters.teaching import MAX_CORNERS
from csa_ros.web.checks import ActionError
from csa_ros.web.checks import is_number
from csa_ros.web.encoding import LONG_SIDE
import cv2
import numpy as np

# Of all strokes together: what a message holds, and a hand paints.
MOST_POINTS = 4000
# A side of a picture: no camera has more.
LARGEST = 2**16
# Of the outline, in pixels: where the brush was is known no better.
_TOLERANCE = 0.5


@dataclass(frozen=True, eq=False)
class Stroke:
    """One stroke of a round brush: its radius and places (N, 2), x and y, in pixels."""

    radius: float
    points: np.ndarray


def read_strokes(given: Any, size: Any) -> tuple[list[Stroke], tuple[int, int]]:
    """
    Return the strokes and the size (W, H) of the picture that a browser sends.

    `given` is to be a list of {"radius": r, "points": [x1, y1, x2, y2, ...]}, in the picture, and
    `size` [W, H]. Raises ActionError.
    """
    if not (isinstance(size, list) and len(size) == 2
            and all(type(side) is int and 0 < side <= LARGEST for side in size)):
        raise ActionError(f'size is {size!r:.60}: give width and height of the picture, two whole '
                          f'numbers from 1 to {LARGEST}')
    if not isinstance(given, list) or not given:
        raise ActionError(f'strokes is {given!r:.60}: give a list of strokes, one or more')
    strokes = [_read_stroke(each, size) for each in given]
    points = sum(len(stroke.points) for stroke in strokes)
    if points > MOST_POINTS:
        raise ActionError(f'strokes have {points} points, more than {MOST_POINTS}: use a larger '
                          'brush')
    return strokes, (size[0], size[1])


def _read_stroke(given: Any, size: Sequence[int]) -> Stroke:
    stroke = given if isinstance(given, dict) else {}
    radius, points = stroke.get('radius'), stroke.get('points')
    if not (is_number(radius) and isinstance(points, list) and points and len(points) % 2 == 0
            and all(map(is_number, points))):
        raise ActionError(f'a stroke is {given!r:.60}: give radius, a number, and points, x and y '
                          'of each in turn')
    if not 0 < radius <= max(size) / 2:
        raise ActionError(f'a radius is {radius:g}: it must be above 0, and at most half of the '
                          f'longer side of the picture, {max(size) / 2:g}')
    places = np.array(points, np.float64).reshape(-1, 2)
    if (places < 0).any() or (places > size).any():
        raise ActionError(f'a stroke leaves the picture of {size[0]} x {size[1]} pixels')
    return Stroke(radius, places)


def outline(strokes: Sequence[Stroke], size: Sequence[int]) -> list[float]:
    """
    Return the corners x1, y1, x2, y2, ... of what strokes cover of a picture of a size (W, H).

    What they enclose is covered, too. There are at most MAX_CORNERS, all in the picture. Raises
    ActionError unless it is all in one piece.
    """
    # As large as browsers see it.
    scale = min(LONG_SIDE / max(size), 1.0)
    width, height = (max(round(scale * side), 1) for side in size)
    painted = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        # From edges of pixels to their centres, the outermost of which are in the picture.
        points = np.rint(stroke.points * scale - 0.5).clip(0, (width - 1, height - 1))
        points = points.astype(np.int32)
        radius = max(round(scale * stroke.radius), 1)
        cv2.circle(painted, points[0].tolist(), radius, 1, cv2.FILLED)
        cv2.polylines(painted, [points], False, 1, 2 * radius)
    # Holes have contours of their own, which are not asked for.
    contours, _ = cv2.findContours(painted, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) != 1:
        raise ActionError(
            f'what was painted is in {len(contours)} pieces: join them, or teach one after the '
            'other')
    tolerance = _TOLERANCE
    while len(corners := cv2.approxPolyDP(contours[0], tolerance, True)) > MAX_CORNERS:
        tolerance *= 2
    if len(corners) < 3:
        raise ActionError('what was painted is too small: use a larger brush')
    places = (corners[:, 0] + 0.5) / scale - 0.5
    return np.clip(places, 0, np.subtract(size, 1)).ravel().tolist()
