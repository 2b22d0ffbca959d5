"""What the page makes of messages: frames put together by stamp, and sent as they are read."""

import json
import struct

from csa_ros.ros import compressed
from csa_ros.ros.images import ImageError
from csa_ros.ros.images import to_message
from csa_ros.sample_range import SampleRange
from csa_ros.web import frames
from csa_ros.web.encoding import encode
from csa_ros.web.encoding import LONG_SIDE
from csa_ros.web.encoding import pack
from csa_ros.web.frames import Assembler
from csa_ros.web.hub import segment_nodes
import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String

FIRST, SECOND, THIRD = (1, 0), (2, 0), (3, 0)


class Clock:
    """A time that tests set."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def assembler(clock):
    made = Assembler(clock)
    made.wanted = frozenset({'image', 'labels'})
    return made


def parts(frame):
    return frame and (frame.stamp, frame.parts)


# Frames

@pytest.mark.parametrize('order', [('image', 'labels'), ('labels', 'image')])
def test_a_frame_is_of_one_stamp_whatever_comes_first(assembler, order):
    assembler.add('image', (0, 5), 'earlier')
    assembler.add('labels', (0, 5), 'earlier')
    one, other = order
    assert assembler.add(one, FIRST, one) is None
    assert parts(assembler.add(other, FIRST, other)) == (
        FIRST, {'image': 'image', 'labels': 'labels'})


def test_images_alone_are_frames_while_no_labels_come(assembler, clock):
    assert parts(assembler.add('image', FIRST, 'a')) == (FIRST, {'image': 'a'})
    assembler.add('labels', FIRST, 'b')
    assert assembler.add('image', SECOND, 'c') is None
    clock.now += frames.SILENT
    assert parts(assembler.add('image', THIRD, 'd')) == (THIRD, {'image': 'd'})


def test_labels_find_an_image_that_came_long_before(assembler):
    for number in range(10):
        assembler.add('image', (number, 0), number)
    assert parts(assembler.add('labels', FIRST, 'b')) == (FIRST, {'image': 1, 'labels': 'b'})


def test_labels_alone_are_frames_while_no_image_comes(assembler):
    assert parts(assembler.add('labels', FIRST, 'b')) == (FIRST, {'labels': 'b'})


def test_a_frame_waits_for_all_that_is_wanted_of_it(assembler):
    assembler.wanted |= {'confidence'}
    assembler.add('confidence', (0, 5), 'earlier')
    assembler.add('image', FIRST, 'a')
    assert assembler.add('labels', FIRST, 'b') is None
    assert parts(assembler.add('confidence', FIRST, 'c')) == (
        FIRST, {'image': 'a', 'labels': 'b', 'confidence': 'c'})


def test_what_is_lost_is_not_waited_for_once_the_next_frame_begins(assembler):
    assembler.wanted |= {'confidence'}
    assembler.add('confidence', (0, 5), 'earlier')
    assembler.add('image', FIRST, 'a')
    assembler.add('labels', FIRST, 'b')
    assembler.add('image', SECOND, 'c')
    assert parts(assembler.add('labels', SECOND, 'd')) == (FIRST, {'image': 'a', 'labels': 'b'})


def test_what_has_been_silent_is_not_waited_for(assembler, clock):
    assembler.wanted |= {'heat'}
    assembler.add('heat', (0, 5), 'earlier')
    clock.now += frames.SILENT
    assembler.add('image', FIRST, 'a')
    assert parts(assembler.add('labels', FIRST, 'b')) == (FIRST, {'image': 'a', 'labels': 'b'})


def test_numbers_rise_so_that_viewers_know_what_they_missed(assembler):
    numbers = []
    for stamp in (FIRST, SECOND, FIRST):
        assembler.add('image', stamp, 'a')
        numbers.append(assembler.add('labels', stamp, 'b').number)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize('size, kept', [(1, frames.MOST_IMAGES), (frames.MOST_BYTES // 4, 4),
                                        (frames.MOST_BYTES * 2, 1)])
def test_images_that_wait_are_bounded(assembler, size, kept):
    for number in range(100):
        assembler.add('image', (number, 0), number, size)
    assert len(assembler._images) == kept
    assert assembler._bytes == kept * size
    assembler.add('labels', (99, 0), 'b')
    assembler.forget()
    assert not assembler._images and assembler._bytes == 0


def test_the_image_that_the_node_holds_is_kept(assembler):
    assembler.add('image', FIRST, 'a')
    assembler.freeze(FIRST)
    held = assembler.frozen
    assert (held.stamp, held.parts, held.frozen) == (FIRST, {'image': 'a'}, True)
    assembler.forget()
    assembler.freeze(FIRST)
    assert assembler.frozen is held
    assembler.freeze(None)
    assert assembler.frozen is None


def test_the_image_that_the_node_holds_may_come_later(assembler):
    assembler.freeze(SECOND)
    assembler.add('image', FIRST, 'a')
    assert assembler.frozen is None
    assembler.add('image', SECOND, 'b')
    assert assembler.frozen.parts == {'image': 'b'}


# Pictures

def picture(height=48, width=64, seed=0):
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_images_are_jpegs_of_what_the_camera_sees():
    rgb = picture()
    part = encode('image', to_message(rgb, 'rgb8', Header()), SampleRange())
    assert (part['width'], part['height']) == (64, 48)
    assert np.abs(decoded(part['data'])[..., ::-1].astype(int) - rgb).mean() < 6


def test_jpegs_go_through_as_they_are():
    message = compressed.to_message(picture(), Header(), 90)
    assert encode('image', message, SampleRange())['data'] == bytes(message.data)
    # Unless a browser would turn them.
    data = bytes(message.data)
    message.data = data[:2] + b'\xff\xe1\x00\x08Exif\0\0' + data[2:]
    part = encode('image', message, SampleRange())
    assert part['data'] != bytes(message.data) and b'Exif' not in part['data']


def test_dim_images_of_16_bits_are_brightened():
    message = Image(width=8, height=8, encoding='mono16', step=16)
    message.data = np.linspace(0, 1000, 64).astype(np.uint16).tobytes()
    assert decoded(encode('image', message, SampleRange())['data']).mean() > 90


@pytest.mark.parametrize('height, width', [(48, 64), (2 * LONG_SIDE, 40), (1, 3 * LONG_SIDE)])
def test_ids_stay_what_they_are(height, width):
    ids = np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)
    part = encode('labels', to_message(ids, 'mono8', Header()), SampleRange())
    assert (part['width'], part['height']) == (width, height)
    shown = decoded(part['data'])
    assert max(shown.shape) <= LONG_SIDE
    if max(height, width) <= LONG_SIDE:
        np.testing.assert_array_equal(shown, ids)
    else:
        assert set(shown.flat) <= set(ids.flat)


def test_what_cannot_be_read_is_an_error_of_a_known_kind():
    with pytest.raises(ImageError):
        encode('labels', Image(width=8, height=8, encoding='mono8', step=8), SampleRange())
    with pytest.raises(ValueError):
        encode('found', String(data='{'), SampleRange())


def test_a_message_holds_its_description_and_its_pictures():
    frame = frames.Frame(7, FIRST, {})
    message = pack(frame, '/segment', 'front', {
        'image': {'data': b'abc', 'width': 640, 'height': 480},
        'labels': {'data': b'de', 'width': 640, 'height': 480}, 'found': {'found': []}})
    length, = struct.unpack('>I', message[:4])
    assert json.loads(message[4:4 + length]) == {
        'number': 7, 'stamp': [1, 0], 'frozen': False, 'node': '/segment', 'camera': 'front',
        'size': [640, 480], 'found': {'found': []},
        'pictures': [{'kind': 'image', 'bytes': 3}, {'kind': 'labels', 'bytes': 2}]}
    assert message[4 + length:] == b'abcde'


# Nodes

def test_segment_nodes_are_known_by_their_services():
    trigger, boolean = ['std_srvs/srv/Trigger'], ['std_srvs/srv/SetBool']
    state = ['lifecycle_msgs/srv/ChangeState']
    services = [('/a/segment/teach', trigger), ('/a/segment/freeze', boolean),
                ('/a/segment/change_state', state),
                ('/other/teach', trigger), ('/other/freeze', trigger),
                ('/other/change_state', state), ('/robot/change_state', state)]
    assert segment_nodes(services) == {'/a/segment'}
