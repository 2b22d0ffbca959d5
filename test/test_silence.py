"""What is said while nothing arrives names the topic, the reason and the next step."""

import os

from csa_ros.ros.silence import CAMERA_INFO
from csa_ros.ros.silence import explain_images
from csa_ros.ros.silence import explain_topic
from csa_ros.ros.silence import IMAGE
from graph import wait_for
import pytest
import rclpy
from rclpy.context import Context
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import String

RAW, JPEG, INFO, TEXT = Image, CompressedImage, CameraInfo, String
# A camera as drivers with image_transport have it.
CAMERA = {'/cam/image_raw': RAW, '/cam/image_raw/compressed': JPEG, '/cam/camera_info': INFO,
          '/cam/image_raw/compressedDepth': JPEG, '/cam/image_raw/zstd': JPEG}


@pytest.fixture(scope='module')
def context():
    context = Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def listener(context):
    """Return a function that makes a node beside a driver that publishes topics."""
    nodes = []

    def listen(published, *rules):
        driver, node = (
            rclpy.create_node(name, context=context, use_global_arguments=False, cli_args=[
                '--ros-args', *(item for rule in given for item in ('-r', rule))])
            for name, given in (('driver', ()), ('segment', rules)))
        nodes.extend([driver, node])
        for topic, kind in published.items():
            driver.create_publisher(kind, topic, 1)
        wait_for(lambda: all(node.count_publishers(topic) for topic in published))
        return node

    yield listen
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize('published, rules, asked, transport, said', [
    # The topic of a transport in the place of its base.
    (CAMERA, ['image:=/cam/image_raw/compressed'], 'image', 'raw',
     ['it carries sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image',
      '`transport: compressed`', 'base topic, /cam/image_raw, as image_topic']),
    (CAMERA, ['image:=/cam/image_raw/compressed'], 'image', 'compressed',
     ['nobody publishes it', '`transport: compressed`',
      'base topic, /cam/image_raw, as image_topic']),
    (CAMERA, [], '/cam/image_raw/compressed', 'raw', ['base topic, /cam/image_raw,']),
    (CAMERA, [], '/cam/image_raw/compressed', 'compressed', ['base topic, /cam/image_raw,']),
    # One that is no picture, or not one for the node: what there is beside it.
    (CAMERA, ['image:=/cam/image_raw/compressedDepth'], 'image', 'raw',
     ['it carries', 'there is /cam/image_raw;', 'image_topic',
      '-r image:=/cam/image_raw']),
    (CAMERA, [], '/cam/image_raw/compressedDepth', 'compressed', ['there is /cam/image_raw;']),
    (CAMERA, [], '/cam/image_raw/zstd', 'raw', ['there is /cam/image_raw;']),
    (CAMERA, [], '/cam/image_raw/zstd', 'compressed', ['there is /cam/image_raw;']),
    (CAMERA, [], '/cam/camera_info', 'raw', ['carries sensor_msgs/msg/CameraInfo',
                                             'there is /cam/image_raw;']),
    (CAMERA, [], '/cam/camera_info', 'compressed',
     ['nobody publishes it', 'there is /cam/image_raw;']),
    ({**CAMERA, '/cam/image_raw/theora': TEXT}, [], '/cam/image_raw/theora', 'raw',
     ['carries std_msgs/msg/String', 'there is /cam/image_raw;']),
    # The right base and the wrong transport.
    ({'/cam/image_raw/compressed': JPEG}, ['image:=/cam/image_raw'], 'image', 'raw',
     ['nobody publishes it:', 'there is /cam/image_raw/compressed',
      '`transport: compressed`']),
    ({'/image': RAW}, [], 'image', 'compressed', ['there is /image', '`transport: raw`']),
    # Compressed images whose topic does not end as image_transport has it.
    ({'/cam/image_compressed': JPEG}, ['image:=/cam/image_compressed'], 'image', 'raw',
     ['-r /cam/image_compressed/compressed:=/cam/image_compressed', '`transport: compressed`']),
    ({'/cam/image_compressed': JPEG}, [], '/cam/image_compressed', 'compressed',
     ['-r /cam/image_compressed/compressed:=/cam/image_compressed', '`transport: compressed`']),
    # Rules for what is listened to with `transport: compressed`.
    ({'/cam/jpeg': JPEG}, ['image/compressed:=/cam/jpeg'], 'image', 'raw',
     ['nobody publishes it:', 'there is /cam/jpeg, for which set `transport: compressed`']),
    ({'/cam/jpeg': JPEG}, ['image/compressed:=/cam/jpeg', 'image:=/cam/image_raw'], 'image', 'raw',
     ['image/compressed is remapped to /cam/jpeg', '`transport: compressed`',
      'leave image as it is']),
    ({'/cam/jpeg': JPEG}, ['image/compressed:=/cam/jpeg', 'image:=/cam/image_raw'], 'image',
     'compressed', ['nobody publishes it', 'leave image as it is']),
    ({'/cam/image_raw': RAW}, ['image/compressed:=/cam/image_raw'], 'image', 'compressed',
     ['it carries sensor_msgs/msg/Image', '`transport: raw`', 'image_topic']),
    # Nothing of that name: the nearest of what there is.
    (CAMERA, [], 'image', 'raw', ['nobody publishes it:', 'there is /cam/image_raw;']),
    (CAMERA, [], 'image', 'compressed', ['nobody publishes it:',
                                         'there is /cam/image_raw;']),
    ({'/front/color/image_raw': RAW, '/rear/color/image_raw': RAW, '/rear/depth': RAW,
      '/map': RAW}, [], 'front/image', 'raw',
     ['there is /front/color/image_raw, ', ' and 1 more;', '-r front/image:=/front/color/im']),
    ({'/cam/image_raw/compressed': JPEG}, [], 'image', 'raw',
     ['there is /cam/image_raw (`transport: compressed`);']),
    ({'/cam/image_raw': RAW}, [], 'image', 'compressed', ['/cam/image_raw (`transport: raw`);']),
    ({'/image': TEXT}, [], 'image', 'raw', ['it carries std_msgs/msg/String', 'topic list']),
    ({}, [], 'image', 'raw', ['nobody publishes it: find the camera with `ros2 topic list -t`',
                              'image_topic', '--ros-args -r image:=/the/topic']),
])
def test_silence_of_images_is_explained(listener, published, rules, asked, transport, said):
    reason = explain_images(listener(published, *rules), asked, transport)
    for words in said:
        assert words in reason


