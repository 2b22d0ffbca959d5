"""Overlay and colour key."""

from csa_ros import draw
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

RNG = np.random.default_rng(0)
NAMES = ('sky', 'road', 'car', 'traffic light')
COLORS = draw.palette(NAMES)


def with_key(rgb, *arguments):
    picture = rgb.copy()
    draw.draw_key(picture, *arguments)
    return picture


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def has_color(image, name):
    return bool((image == draw.color_of(name)).all(axis=2).any())


def changed_box(before, after):
    """Return the rows and columns of the smallest box that holds every changed pixel."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return (rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1)


@pytest.mark.parametrize('size', [(480, 640), (1, 1), (7, 3)])
def test_overlay_blends_and_leaves_unknown(size):
    rgb = picture(*size)
    labels = RNG.choice(np.array([0, 1, 2, 3, 255], np.uint8), size)
    expected = rgb.astype(float)
    known = labels != 255
    expected[known] = 0.7 * expected[known] + 0.3 * COLORS[labels[known]]
    blended = draw.overlay(rgb, labels, COLORS, 0.3)
    assert blended.dtype == np.uint8
    assert np.abs(blended - expected).max() <= 0.51
    assert np.array_equal(blended[~known], rgb[~known])


def test_overlay_is_exact_at_both_ends_and_never_touches_its_input():
    rgb = picture(48, 64)
    labels = RNG.integers(0, 4, (48, 64), np.uint8)
    before = rgb.copy()
    clear = draw.overlay(rgb, labels, COLORS, 0.0)
    assert np.array_equal(clear, before)
    assert np.array_equal(draw.overlay(rgb, labels, COLORS, 1.0), COLORS[labels])
    clear[:] = 0
    assert np.array_equal(rgb, before)


def test_overlay_takes_255_classes_and_views():
    rgb = picture(16, 32)
    labels = np.arange(512).reshape(16, 32).astype(np.uint8)
    colors = draw.palette([f'thing {i}' for i in range(255)])
    painted = draw.overlay(rgb[:, :, ::-1], labels, colors, 1)
    assert np.array_equal(painted[labels < 255], colors[labels[labels < 255]])
    assert np.array_equal(painted[labels == 255], rgb[:, :, ::-1][labels == 255])


def test_overlay_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match='same height and width'):
        draw.overlay(picture(4, 4), np.zeros((4, 5), np.uint8), COLORS, 0.5)
    with pytest.raises(ValueError, match='alpha is 1.5'):
        draw.overlay(picture(4, 4), np.zeros((4, 4), np.uint8), COLORS, 1.5)


@pytest.mark.parametrize('size', [(240, 320), (480, 640), (720, 1280)])
def test_key_shows_every_color_and_text_in_the_upper_left(size):
    rgb = np.full((*size, 3), 128, np.uint8)
    before = rgb.copy()
    keyed = with_key(rgb, NAMES, COLORS)
    assert np.array_equal(rgb, before)
    assert all(has_color(keyed, name) for name in NAMES)
    assert keyed.max() >= 240, 'there is no text'
    (_, bottom), (_, right) = changed_box(rgb, keyed)
    assert bottom < 0.5 * size[0]
    assert right <= 0.5 * size[1]


def test_key_lists_only_classes_that_are_there():
    labels = np.full((240, 320), 2, np.uint8)
    labels[0, 0] = 1
    labels[1] = 255
    keyed = with_key(np.zeros((240, 320, 3), np.uint8), NAMES, COLORS, labels)
    assert [has_color(keyed, name) for name in NAMES] == [False, True, True, False]
    nothing = np.full((240, 320), 255, np.uint8)
    rgb = picture(240, 320)
    assert np.array_equal(with_key(rgb, NAMES, COLORS, nothing), rgb)


def test_key_lists_the_largest_area_first_and_holds_still():
    def top_of(keyed, name):
        return np.nonzero((keyed == draw.color_of(name)).all(axis=2))[0].min()

    rgb = np.zeros((240, 320, 3), np.uint8)
    labels = np.zeros((240, 320), np.uint8)
    labels[:200] = 3
    keyed = with_key(rgb, NAMES, COLORS, labels)
    assert top_of(keyed, 'traffic light') < top_of(keyed, 'sky')
    wiggles = []
    for boundary in (150, 151, 152):
        labels = np.zeros((240, 320), np.uint8)
        labels[:boundary] = 3
        wiggles.append(with_key(rgb, NAMES, COLORS, labels))
    assert np.array_equal(wiggles[0], wiggles[1])
    assert np.array_equal(wiggles[1], wiggles[2])


def test_key_follows_a_change_of_colors():
    rgb = np.zeros((240, 320, 3), np.uint8)
    with_key(rgb, NAMES, COLORS)
    keyed = with_key(rgb, NAMES, COLORS[::-1])
    assert (keyed == COLORS[3]).all(axis=2).any()
    assert not np.array_equal(keyed, with_key(rgb, NAMES, COLORS))


def test_key_that_does_not_fit_says_how_many_more():
    names = [f'thing {i}' for i in range(255)]
    colors = draw.palette(names)
    keyed = with_key(np.full((240, 320, 3), (1, 2, 3), np.uint8), names, colors)
    rows = tuple((name, tuple(color)) for name, color in zip(names, colors.tolist()))
    _, columns = draw._fit(rows, 232, 312)
    *shown, last = sum(columns, ())
    assert shown == list(rows[:len(shown)])
    assert 10 < len(shown) < 255
    assert last == (f'+{255 - len(shown)} more', None)
    assert all((keyed == color).all(axis=2).any() for _, color in shown)


def test_key_lists_what_is_unknown_where_it_can_be():
    rgb = picture(240, 320)
    labels = np.full((240, 320), 2, np.uint8)
    without = with_key(rgb, NAMES, COLORS, labels)
    assert np.array_equal(with_key(rgb, NAMES, COLORS, labels, True), without)
    labels[:20] = 255
    assert np.array_equal(with_key(rgb, NAMES, COLORS, labels), without)
    keyed = with_key(rgb, NAMES, COLORS, labels, True)
    rows = (draw._row(2, NAMES, COLORS), draw._row(255, NAMES, COLORS))
    assert rows[1][0] == 'unknown'
    margin, image, opacity = draw._panel(rows, 240, 320)
    height, width = opacity.shape
    seen = keyed[margin:margin + height, margin:margin + width]
    # The picture shows in the swatch, as it does where the class is unknown.
    clear = opacity == 0
    assert clear.sum() > 20
    assert np.array_equal(seen[clear], rgb[margin:, margin:][:height, :width][clear])


@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 80), st.integers(1, 100))
def test_key_never_fails_or_leaves_the_picture(height, width, count, length):
    names = [f'{i} {"w" * length}' for i in range(count)]
    rgb = np.zeros((height, width, 3), np.uint8)
    keyed = with_key(rgb, names, np.full((count, 3), 255, np.uint8))
    assert keyed.shape == rgb.shape
    # The last column and row belong to the panel's padding at most: no text or swatch is cut.
    assert keyed[-1].max() <= 18
    assert keyed[:, -1].max() <= 18
