"""Depth images against values written by hand, and frames that find theirs by their stamps."""

import array
import gc
import weakref

from builtin_interfaces.msg import Time
from csa_ros.ros.depth import DepthMatcher
from csa_ros.ros.depth import to_metres
from csa_ros.ros.images import ImageError
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import Image

NAN, INF = float('nan'), float('inf')
MILLIMETRES = np.array([[0, 1, 1500], [258, 65535, 0]], np.uint16)
METRES_OF_MILLIMETRES = [[NAN, 0.001, 1.5], [0.258, 65.535, NAN]]
METRES = np.array([[0, 1e-3, 1.5, NAN], [INF, -INF, -2, 70000]], np.float32)
METRES_READ = [[NAN, 1e-3, 1.5, NAN], [NAN, NAN, NAN, 70000]]


def message(samples, encoding, padding=0, big_endian=False):
    order = '>' if big_endian else '<'
    ordered = samples.astype(samples.dtype.newbyteorder(order))
    rows = np.frombuffer(ordered.tobytes(), np.uint8).reshape(len(samples), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    return Image(height=len(samples), width=samples.shape[1], encoding=encoding,
                 step=rows.shape[1], is_bigendian=int(big_endian),
                 data=array.array('B', rows.tobytes()))


@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding, samples, metres', [
    ('16UC1', MILLIMETRES, METRES_OF_MILLIMETRES),
    ('mono16', MILLIMETRES, METRES_OF_MILLIMETRES),
    ('32FC1', METRES, METRES_READ),
])
def test_depth_in_metres(encoding, samples, metres, big_endian, padding):
    depth = to_metres(message(samples, encoding, padding, big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array(metres, np.float32))


def test_the_message_is_left_as_it_was():
    msg = message(METRES, '32FC1')
    before = bytes(msg.data)
    to_metres(msg)[:] = 1
    assert bytes(msg.data) == before


@pytest.mark.parametrize('fields, said', [
    ({'encoding': 'rgb8'}, ["'rgb8'", '16UC1', '32FC1']),
    ({'encoding': '8UC1'}, ["'8UC1'", '16UC1']),
    ({'encoding': '64FC1'}, ["'64FC1'", '16UC1']),
    ({'encoding': '16SC1'}, ["'16SC1'", '16UC1']),
    ({'encoding': 'x' * 1000}, ["'" + 'x' * 40 + "'"]),
    ({'width': 0}, ['0 x 2', 'at least 1 x 1']),
    ({'height': 3}, ['4 x 3', '48 bytes', '32 arrived']),
    ({'step': 15}, ['step 15', '16 bytes']),
    ({'step': 2**32 - 1}, [f'step {2**32 - 1}', '32 arrived']),
    ({'data': array.array('B')}, ['32 bytes', '0 arrived']),
])
def test_malformed_depth_is_refused_with_reasons(fields, said):
    msg = message(METRES, '32FC1')
    for name, value in fields.items():
        setattr(msg, name, value)
    with pytest.raises(ImageError) as caught:
        to_metres(msg)
    for words in said:
        assert words in str(caught.value)


@given(st.sampled_from(['16UC1', 'mono16', '32FC1', 'mono8', '']), st.integers(0, 9),
       st.integers(0, 9), st.integers(0, 40), st.integers(0, 255), st.binary(max_size=400))
def test_any_message_gives_depth_or_an_image_error(encoding, height, width, step, big, data):
    msg = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=big,
                data=array.array('B', data))
    try:
        depth = to_metres(msg)
    except ImageError:
        return
    assert depth.shape == (height, width)
    assert depth.dtype == np.float32
    assert np.all(np.isnan(depth) | (np.isfinite(depth) & (depth > 0)))


# A depth image, a segmented frame, and a frame that goes into the model.
D, F, E = 'depth', 'frame', 'expected'


def stamp(milliseconds):
    sec, rest = divmod(milliseconds, 1000)
    return Time(sec=sec, nanosec=rest * 10**6)


def depth_at(milliseconds):
    msg = Image()
    msg.header.stamp = stamp(milliseconds)
    return msg


