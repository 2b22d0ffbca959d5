"""Which windows are encoded again, and that what is kept is neither stale nor touched later."""

from csa_ros.labels.windows import cut
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.model.reuse import change
from csa_ros.model.reuse import WindowMemory
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch.nn import functional as F

PATCH = 16
# 3 x 4 windows, the last row and column of which are not at a multiple of the stride.
PLAN = plan_windows(150, 200, crop=64, stride=48)
WINDOWS = 12
# No window's turn comes within a test.
FOREVER = 10 ** 6


def picture(seed=0, plan=PLAN):
    return np.random.default_rng(seed).integers(
        40, 200, (plan.height, plan.width, 3), dtype=np.uint8)


class Camera:
    """A memory and an encoder that means patches and writes down what it was asked for."""

    def __init__(self, plan=PLAN):
        self.memory = WindowMemory()
        self.plan = plan
        self.asked = []

    def look(self, frame, threshold=0.0, max_age=FOREVER):
        """Return the features; `asked` is what was encoded for them."""
        self.asked = []
        return self.memory.features(frame, self.plan, lambda indices: self.encode(frame, indices),
                                    threshold, max_age)

    def encode(self, frame, indices):
        self.asked = list(indices)
        return encode_all(frame, self.plan)[indices]


def encode_all(frame, plan=PLAN):
    windows = cut(torch.tensor(frame).permute(2, 0, 1)[None].float(), plan)
    return F.avg_pool2d(windows, PATCH).permute(0, 2, 3, 1)


def windows_with(y, x, plan=PLAN):
    corners = [(top, left) for top in plan.tops for left in plan.lefts]
    return [index for index, (top, left) in enumerate(corners)
            if top <= y < top + plan.crop_height and left <= x < left + plan.crop_width]


def test_the_first_frame_is_encoded_as_a_whole():
    camera = Camera()
    frame = picture()
    assert torch.equal(camera.look(frame), encode_all(frame))
    assert camera.asked == list(range(WINDOWS))


def test_nothing_is_encoded_while_nothing_changes():
    camera = Camera()
    before = camera.look(picture())
    assert torch.equal(camera.look(picture()), before)
    assert camera.asked == []


def test_everything_is_encoded_when_everything_changes():
    camera = Camera()
    for seed in range(3):
        frame = picture(seed)
        assert torch.equal(camera.look(frame, threshold=8.0), encode_all(frame))
        assert camera.asked == list(range(WINDOWS))


@given(st.integers(0, PLAN.height - 1), st.integers(0, PLAN.width - 1), st.integers(0, 2))
def test_one_pixel_encodes_exactly_the_windows_that_show_it(y, x, channel):
    camera = Camera()
    camera.look(picture())
    frame = picture()
    frame[y, x, channel] += 50
    features = camera.look(frame, threshold=49 / PATCH ** 2)
    assert camera.asked == windows_with(y, x)
    assert torch.equal(features, encode_all(frame))


@pytest.mark.parametrize('level', [1, 4, 55])
def test_a_change_is_what_exceeds_the_threshold(level):
    camera = Camera()
    camera.look(picture())
    frame = picture()
    frame[:PATCH, :PATCH] += np.uint8(level)
    camera.look(frame, threshold=level)
    assert camera.asked == []
    camera.look(frame, threshold=level - 0.01)
    assert camera.asked == [0]


def test_at_threshold_0_the_least_difference_counts():
    camera = Camera()
    camera.look(picture())
    frame = picture()
    frame[149, 199, 2] += 1
    camera.look(frame, threshold=0)
    assert camera.asked == [WINDOWS - 1]


def test_slow_changes_add_up():
    camera = Camera()
    encoded_in = []
    for level in range(13):
        camera.look(np.full((150, 200, 3), 100 + level, np.uint8), threshold=3.5)
        encoded_in += [level] * bool(camera.asked)
    assert encoded_in == [0, 4, 8, 12]


def test_what_is_not_encoded_keeps_the_features_it_had():
    camera = Camera()
    before = camera.look(picture())
    frame = picture()
    # Too little everywhere but in window 0.
    frame += np.uint8(2)
    frame[:20, :20] += np.uint8(20)
    features = camera.look(frame, threshold=4)
    assert camera.asked == [0]
    assert torch.equal(features[0], encode_all(frame)[0])
    assert torch.equal(features[1:], before[1:])


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, WINDOWS - 1)), st.booleans()),
                min_size=1, max_size=40))
def test_no_result_is_older_than_the_limit(steps):
    memory = WindowMemory()
    frame = picture()
    corners = [(top, left) for top in PLAN.tops for left in PLAN.lefts]

    def fail(indices):
        raise MemoryError

    for number, (max_age, changed, fails) in enumerate(steps):
        for index in changed:
            top, left = corners[index]
            frame[top + 20, left + 20] ^= 255

        def encode(indices):
            return torch.full((len(indices), 4, 4, 1), number)

        if fails:
            # Nothing need be encoded in this frame, and then nothing can fail.
            try:
                features = memory.features(frame, PLAN, fail, 0.5, max_age)
            except MemoryError:
                continue
        else:
            features = memory.features(frame, PLAN, encode, 0.5, max_age)
        assert (number - features < max_age).all()


