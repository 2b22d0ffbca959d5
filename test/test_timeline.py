"""Every mask is made with the words whose legend its stamp points to, from many cameras too."""

from csa_ros.ros.timeline import LAST_TIME
from csa_ros.ros.timeline import LATE
from csa_ros.ros.timeline import nanoseconds
from csa_ros.ros.timeline import SECOND
from csa_ros.ros.timeline import Timeline
from csa_ros.ros.timeline import to_time
from hypothesis import given
from hypothesis import strategies as st
import pytest


@pytest.fixture
def timeline():
    timeline = Timeline()
    assert timeline.change('first') == 0
    return timeline


def test_a_change_holds_from_the_instant_after_the_last_mask(timeline):
    assert timeline.assign('', 100) == ('first', None)
    assert timeline.change('second') == 101
    assert timeline.assign('', 101) == ('second', None)


def test_of_two_changes_between_masks_the_newer_holds(timeline):
    timeline.assign('', 100)
    assert timeline.change('second') == timeline.change('third') == 101
    assert timeline.assign('', 150) == ('third', None)


def test_what_needs_no_legend_takes_the_place_of_the_newest(timeline):
    timeline.assign('', 100)
    timeline.replace('first, drawn otherwise')
    assert timeline.assign('', 101) == ('first, drawn otherwise', None)


def test_nothing_can_be_replaced_before_the_first_change():
    timeline = Timeline()
    timeline.replace('early')
    assert timeline.change('first') == 0
    assert timeline.assign('', 5) == ('first', None)


@pytest.mark.parametrize('stamp', [100, 50, 0])
def test_stamps_that_repeat_or_go_back_need_the_legend_again(timeline, stamp):
    timeline.assign('', 100)
    timeline.change('second')
    assert timeline.assign('', stamp) == ('second', stamp)
    assert timeline.assign('', stamp + 1) == ('second', None)
    assert timeline.change('third') == stamp + 2


def test_frame_of_another_camera_that_is_late_gets_the_words_of_its_time(timeline):
    timeline.assign('left', 90)
    timeline.assign('right', 100)
    assert timeline.change('second') == 101
    assert timeline.assign('left', 95) == ('first', None)
    assert timeline.assign('right', 110) == ('second', None)
    assert timeline.assign('left', 105) == ('second', None)
    assert timeline.change('third') == 111


def test_late_frame_finds_the_right_one_of_several_changes(timeline):
    timeline.assign('left', 10)
    for number, stamp in enumerate((100, 200, 300), 2):
        timeline.assign('right', stamp)
        timeline.change(number)
    assert [timeline.assign('left', stamp)[0] for stamp in (100, 101, 250, 301)] == [
        'first', 2, 3, 4]


def test_camera_that_has_just_started_may_be_late_too(timeline):
    timeline.assign('right', 100)
    timeline.change('second')
    assert timeline.assign('left', 50) == ('first', None)


def test_camera_of_another_clock_does_not_keep_old_words(timeline):
    timeline.assign('left', SECOND)
    timeline.assign('right', 5 * SECOND)
    timeline.change('second')
    stamp = 5 * SECOND - LATE - 1
    assert timeline.assign('left', stamp) == ('second', stamp)


def test_camera_that_goes_back_does_not_take_late_words(timeline):
    timeline.assign('left', 95)
    timeline.assign('right', 100)
    timeline.change('second')
    assert timeline.assign('left', 94) == ('second', 94)


def test_camera_that_is_gone_does_not_hold_up_the_others(timeline):
    timeline.assign('left', 50)
    timeline.assign('right', 10 * SECOND)
    assert timeline.change('second') == 10 * SECOND + 1
    assert timeline.assign('left', 60) == ('second', 60)
    assert timeline.assign('left', 70) == ('second', None)


def test_next_timeline_goes_on_where_the_last_one_ended(timeline):
    timeline.assign('left', 95)
    following = Timeline(timeline.after_last_mask)
    assert following.change('second') == 96
    assert following.assign('left', 10) == ('second', 10)
    assert following.change('third') == 11


def test_states_that_no_frame_can_need_are_forgotten(timeline):
    for number in range(100):
        timeline.assign('', number * SECOND // 4)
        timeline.change(number)
    assert len(timeline._changes) <= 6


@given(st.lists(st.tuples(st.sampled_from(['left', 'right', 'rear']), st.integers(1, 10**8),
                          st.booleans()), max_size=60))
def test_reader_of_a_recording_finds_the_words_of_every_mask(events):
    """As long as each camera's stamps rise, and cameras differ by less than a second."""
    timeline, version = Timeline(), 0
    legends, masks = [(timeline.change(version), version)], []
    clock, last = 0, {}
    for camera, step, changes in events:
        clock += 10**7
        if changes:
            version += 1
            legends.append((timeline.change(version), version))
        # Taken up to 0.1 s ago.
        stamp = last[camera] = max(last.get(camera, 0) + 1, clock - step, 0)
        state, restated = timeline.assign(camera, stamp)
        masks.append((stamp, state))
        assert restated is None
    for stamp, state in masks:
        assert state == max(legend for legend in legends if legend[0] <= stamp)[1]


@pytest.mark.parametrize('stamp', [0, 1, SECOND - 1, SECOND, 7 * SECOND + 5])
def test_stamps_are_numbers_and_back(stamp):
    assert nanoseconds(to_time(stamp)) == stamp


def test_last_stamp_has_an_instant_after_it():
    stamp = nanoseconds(to_time(LAST_TIME))
    timeline = Timeline()
    timeline.change('first')
    timeline.assign('', stamp)
    assert to_time(timeline.change('second')).sec == 2**31 - 1