@pytest.mark.parametrize('rules, asked, transport', [
    (['image:=/cam/image_raw'], 'image', 'raw'),
    (['image:=/cam/image_raw'], 'image', 'compressed'),
    (['image/compressed:=/cam/image_raw/compressed'], 'image', 'compressed'),
    (['/cam/image_raw/zstd/compressed:=/cam/image_raw/compressed'], '/cam/image_raw/zstd',
     'compressed'),
])
def test_images_that_can_arrive_need_no_explanation(listener, rules, asked, transport):
    assert explain_images(listener(CAMERA, *rules), asked, transport) == ''


@pytest.mark.parametrize('rules, asked, type_name, said', [
    ([], 'depth', IMAGE, ['nobody publishes /depth:', '/cam/image_raw', 'depth_topic']),
    (['depth:=/cam/image_raw/compressedDepth'], 'depth', IMAGE,
     ['compressedDepth carries sensor_msgs/msg/CompressedImage', 'there is /cam/image_raw;',
      '-r depth:=/cam/image_raw']),
    ([], '/cam/camera_info', IMAGE, ['carries sensor_msgs/msg/CameraInfo']),
    (['camera_info:=/cam/image_raw'], 'camera_info', CAMERA_INFO,
     ['/cam/image_raw carries sensor_msgs/msg/Image', 'there is /cam/camera_info;']),
    ([], '/cam/camera_info', CAMERA_INFO, []),
])
def test_silence_of_depth_and_calibration_is_explained(listener, rules, asked, type_name, said):
    parameter = 'camera_info_topic' if type_name == CAMERA_INFO else 'depth_topic'
    reason = explain_topic(listener(CAMERA, *rules), asked, type_name, parameter)
    assert bool(reason) == bool(said)
    for words in said:
        assert words in reason


def test_what_the_node_publishes_is_not_recommended_to_it(listener):
    node = listener(CAMERA)
    node.create_publisher(Image, '~/image', 1)
    wait_for(lambda: node.count_publishers('/segment/image'))
    assert '/segment/image' not in explain_images(node, 'image', 'raw')
