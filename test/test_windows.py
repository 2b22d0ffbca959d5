"""Window plans against SCLIP's counting rule, and the cutting of frames."""

from csa_ros.labels.windows import cut
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import WindowPlan
from hypothesis import given
from hypothesis import strategies as st
import pytest
import torch


@st.composite
def crop_and_stride(draw):
    crop = draw(st.integers(1, 300))
    return crop, draw(st.integers(1, crop))


def test_the_papers_windows_of_a_vga_frame():
    plan = plan_windows(336, 448, crop=224, stride=112)
    assert plan == WindowPlan(336, 448, 224, 224, tops=(0, 112), lefts=(0, 112, 224))


def test_the_last_window_is_shifted_to_end_at_the_border():
    plan = plan_windows(225, 350, crop=224, stride=112)
    assert plan.tops == (0, 1)
    assert plan.lefts == (0, 112, 126)


def test_a_side_shorter_than_the_crop_has_one_shorter_window():
    assert plan_windows(100, 400, crop=224, stride=224) == WindowPlan(
        100, 400, 100, 224, tops=(0,), lefts=(0, 176))


def test_the_whole_frame_is_one_window():
    assert plan_whole(90, 140) == WindowPlan(90, 140, 90, 140, tops=(0,), lefts=(0,))


@given(st.integers(1, 1000), st.integers(1, 1000), crop_and_stride())
def test_windows_follow_the_rule_and_leave_no_gap(height, width, crop_stride):
    crop, stride = crop_stride
    plan = plan_windows(height, width, crop, stride)
    for side, length, starts in ((height, plan.crop_height, plan.tops),
                                 (width, plan.crop_width, plan.lefts)):
        assert length == min(side, crop)
        assert len(starts) == max(side - crop + stride - 1, 0) // stride + 1
        assert starts[0] == 0
        assert starts[-1] + length == side
        assert all(0 < after - before <= stride for before, after in zip(starts, starts[1:]))


def test_a_stride_that_leaves_gaps_is_refused_with_the_limit():
    with pytest.raises(ValueError, match='stride 225 is larger than crop 224.*from 1 to 224'):
        plan_windows(336, 448, crop=224, stride=225)


@pytest.mark.parametrize('name', ['height', 'width', 'crop', 'stride'])
def test_lengths_below_one_are_refused_by_name(name):
    lengths = {'height': 336, 'width': 448, 'crop': 224, 'stride': 112, name: 0}
    with pytest.raises(ValueError, match=f'{name} is 0 pixels; it must be at least 1'):
        plan_windows(**lengths)


def test_an_empty_whole_frame_is_refused():
    with pytest.raises(ValueError, match='height is 0 pixels'):
        plan_whole(0, 0)


def test_cut_takes_all_windows_of_a_frame_before_the_next_frame():
    plan = plan_windows(5, 7, crop=4, stride=2)
    frames = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    windows = cut(frames, plan)
    assert windows.shape == (2 * len(plan), 3, 4, 4) == (2 * 2 * 3, 3, 4, 4)
    assert torch.equal(cut(frames, plan, [1, 4, 11]), windows[[1, 4, 11]])
    index = 0
    for frame in frames:
        for top in (0, 1):
            for left in (0, 2, 3):
                assert torch.equal(windows[index], frame[:, top:top + 4, left:left + 4])
                index += 1


@pytest.mark.parametrize('size', [(5, 8), (6, 7), (7, 5)])
def test_frames_of_another_size_are_refused(size):
    with pytest.raises(ValueError, match=f'{size[0]} x {size[1]}.*the plan is for 5 x 7'):
        cut(torch.zeros(1, 3, *size), plan_windows(5, 7, crop=4, stride=2))