def play(matcher, *events):
    """Play (D, F or E, ms) events; return for each None or the (depth ms, frame ms) it gave."""
    given_back = []
    for kind, at in events:
        pair = {
            D: lambda: matcher.add_depth(depth_at(at)),
            F: lambda: matcher.add_frame(stamp(at), at),
            E: lambda: matcher.expect_frame(stamp(at)),
        }[kind]()
        if pair:
            time = pair[0].header.stamp
            pair = (time.sec * 1000 + time.nanosec // 10**6, pair[1])
        given_back.append(pair)
    return given_back


@pytest.mark.parametrize('events, pairs', [
    # One of the frame's own stamp is used at once, whoever comes first.
    ([(D, 100), (F, 100)], [None, (100, 100)]),
    ([(F, 100), (D, 100)], [None, (100, 100)]),
    # The nearer of its neighbours, once the later one is here.
    ([(D, 90), (D, 130), (F, 100)], [None, None, (90, 100)]),
    ([(D, 70), (D, 110), (F, 100)], [None, None, (110, 100)]),
    ([(D, 90), (F, 100), (D, 130)], [None, None, (90, 100)]),
    ([(D, 70), (F, 100), (D, 110)], [None, None, (110, 100)]),
    # An earlier one is no reason to stop waiting, nor one that is too far away.
    ([(D, 60), (F, 100), (D, 80), (D, 95), (D, 120)], [None, None, None, None, (95, 100)]),
    ([(D, 40), (F, 100), (D, 160)], [None, None, None]),
    # At most the slop, which is 50 ms.
    ([(D, 50), (F, 100), (D, 200)], [None, None, (50, 100)]),
    ([(F, 100), (D, 150)], [None, (150, 100)]),
    ([(F, 100), (D, 151)], [None, None]),
    ([(D, 49), (F, 100), (D, 151)], [None, None, None]),
    # A frame goes out once.
    ([(D, 100), (F, 100), (D, 101), (D, 130)], [None, (100, 100), None, None]),
    # One depth image may serve two frames.
    ([(D, 100), (F, 80), (F, 90)], [None, (100, 80), (100, 90)]),
    # The newest frame waits; the one before goes with the best there is, or not at all.
    ([(F, 100), (F, 133), (D, 133)], [None, None, (133, 133)]),
    ([(D, 90), (F, 100), (F, 133), (D, 133)], [None, None, (90, 100), (133, 133)]),
    # If both are decided by one call, the newer.
    ([(D, 90), (F, 100), (F, 90)], [None, None, (90, 90)]),
    # A bag that loops: first its depth, first its frame.
    ([(D, 9000), (F, 9000), (D, 0), (F, 0)], [None, (9000, 9000), None, (0, 0)]),
    ([(D, 9000), (F, 9000), (F, 0), (D, 0)], [None, (9000, 9000), None, (0, 0)]),
    ([(D, 9000), (F, 9001), (D, 0), (F, 0), (D, 33)], [None, None, None, (0, 0), None]),
    # Depth of the run before is neither later than a frame of this one nor near it.
    ([(D, 9000), (D, 470), (F, 500), (D, 501)], [None, None, None, (501, 500)]),
    ([(D, 100), (D, 0), (F, 100), (F, 133)], [None, None, None, None]),
    # Clocks that nobody sets.
    ([(D, 0), (F, 0), (D, 0), (F, 0)], [None, (0, 0), None, (0, 0)]),
])
def test_frames_find_their_depth(events, pairs):
    assert play(DepthMatcher(slop=0.05), *events) == pairs


def test_the_slop_is_exact_in_nanoseconds():
    matcher = DepthMatcher(slop=1e-9)
    late = Image()
    late.header.stamp = Time(sec=2**31 - 1, nanosec=999_999_999)
    matcher.add_depth(late)
    assert matcher.add_frame(Time(sec=2**31 - 1, nanosec=999_999_998), 0) == (late, 0)
    assert matcher.add_frame(Time(sec=2**31 - 1, nanosec=999_999_997), 0) is None


def test_a_slop_of_zero_takes_equal_stamps_only():
    assert play(DepthMatcher(slop=0), (D, 100), (F, 100), (F, 99)) == [None, (100, 100), None]


@pytest.mark.parametrize('offset', [-40, -10, 0, 10, 40])
@pytest.mark.parametrize('latency', [5, 40, 90])
@pytest.mark.parametrize('depth_latency', [0, 30, 60])
def test_cameras_out_of_step_do_not_starve(offset, latency, depth_latency):
    """30 Hz each; frames and depth arrive `latency` and `depth_latency` after their stamps."""
    arrivals = sorted(
        [(33 * n + latency, F, 33 * n) for n in range(10, 100)]
        + [(33 * n + offset + depth_latency, D, 33 * n + offset) for n in range(5, 110)])
    pairs = [pair for pair in play(
        DepthMatcher(slop=0.05), *[(kind, at) for _, kind, at in arrivals]) if pair]
    assert len({frame for _, frame in pairs}) == len(pairs) > 80
    assert all(abs(depth - frame) <= 50 for depth, frame in pairs)


@given(st.lists(st.tuples(st.sampled_from([D, F]), st.integers(0, 300)), max_size=40))
def test_pairs_lie_within_the_slop_and_frames_go_out_once(events):
    numbered = [(kind, at, number) for number, (kind, at) in enumerate(events)]
    matcher = DepthMatcher(slop=0.05)
    seen, out = [], []
    for kind, at, number in numbered:
        if kind == D:
            msg = depth_at(at)
            seen.append(msg)
            pair = matcher.add_depth(msg)
        else:
            pair = matcher.add_frame(stamp(at), (at, number))
        if pair:
            depth, (frame_at, frame) = pair
            assert any(depth is msg for msg in seen)
            assert abs(depth.header.stamp.nanosec // 10**6 - frame_at) <= 50
            out.append(frame)
    assert len(set(out)) == len(out)


def test_nothing_grows():
    class Depth(Image):
        """A message itself has slots and takes no weak reference."""

    class Frame:
        pass

    matcher = DepthMatcher(slop=0.05, depth_frames=3)
    taken = []
    for at in [*range(0, 3300, 33), *range(0, 3300, 33)]:
        msg, frame = Depth(), Frame()
        msg.header.stamp = stamp(at)
        matcher.expect_frame(stamp(at))
        taken += [weakref.ref(msg), weakref.ref(frame)]
        matcher.add_depth(msg)
        matcher.add_frame(stamp(at + 500), frame)  # ahead of all depth, so that it waits
    del msg, frame
    gc.collect()
    assert sum(reference() is not None for reference in taken) == 3 + 1


def test_only_the_latest_depth_images_are_kept():
    matcher = DepthMatcher(slop=0.05, depth_frames=3)
    events = [(D, at) for at in (0, 100, 200, 300)]
    assert play(matcher, *events, (F, 0), (F, 100)) == [None] * 5 + [(100, 100)]


@pytest.mark.parametrize('events, pair', [
    # Its depth is here when the model starts, comes later, or lies on both sides.
    ([(D, 100), (E, 100)], (100, 100)),
    ([(E, 100), (D, 100)], (100, 100)),
    ([(D, 100), (D, 133), (D, 166), (E, 100)], (100, 100)),
    ([(D, 70), (E, 100), (D, 110)], (110, 100)),
    ([(D, 90), (E, 100), (D, 140)], (90, 100)),
    # It is that of the frame which is expected now.
    ([(D, 100), (E, 100), (E, 200), (D, 200)], None),
    # The next run of a bag.
    ([(D, 9000), (E, 9000), (D, 0), (E, 100), (D, 100)], (100, 100)),
])
def test_a_model_may_take_longer_than_the_depth_that_is_kept(events, pair):
    matcher = DepthMatcher(slop=0.05, depth_frames=3)
    play(matcher, *events, *[(D, at) for at in range(1000, 9000, 33)])
    assert play(matcher, (F, 100)) == [pair]


@pytest.mark.parametrize('events, said', [
    ([], []),
    ([(D, 100), (F, 100)], []),
    ([(D, 90), (F, 100)], []),
    ([(F, 100)], ['no depth image has arrived', 'remap']),
    ([(D, 100), (F, 1123)], ['1.023 s earlier', '0.050 s', 'depth_slop']),
    ([(D, 1123), (F, 100)], ['1.023 s later', '0.050 s', 'depth_slop']),
    ([(D, 1000), (D, 2000), (D, 3000), (F, 9000)], ['6.000 s earlier']),
    ([(D, 1000), (D, 2000), (D, 3000), (F, 100)], ['0.900 s older', 'oldest of the 3']),
])
def test_why_no_depth_was_found(events, said):
    matcher = DepthMatcher(slop=0.05, depth_frames=3)
    play(matcher, *events)
    for words in said:
        assert words in matcher.explain()
    assert bool(matcher.explain()) == bool(said)


@pytest.mark.parametrize('slop', [-0.01, NAN, INF])
def test_a_slop_that_cannot_be_is_refused(slop):
    with pytest.raises(ValueError, match=str(slop)):
        DepthMatcher(slop)


def test_at_least_one_depth_image_is_kept():
    with pytest.raises(ValueError, match='depth_frames is 0'):
        DepthMatcher(0.05, depth_frames=0)
