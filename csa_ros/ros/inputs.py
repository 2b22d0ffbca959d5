"""What the node listens to, and why nothing may be arriving."""

from collections.abc import Callable
from typing import Any

from csa_ros.ros.silence import CAMERA_INFO
from csa_ros.ros.silence import explain_images
from csa_ros.ros.silence import explain_topic
from csa_ros.ros.silence import IMAGE
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import HistoryPolicy
from rclpy.qos import qos_check_compatible
from rclpy.qos import QoSCompatibility
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

# By transport: type, and what image_transport puts behind the name of the topic.
_TRANSPORTS = {'raw': (Image, ''), 'compressed': (CompressedImage, '/compressed')}


def _subscribe(node: LifecycleNode, message_type: type, topic: str,
               callback: Callable[[Any], None], depth: int = 1) -> Any:
    """Subscribe so that every publisher connects."""
    return node.create_subscription(
        message_type, topic, callback,
        QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth,
                   reliability=ReliabilityPolicy.BEST_EFFORT),
        qos_overriding_options=QoSOverridingOptions.with_default_policies())


class ImageInput:
    """
    The subscription to the pictures of one camera; `on_image` gets each message.

    `topic` is that of raw images; with `transport` `compressed`, its remapped name with
    `/compressed` behind it is subscribed to, as image_transport does. Sensor-data QoS, depth 1.
    rclpy logs a publisher whose QoS does not fit, which only `qos_overrides` can bring about.
    """

    def __init__(self, node: LifecycleNode, topic: str, transport: str,
                 on_image: Callable[[Image | CompressedImage], None]) -> None:
        self._node = node
        self._asked = topic
        self._transport = transport
        message_type, suffix = _TRANSPORTS[transport]
        self._subscription = _subscribe(
            node, message_type, node.resolve_topic_name(topic) + suffix, on_image)

    @property
    def topic(self) -> str:
        """Return the full name, after remapping."""
        return self._subscription.topic_name

    def describe(self) -> str:
        """Return the topic and how many publishers it has."""
        count = len(self._node.get_publishers_info_by_topic(self.topic))
        publishers = {0: 'no publisher yet', 1: '1 publisher'}.get(count, f'{count} publishers')
        return f'{self.topic} ({publishers})'

    def explain_silence(self) -> str:
        """Return the likeliest reason that no image arrives, and what to do."""
        reason = explain_images(self._node, self._asked, self._transport)
        if reason:
            return reason
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not any(self._fits(publisher.qos_profile) for publisher in publishers):
            return ('the QoS of its publishers does not fit that of this subscription: see '
                    f'`ros2 topic info -v {self.topic}` and the qos_overrides parameters')
        return ('its publishers are connected but send nothing, or images too large for the '
                f'transport get lost: see `ros2 topic hz {self.topic}`')

    def destroy(self) -> None:
        """Take the subscription off the graph."""
        self._node.destroy_subscription(self._subscription)

    def _fits(self, offered: QoSProfile) -> bool:
        compatibility, _ = qos_check_compatible(offered, self._subscription.qos_profile)
        return compatibility != QoSCompatibility.ERROR


class DepthInput:
    """The subscriptions to a camera's registered depth images and to its calibration."""

    def __init__(self, node: LifecycleNode, depth: str, camera_info: str,
                 on_depth: Callable[[Image], None], on_info: Callable[[CameraInfo], None]) -> None:
        self._node = node
        self._asked = ((depth, IMAGE, 'depth_topic'),
                       (camera_info, CAMERA_INFO, 'camera_info_topic'))
        # Every depth image may be the one that belongs to a frame: a burst must not lose any.
        self._subscriptions = [_subscribe(node, Image, depth, on_depth, depth=5),
                               _subscribe(node, CameraInfo, camera_info, on_info)]

    def explain_silence(self) -> str:
        """Return what is wrong with the topics, if anything, and what to do."""
        return '; '.join(filter(None, [
            explain_topic(self._node, topic, type_name, parameter)
            for topic, type_name, parameter in self._asked]))

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