@pytest.mark.parametrize('max_age', [1, 5, 12, 30])
def test_windows_of_a_parked_robot_expire_in_turn(max_age):
    camera = Camera()
    loads = []
    for _ in range(1 + 2 * max_age):
        camera.look(picture(), max_age=max_age)
        loads.append(len(camera.asked))
    assert loads[0] == WINDOWS
    assert sum(loads[1:]) == 2 * WINDOWS
    assert max(loads[1:]) == -(-WINDOWS // max_age)


@pytest.mark.parametrize('plan', [
    plan_windows(166, 200, crop=64, stride=48), plan_windows(150, 200, crop=64, stride=32),
    plan_whole(150, 200)])
def test_another_plan_starts_afresh(plan):
    camera = Camera()
    camera.look(picture())
    camera.plan = plan
    frame = picture(plan=plan)
    assert torch.equal(camera.look(frame), encode_all(frame, plan))
    camera.plan = PLAN
    camera.look(picture())
    assert camera.asked == list(range(WINDOWS))


def test_clear_starts_afresh():
    camera = Camera()
    camera.look(picture())
    camera.memory.clear()
    camera.look(picture())
    assert camera.asked == list(range(WINDOWS))


def test_a_whole_frame_is_one_window():
    plan = plan_whole(96, 128)
    camera = Camera(plan)
    camera.look(picture(plan=plan))
    frame = picture(plan=plan)
    camera.look(frame)
    assert camera.asked == []
    frame[95, 127] += 9
    assert torch.equal(camera.look(frame), encode_all(frame, plan))
    assert camera.asked == [0]


def test_the_frame_may_be_overwritten_afterwards():
    camera = Camera()
    frame = picture()
    camera.look(frame)
    frame[:] = 0
    camera.look(picture())
    assert camera.asked == []


def test_the_encoders_buffer_may_be_overwritten_afterwards():
    memory = WindowMemory()
    buffer = torch.ones(WINDOWS, 4, 4, 1)
    memory.features(picture(), PLAN, lambda indices: buffer[:len(indices)], 0, FOREVER)
    buffer.zero_()
    features = memory.features(picture(), PLAN, lambda indices: buffer, 0, FOREVER)
    assert torch.equal(features, torch.ones(WINDOWS, 4, 4, 1))


def test_what_was_returned_is_not_written_to():
    camera = Camera()
    first = camera.look(picture())
    kept = first.clone()
    frame = picture()
    frame[0, 0] += 50
    camera.look(frame)
    assert camera.asked == [0]
    assert torch.equal(first, kept)


def test_a_failed_encoding_is_made_up_for():
    camera = Camera()
    camera.look(picture())
    frame = picture()
    frame[0, 0] += 50

    def fail(indices):
        raise MemoryError

    with pytest.raises(MemoryError):
        camera.memory.features(frame, PLAN, fail, 0, FOREVER)
    assert torch.equal(camera.look(frame), encode_all(frame))
    assert camera.asked == [0]


def test_an_encoder_that_returns_too_few_is_refused():
    with pytest.raises(ValueError, match='shorter'):
        WindowMemory().features(
            picture(), PLAN, lambda indices: torch.ones(1, 4, 4, 1), 0, FOREVER)


def test_windows_are_counted():
    camera = Camera()
    camera.look(picture())
    frame = picture()
    frame[0, 0] += 50
    camera.look(frame)
    assert (camera.memory.windows_seen, camera.memory.windows_encoded) == (24, 13)


def test_sensor_noise_is_below_what_a_small_thing_changes():
    # Two exposures with a noise of 1.5 grey levels; a quarter of one patch 40 levels brighter.
    random = np.random.default_rng(0)
    still = np.full((64, 64, 3), 128.0)
    before, after = ((still + random.normal(0, 1.5, still.shape)).round().astype(np.uint8)
                     for _ in range(2))
    assert 1 < change(before, after, (8, 8)) < 3
    after[32:36, 32:36] += 40
    assert change(before, after, (8, 8)) > 8


def test_patches_at_the_border_take_what_is_left_over():
    before = np.zeros((35, 50, 3), np.uint8)
    after = before.copy()
    after[34, 49] = 228
    # Patches of 17 x 16 pixels, the last one 18 x 18.
    assert change(before, after, (2, 3)) == pytest.approx(228 / 18 ** 2)


@pytest.mark.parametrize('frame', [
    np.zeros((150, 199, 3), np.uint8), np.zeros((150, 200), np.uint8),
    np.zeros((150, 200, 3), np.float32)])
def test_frames_that_do_not_fit_the_plan_are_refused(frame):
    with pytest.raises(ValueError, match=r'frame has shape .* the plan is for \(150, 200, 3\)'):
        Camera().look(frame)


@pytest.mark.parametrize(('options', 'message'), [
    ({'threshold': -1.0}, 'threshold is -1.0 grey levels: it must be at least 0'),
    ({'threshold': float('nan')}, 'threshold is nan'),
    ({'max_age': 0}, 'max_age is 0 frames: it must be at least 1')])
def test_limits_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Camera().look(picture(), **options)
