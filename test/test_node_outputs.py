"""Compressed input and output, binary masks and point clouds, over DDS."""

import array

from csa_ros.demo.scenes import Scene
from csa_ros.ros import compressed
from csa_ros.vocabulary import Vocabulary
import cv2
from graph import make_image
from graph import stamp_of
from graph import wait_for
from graph import WORDS
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import PointCloud2

PICTURE = Scene(0).render(0.0, (64, 48)).rgb


def compress(rgb, extension='.jpg', stamp=(1, 0)):
    _, data = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    message = CompressedImage(format=extension[1:], data=array.array('B', data.tobytes()))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = 'camera_optical'
    return message


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def stream_to(graph, topic, make, condition):
    """Send messages with rising stamps until a condition holds, and return its result."""
    def step():
        graph._sent += 1
        graph.send_to(topic, make(stamp=(3000 + graph._sent // 100, graph._sent % 100 * 10**7)))
        return condition()

    return wait_for(step)


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_compressed_images_are_segmented(graph, tmp_path, extension):
    graph.start(tmp_path, transport='compressed')
    mask = stream_to(graph, 'image/compressed',
                     lambda stamp: compress(PICTURE, extension, stamp),
                     lambda: graph.labels and graph.labels[-1])
    assert (mask.encoding, mask.width, mask.height) == ('mono8', 64, 48)
    assert mask.header.frame_id == 'camera_optical'
    assert mask.header.stamp.sec >= 3000


def test_corrupt_data_are_dropped_and_explained(graph, tmp_path):
    graph.start(tmp_path, transport='compressed')

    def corrupt(stamp):
        message = compress(PICTURE, '.jpg', stamp)
        del message.data[len(message.data) // 2:]
        return message

    stream_to(graph, 'image/compressed', corrupt, lambda: graph.report().totals['bad'])
    assert 'cut off' in graph.report().last_error
    stream_to(graph, 'image/compressed', lambda stamp: compress(PICTURE, stamp=stamp),
              lambda: graph.labels)


def test_nothing_is_decoded_that_nobody_wants(graph, tmp_path, monkeypatch):
    decoded = []
    decode = compressed._decode
    monkeypatch.setattr(compressed, '_decode', lambda *args: decoded.append(1) or decode(*args))
    graph.start(tmp_path, transport='compressed', listen=False)
    stream_to(graph, 'image/compressed', lambda stamp: compress(PICTURE, stamp=stamp),
              lambda: graph.report().totals['idle'] > 5)
    assert not decoded
    graph.listen('labels', graph.labels)
    stream_to(graph, 'image/compressed', lambda stamp: compress(PICTURE, stamp=stamp),
              lambda: graph.labels)
    assert decoded


def test_other_transport_is_pointed_out(graph, tmp_path):
    graph.start(tmp_path)
    graph.hang_up()
    image_input = graph.node._pipeline.cameras[0].image_input
    graph.send_to('image/compressed', compress(PICTURE))
    wait_for(lambda: '`transport: compressed`' in image_input.explain_silence())


def test_compressed_topic_follows_the_remapping_of_the_image(graph, tmp_path):
    graph.start(tmp_path, transport='compressed',
                remappings=['image:=/robot/eye', '~/overlay:=/seen'])
    stream_to(graph, '/robot/eye/compressed', lambda stamp: compress(PICTURE, stamp=stamp),
              lambda: graph.labels)
    assert '/seen/compressed' in dict(graph.client.get_topic_names_and_types())


def test_compressed_overlay_is_the_overlay(graph, tmp_path):
    raw, small = [], []
    graph.start(tmp_path, overlay_alpha=1.0, overlay_legend=False).flow()
    graph.listen('overlay/compressed', small, CompressedImage)
    graph.stream(lambda: small)
    graph.listen('overlay', raw)
    graph.stream(lambda: raw)
    assert small[-1].format == 'rgb8; jpeg compressed bgr8'
    assert small[-1].header.frame_id == 'camera_optical'
    decoded = cv2.cvtColor(
        cv2.imdecode(np.asarray(small[-1].data), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(decoded.astype(int) - pixels(raw[-1])).max() < 10


def test_compressed_labels_are_the_labels(graph, tmp_path):
    small = []
    graph.start(tmp_path).flow()
    graph.listen('labels/compressed', small, CompressedImage)
    graph.stream(lambda: small)
    raw = next(labels for labels in graph.labels if stamp_of(labels) == stamp_of(small[0]))
    assert small[0].format == 'mono8; png compressed '
    assert small[0].header == raw.header
    decoded = cv2.imdecode(np.asarray(small[0].data), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., None], pixels(raw))


def test_mask_is_white_where_its_classes_are(graph, tmp_path):
    """All pixels of the probe are of the last class."""
    masks = []
    graph.start(tmp_path, mask_classes=['road']).flow()
    graph.listen('mask', masks)
    graph.stream(lambda: masks)
    assert WORDS[-1] == 'road'
    assert masks[-1].encoding == 'mono8'
    assert stamp_of(masks[0]) in [stamp_of(labels) for labels in graph.labels]
    assert (pixels(masks[-1]) == 255).all()
    assert graph.set_each(mask_classes='sky') == ['']
    graph.stream(lambda: not pixels(masks[-1]).any())


def test_vocabulary_that_lacks_a_mask_class_is_refused(graph, tmp_path):
    graph.start(tmp_path, mask_classes='road').flow()
    reason, = graph.set_each(vocabulary='car, bus')
    assert "mask_classes has 'road'" in reason
    assert graph.set_atomically(vocabulary='car, bus', mask_classes='bus') == ''


def make_depth(stamp, metres=2.0, size=(64, 48), frame='camera_optical'):
    width, height = size
    message = Image(width=width, height=height, encoding='32FC1', step=4 * width)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame
    message.data = array.array('B', np.full((height, width), metres, np.float32).tobytes())
    return message


def make_info(size=(64, 48)):
    width, height = size
    return CameraInfo(width=width, height=height, k=[
        50.0, 0.0, width / 2, 0.0, 50.0, height / 2, 0.0, 0.0, 1.0])


def send_with_depth(graph, info=make_info(), offset=0, **depth):
    def make(stamp):
        if info:
            graph.send_to('camera_info', info)
        graph.send_to('depth', make_depth((stamp[0], stamp[1] + offset), **depth))
        return make_image(stamp=stamp)

    return make


def read_points(cloud):
    """Return the points as a structured array, as the definition of the message has it."""
    kinds = {6: '<u4', 7: '<f4', 2: 'u1'}
    return np.frombuffer(cloud.data, np.dtype({
        'names': [field.name for field in cloud.fields],
        'formats': [kinds[field.datatype] for field in cloud.fields],
        'offsets': [field.offset for field in cloud.fields], 'itemsize': cloud.point_step}))


def test_points_carry_position_label_and_colour(graph, tmp_path):
    clouds = []
    graph.start(tmp_path).flow()
    graph.listen('points', clouds, PointCloud2)
    cloud = stream_to(graph, 'image', send_with_depth(graph), lambda: clouds and clouds[-1])
    points = read_points(cloud)
    assert cloud.header.frame_id == 'camera_optical'
    assert len(points) == cloud.width * cloud.height == 64 * 48
    assert (points['z'] == 2).all()
    assert points['x'].min() == pytest.approx(2 * -32 / 50)
    assert points['y'].max() == pytest.approx(2 * (47 - 24) / 50)
    assert (points['label'] == len(WORDS) - 1).all()
    assert cloud.header.stamp.sec >= 3000


def test_a_calibration_that_was_latched_will_do(graph, tmp_path):
    clouds = []
    latched = graph.client.create_publisher(CameraInfo, 'camera_info', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    latched.publish(make_info())
    graph.start(tmp_path).flow()
    graph.listen('points', clouds, PointCloud2)
    stream_to(graph, 'image', send_with_depth(graph, info=None), lambda: clouds)


def test_points_are_dense_or_organized(graph, tmp_path, capfd):
    clouds = []
    graph.start(tmp_path).flow()
    graph.listen('points', clouds, PointCloud2)
    make = send_with_depth(graph, metres=np.nan)
    cloud = stream_to(graph, 'image', make, lambda: clouds and clouds[-1])
    assert (cloud.width, cloud.height) in ((0, 1), (0, 0))
    assert graph.set_each(points_layout='organized') == ['']
    cloud = stream_to(
        graph, 'image', make, lambda: clouds[-1].height == 48 and clouds[-1])
    assert (cloud.width, cloud.is_dense) == (64, False)
    assert np.isnan(read_points(cloud)['z']).all()
    assert graph.node._pipeline.cameras[0].doubts() == {}
    # Depth of the same size from another place: points come, with a warning.
    stray = send_with_depth(graph, frame='depth_optical')
    both = "depth images are in frame 'depth_optical' and images in 'camera_optical'"
    seen = len(clouds)
    stream_to(graph, 'image', stray, lambda: len(clouds) > seen and any(
        both in status.message and status.level == status.WARN for status in graph.statuses))
    stream_to(graph, 'image', make, lambda: not graph.node._pipeline.cameras[0].doubts())
    assert capfd.readouterr().err.count(both) == 1


def test_depth_is_subscribed_to_only_for_points(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.client.count_subscribers('/depth') == 0
    subscription = graph.listen('points', [], PointCloud2)
    graph.stream(lambda: [graph.client.count_subscribers(topic)
                          for topic in ('/depth', '/camera_info')] == [1, 1])
    graph.client.destroy_subscription(subscription)
    graph.stream(lambda: not graph.client.count_subscribers('/depth'))


def test_points_need_depth_within_the_slop(graph, tmp_path):
    clouds = []
    graph.start(tmp_path, depth_slop=0.001).flow()
    graph.listen('points', clouds, PointCloud2)
    make = send_with_depth(graph, offset=4 * 10**6)
    seen = len(graph.labels)
    stream_to(graph, 'image', make, lambda: len(graph.labels) > seen + 20)
    assert not clouds
    assert graph.set_each(depth_slop=0.005) == ['']
    stream_to(graph, 'image', make, lambda: clouds)


def test_cameras_are_read_from_the_topics_of_their_drivers(graph, tmp_path):
    masks, clouds = [], []
    graph.start(tmp_path, listen=False, remappings=['/rear/color/image_raw:=/usb_cam/image_raw'],
                cameras=['front', 'rear'], image_topic='/{camera}/color/image_raw',
                depth_topic='{camera}/aligned_depth_to_color/image_raw',
                camera_info_topic='/{camera}/color/camera_info')
    graph.listen('rear/labels', masks)
    stream_to(graph, '/usb_cam/image_raw', lambda stamp: make_image(stamp=stamp), lambda: masks)
    graph.listen('front/points', clouds, PointCloud2)

    def make(stamp):
        graph.send_to('/front/color/camera_info', make_info())
        graph.send_to('/front/aligned_depth_to_color/image_raw', make_depth(stamp))
        return make_image(stamp=stamp)

    cloud = stream_to(graph, '/front/color/image_raw', make, lambda: clouds and clouds[-1])
    assert (read_points(cloud)['z'] == 2).all()
    refused, invalid = graph.set_each(image_topic='/{camera}/image', depth_topic='/{cam}/depth')
    assert 'image_topic cannot change while the model is loaded' in refused
    assert 'depth_topic' in invalid and 'cannot have {cam}, only {camera}' in invalid


@pytest.mark.parametrize('make_message, reason', [
    (lambda graph: send_with_depth(graph, make_info((64, 64))), 'another view'),
    (lambda graph: send_with_depth(graph, CameraInfo(width=64, height=48)), 'calibrat'),
])
def test_points_that_cannot_be_are_explained_and_labels_go_on(
        graph, tmp_path, make_message, reason):
    graph.start(tmp_path).flow()
    clouds = []
    graph.listen('points', clouds, PointCloud2)
    stream_to(graph, 'image', make_message(graph), lambda: graph.report().totals['bad_depth'])
    assert reason in graph.report().last_error
    seen = len(graph.labels)
    stream_to(graph, 'image', make_message(graph), lambda: len(graph.labels) > seen)
    assert not clouds
    status = wait_for(lambda: [item for item in graph.statuses if reason in item.message])[-1]
    assert status.level == status.WARN


def test_missing_depth_is_warned_of(graph, tmp_path, capfd):
    graph.start(tmp_path).flow()
    graph.listen('points', [], PointCloud2)
    graph.stream(lambda: graph.client.count_subscribers('/depth'))

    def warned():
        printed = capfd.readouterr().err
        return all(f'nobody publishes {topic}' in printed for topic in ('/depth', '/camera_info'))

    graph.stream(warned)


def test_labels_for_autoware_come_with_their_listener(graph, tmp_path):
    messages = []
    graph.start(tmp_path, vocabulary='car, road').flow()
    graph.listen('autoware_mask', messages)
    message = graph.stream(lambda: messages and messages[-1])
    # All pixels are one run: an id of one byte, and a count of four.
    assert len(message.data) == 5
    assert int.from_bytes(bytes(message.data[1:]), 'little') == 64 * 48
    assert Vocabulary.parse('car, road').names[-1] == 'road'
