"""Which frames are looked at, and which make up a window, by stamps alone."""

from csa_ros.ros.actions.window import Sample
from csa_ros.ros.actions.window import Sampler
from csa_ros.ros.actions.window import Window
from hypothesis import given
from hypothesis import strategies as st
import pytest

SECONDS, FRAMES = 2.0, 8
# In nanoseconds.
PART = 250_000_000
SECOND = 10**9


def run(stamps, seconds=SECONDS):
    """Return the window after frames with these stamps, and what was looked at."""
    sampler, window, taken = Sampler(seconds, FRAMES), Window(seconds, FRAMES), []
    for stamp in stamps:
        if sampler.take(stamp):
            window.add(Sample(sampler.runs, stamp, None, 0.0))
            taken.append(stamp)
    return window, taken, sampler


def steady(rate, seconds, begin=1000 * SECOND):
    return [begin + round(index * SECOND / rate) for index in range(round(rate * seconds))]


@pytest.mark.parametrize('rate', [4, 5, 7.3, 10, 30, 60])
def test_eight_frames_a_window_are_looked_at_whatever_the_rate(rate):
    stamps = steady(rate, 10)
    window, taken, _ = run(stamps)
    assert len(taken) == pytest.approx(40, abs=1)
    chosen = [sample.stamp for sample in window.choose()]
    assert len(set(chosen)) == FRAMES and chosen == sorted(chosen)
    assert chosen[-1] - chosen[0] == pytest.approx(7 * PART, abs=SECOND / rate)
    # Once full, it stays so.
    for length in range(len(steady(rate, 2.5)), len(stamps)):
        assert run(stamps[:length])[0].choose()


def test_a_slow_camera_has_frames_that_count_twice():
    chosen = [sample.stamp for sample in run(steady(2.5, 10))[0].choose()]
    assert len(chosen) == FRAMES and len(set(chosen)) == 5 and chosen == sorted(chosen)
    window, _, _ = run(steady(1.2, 10))
    assert not window.choose()
    assert 'has 3 different images, fewer than 4' in window.explain()


def test_a_window_fills_and_says_how_far_it_is():
    assert Window(SECONDS, FRAMES).explain() == 'no image has arrived yet'
    assert not Window(SECONDS, FRAMES).choose() and Window(SECONDS, FRAMES).newest is None
    for count in range(1, FRAMES):
        window, _, _ = run(steady(4, count / 4))
        assert window.filled == pytest.approx(count / FRAMES)
        assert window.explain() == f'the window of 2 s has images of {count / 4:.1f} s only'
        assert not window.choose()
    assert run(steady(4, 2))[0].filled == 1.0


@pytest.mark.parametrize('then, reason', [
    (-50 * SECOND, r'stamps went back by 52.0 s'), (5 * SECOND, 'no image for 7.0 s')])
def test_where_stamps_jump_a_window_begins_anew(then, reason):
    stamps = steady(10, 2.1)
    window, _, sampler = run([*stamps, stamps[-1] + then - 2 * SECOND * (then < 0)
                              + 2 * SECOND * (then > 0)])
    assert sampler.reason == reason and sampler.runs == 2
    assert window.filled == pytest.approx(1 / FRAMES)


def test_images_that_come_in_another_order_change_nothing():
    stamps = steady(30, 4)
    swapped = [stamp for pair in zip(stamps[1::2], stamps[::2]) for stamp in pair]
    window, _, sampler = run(swapped)
    assert sampler.runs == 1 and len(window.choose()) == FRAMES


def test_stamps_that_stand_still_are_noticed():
    assert not run([5, 5, 5])[2].stands_still
    assert run([5] * 9)[2].stands_still
    assert not run([*[5] * 9, 6])[2].stands_still
    assert not run([0] * 9)[0].choose()


def test_a_sample_that_cannot_be_used_is_dropped():
    window, _, _ = run(steady(4, 2))
    newest = window.newest
    window.drop(newest)
    window.drop(newest)
    assert window.newest.stamp == newest.stamp - PART
    # Late and twice the same: neither counts.
    before = window.newest
    window.add(Sample(1, before.stamp - 1, None, 0.0))
    window.add(Sample(1, before.stamp, None, 0.0))
    assert window.newest is before
    window.clear()
    assert window.newest is None


@given(st.lists(st.integers(0, 2**62), max_size=60), st.floats(0.2, 60.0))
def test_any_stamps_give_a_whole_window_or_none(stamps, seconds):
    window, taken, _ = run(stamps, seconds)
    chosen = window.choose()
    assert len(chosen) in (0, FRAMES)
    assert bool(chosen) != bool(window.explain())
    assert 0 <= window.filled <= 1
    assert [sample.stamp for sample in chosen] == sorted(sample.stamp for sample in chosen)
