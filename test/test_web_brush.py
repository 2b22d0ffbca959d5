"""What is painted on the page, as the polygon that a node is shown."""

from csa_ros.parameters.teaching import MAX_CORNERS
from csa_ros.teaching.region import mask_of
from csa_ros.web.brush import LARGEST
from csa_ros.web.brush import MOST_POINTS
from csa_ros.web.brush import outline
from csa_ros.web.brush import read_strokes
from csa_ros.web.checks import ActionError
from csa_ros.web.encoding import LONG_SIDE
import numpy as np
import pytest

SIZE = (320, 240)


def stroke(*points, radius=12.0):
    return {'radius': radius, 'points': [float(side) for point in points for side in point]}


def painted(*strokes, size=SIZE):
    """Return the mask of what is painted, by way of the polygon."""
    corners = outline(*read_strokes(list(strokes), list(size)))
    assert 6 <= len(corners) <= 2 * MAX_CORNERS and all(type(side) is float for side in corners)
    places = np.reshape(corners, (-1, 2))
    assert (places >= 0).all() and (places <= np.subtract(size, 1)).all()
    return mask_of(places, size[::-1]).astype(bool)


def near(points, radius, size=SIZE):
    """Return which pixels have their centre so near to one of some points."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return np.min([np.hypot(x - left, y - top) for left, top in points], 0) <= radius


def agree(mask, low, high):
    """Return whether a mask holds all of one and lies within another."""
    return mask[low].all() and high[mask].all()


@pytest.mark.parametrize('radius', [1.0, 3.5, 12.0, 40.0])
def test_a_dot_is_round_and_where_it_was_painted(radius):
    mask = painted(stroke((100, 80), radius=radius))
    assert agree(mask, near([(100, 80)], radius - 1.5), near([(100, 80)], radius + 2))


def test_strokes_are_all_that_the_brush_passed():
    way = np.linspace((60, 60), (200, 150), 60)
    mask = painted(stroke((60, 60), (130, 105)), stroke((130, 105), (200, 150)))
    assert agree(mask, near(way, 10.5), near(way, 14))


def test_what_a_stroke_goes_around_is_painted():
    angles = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([160 + 60 * np.cos(angles), 120 + 60 * np.sin(angles)], 1)
    mask = painted(stroke(*ring, radius=5))
    assert agree(mask, near([(160, 120)], 63), near([(160, 120)], 67))


@pytest.mark.parametrize('points', [[(0, 0)], [(320, 240)], [(0, 240), (320, 0)]])
def test_what_is_painted_over_the_edge_ends_at_it(points):
    assert painted(stroke(*points)).any()


def test_large_pictures_are_painted_as_they_are_seen():
    size = (3 * LONG_SIDE, 2 * LONG_SIDE)
    mask = painted(stroke((1200, 900), radius=150), size=size)
    assert agree(mask, near([(1200, 900)], 144, size), near([(1200, 900)], 156, size))


def test_a_ragged_outline_has_a_bounded_number_of_corners():
    size = (1280, 960)
    random = np.random.default_rng(3)
    comb = [stroke((2 + 4 * i, 500), (2 + 4 * i, random.integers(50, 400)), radius=1)
            for i in range(300)]
    mask = painted(stroke((0, 500), (1279, 500)), *comb, size=size)
    assert mask[500].all() and not mask[20].any()


@pytest.mark.parametrize('strokes, reason', [
    ([stroke((50, 50)), stroke((200, 50))], 'in 2 pieces: join them, or teach one after the'),
    ([stroke((10 + 30 * i, 50), radius=5) for i in range(9)], 'in 9 pieces')])
def test_what_is_in_several_pieces_is_refused(strokes, reason):
    with pytest.raises(ActionError, match=reason):
        painted(*strokes)


def test_what_has_no_corners_is_refused():
    with pytest.raises(ActionError, match='too small'):
        painted(stroke((0, 0), radius=0.1), size=(1, 1))


@pytest.mark.parametrize('strokes, size, reason', [
    ('all', [320, 240], "strokes is 'all'"), ([], [320, 240], 'one or more'),
    ([3], [320, 240], 'a stroke is 3'), ([{}], [320, 240], 'a stroke is'),
    ([stroke()], [320, 240], 'a stroke is'),
    ([{'radius': 3, 'points': [1, 2, 3]}], [320, 240], 'x and y of each in turn'),
    ([{'radius': 3, 'points': [1, True]}], [320, 240], 'x and y of each in turn'),
    ([{'radius': 3, 'points': [1, 10**400]}], [320, 240], 'x and y of each in turn'),
    ([{'radius': '3', 'points': [1, 2]}], [320, 240], 'radius, a number'),
    ([stroke((1, 2), radius=float('nan'))], [320, 240], 'radius, a number'),
    ([stroke((1, 2), radius=0)], [320, 240], 'at most half of the longer side'),
    ([stroke((1, 2), radius=161)], [320, 240], 'a radius is 161'),
    ([stroke((1, -2))], [320, 240], 'leaves the picture of 320 x 240'),
    ([stroke((321, 2))], [320, 240], 'leaves the picture'),
    ([stroke(*[(1, 2)] * MOST_POINTS), stroke((1, 2))], [320, 240], 'use a larger brush'),
    ([stroke((1, 2))], None, 'size is None'), ([stroke((1, 2))], [320], 'width and height'),
    ([stroke((1, 2))], [320, 240.0], 'whole numbers'), ([stroke((1, 2))], [0, 240], 'from 1'),
    ([stroke((1, 2))], [LARGEST + 1, 240], str(LARGEST))])
def test_what_is_no_stroke_is_refused_with_the_reason(strokes, size, reason):
    with pytest.raises(ActionError, match=reason):
        read_strokes(strokes, size)
