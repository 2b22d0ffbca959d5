"""The demo camera over DDS: picture, truth and camera info of one moment belong together."""

from csa_ros.demo.acting import ACTIONS
from csa_ros.demo.acting import ActionStreet
from csa_ros.demo.camera import camera_info
from csa_ros.demo.camera import DemoCamera
from csa_ros.demo.camera import image_message
from csa_ros.demo.camera import LATCHED
from csa_ros.demo.camera import STREAM
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import IGNORED
from csa_ros.demo.scenes import Scene
from csa_ros.ros import compressed
from csa_ros.ros.images import to_rgb
from graph import stamp_of
from graph import wait_for
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String

TOPICS = {'image': (Image, STREAM), 'image/compressed': (CompressedImage, STREAM),
          'true_labels': (Image, STREAM), 'camera_info': (CameraInfo, STREAM),
          'true_classes': (String, LATCHED)}


@pytest.fixture
def parameters():
    """Return what a test sets beside the size and the drive."""
    return {}


@pytest.fixture
def camera(parameters):
    """Return what a camera of small pictures published, by topic, and a function to spin it."""
    context = Context()
    rclpy.init(context=context, domain_id=101)
    parameters = {'seed': 5, 'rate': 20.0, 'width': 96, 'height': 64, 'stay': 0.2, **parameters}
    node = DemoCamera(context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in parameters.items()])
    client = rclpy.create_node('client', context=context)
    received = {topic: [] for topic in TOPICS}
    for topic, (kind, qos) in TOPICS.items():
        client.create_subscription(kind, topic, received[topic].append, qos)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(client)
    yield received, lambda: executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    rclpy.shutdown(context=context)


def test_publishes_pictures_with_their_truth(camera):
    """Messages of one stamp show one moment; their ids are those of true_classes."""
    received, spin = camera
    wait_for(lambda: spin() or all(len(messages) >= (1 if topic == 'true_classes' else 6)
                                   for topic, messages in received.items()))
    assert received['true_classes'][0].data.split(', ') == list(CLASSES)
    truths = {stamp_of(message): message for message in received['true_labels']}
    infos = {stamp_of(message): message for message in received['camera_info']}
    shown = [message for message in received['image']
             if stamp_of(message) in truths and stamp_of(message) in infos]
    assert len(shown) >= 3
    for image in shown:
        truth, info = truths[stamp_of(image)], infos[stamp_of(image)]
        assert (image.width, image.height, image.encoding) == (96, 64, 'rgb8')
        assert (truth.width, truth.height, truth.encoding) == (96, 64, 'mono8')
        assert (info.width, info.height) == (96, 64)
        assert image.header.frame_id == truth.header.frame_id == info.header.frame_id
        assert set(truth.data) <= {*range(len(CLASSES)), IGNORED}
    pictures = {stamp_of(message): to_rgb(message).astype(int) for message in received['image']}
    pairs = [(pictures[stamp_of(message)], compressed.to_rgb(message))
             for message in received['image/compressed'] if stamp_of(message) in pictures]
    assert pairs and all(np.abs(raw - jpeg).mean() < 5 for raw, jpeg in pairs)


@pytest.mark.parametrize('parameters, street', [
    ({'hard': False}, Scene), ({'hard': True}, HardScene)])
def test_first_picture_is_the_first_moment_of_the_seed(camera, street):
    """A seed makes a drive that can be repeated, through plain streets or hard ones."""
    received, spin = camera
    wait_for(lambda: spin() or received['image'])
    moments = [street(5).render(step / 20, (96, 64)).rgb for step in range(4)]
    moments += [street(6).render(step / 20, (96, 64)).rgb for step in range(4)]
    # The first messages may be gone before the subscription is matched.
    assert any(np.array_equal(to_rgb(received['image'][0]), moment) for moment in moments)


def test_camera_info_projects_as_the_renderer_does():
    """K is the pinhole matrix of the frame."""
    frame = Scene(1).render(0.0, (96, 64))
    info = camera_info(frame, Header(frame_id='here'))
    assert info.header.frame_id == 'here'
    np.testing.assert_allclose(
        np.reshape(info.k, (3, 3)),
        [[frame.focal, 0, 48], [0, frame.focal, frame.center[1]], [0, 0, 1]])
    np.testing.assert_allclose(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))


@pytest.mark.parametrize('parameters', [{'loop': 2, 'hard': False}])
def test_loop_repeats_its_frames(camera):
    """The first moments come again and again, with new stamps and their own truth."""
    received, spin = camera
    wait_for(lambda: spin() or min(
        len(received[topic]) for topic in ('image', 'true_labels')) >= 5)
    moments = [Scene(5).render(step / 20, (96, 64)) for step in range(2)]
    truths = {stamp_of(message): message for message in received['true_labels']}
    shown = [image for image in received['image'] if stamp_of(image) in truths]
    assert len({stamp_of(image) for image in shown}) == len(shown) >= 3
    for image in shown:
        moment, = (moment for moment in moments if np.array_equal(to_rgb(image), moment.rgb))
        assert bytes(truths[stamp_of(image)].data) == moment.labels.tobytes()


@pytest.mark.parametrize('action, expected', [
    ('all', ACTIONS[1:4]), (ACTIONS[4], ACTIONS[4:5] * 3)])
def test_says_what_has_happened_when_it_is_over(action, expected):
    context = Context()
    rclpy.init(context=context, domain_id=101)
    node = DemoCamera(context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in {
            'seed': 1, 'rate': 2.0, 'width': 96, 'height': 64, 'stay': 2.5, 'action': action,
        }.items()])
    # Four moments of the two seconds of an action, and one more.
    moments = [next(node._moments) for _ in range(15)]
    rclpy.shutdown(context=context)
    assert [moment.action for moment in moments[3::5]] == list(expected)
    assert not any(moment.action for index, moment in enumerate(moments) if index % 5 != 3)
    first = ActionStreet(1, expected[0]).render(0.0, (96, 64))
    np.testing.assert_array_equal(to_rgb(moments[0].image), first.rgb)


@pytest.mark.parametrize('encoding, tolerance', [('rgb8', 0), ('bgr8', 0), ('nv12', 8)])
def test_encodings_show_the_same_picture(encoding, tolerance):
    """What is published is read as what was rendered; NV12 has less colour, here smooth."""
    ramp = np.linspace(60, 200, 96 * 64).reshape(64, 96)
    rgb = np.dstack([ramp, 0.5 * ramp + 60, 255 - ramp]).astype(np.uint8)
    message = image_message(rgb, encoding)
    assert message.encoding == encoding
    difference = np.abs(to_rgb(message).astype(int) - rgb)
    assert difference.max() <= tolerance


@pytest.mark.parametrize('parameters, reason', [
    ({'encoding': 'yuyv'}, 'use rgb8 or bgr8 or nv12'),
    ({'encoding': 'nv12', 'width': 97}, 'even'),
    ({'action': 'a bus that flies'}, 'use all, or one of a person who crosses to the left, '),
    ({'action': 'all', 'stay': 1.0}, 'an action takes 2 s'),
])
def test_what_cannot_be_is_refused(parameters, reason):
    """The error says what to use."""
    context = Context()
    rclpy.init(context=context, domain_id=101)
    try:
        with pytest.raises(ValueError, match=reason):
            DemoCamera(context=context, parameter_overrides=[
                Parameter(name, value=value) for name, value in parameters.items()])
    finally:
        rclpy.shutdown(context=context)
