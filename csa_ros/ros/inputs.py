"""What the node listens to, and why nothing may be arriving."""

from collections.abc import Callable

from csa_ros.ros.silence import CAMERA_INFO
from csa_ros.ros.silence import COMPRESSED_IMAGE
from csa_ros.ros.silence import explain_images
from csa_ros.ros.silence import explain_topic
from csa_ros.ros.silence import IMAGE
from csa_ros.ros.subscription import AdaptiveSubscription
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

# By transport: type, its name, and what image_transport puts behind the name of the topic.
_TRANSPORTS = {'raw': (Image, IMAGE, ''),
               'compressed': (CompressedImage, COMPRESSED_IMAGE, '/compressed')}


class ImageInput:
    """
    The subscription to the pictures of one camera; `on_image` gets each message.

    `topic` is that of raw images; with `transport` `compressed`, its remapped name with
    `/compressed` behind it is subscribed to, as image_transport does. Depth 1. `on_lost` is told
    how many images got lost on their way.
    """

    def __init__(self, node: LifecycleNode, topic: str, transport: str,
                 on_image: Callable[[Image | CompressedImage], None],
                 on_lost: Callable[[int], None]) -> None:
        self._node = node
        self._asked = topic
        self._transport = transport
        message_type, type_name, suffix = _TRANSPORTS[transport]
        self._subscription = AdaptiveSubscription(
            node, message_type, type_name, node.resolve_topic_name(topic) + suffix, on_image,
            on_lost)

    @property
    def topic(self) -> str:
        """Return the full name, after remapping."""
        return self._subscription.topic

    @property
    def reliable(self) -> bool:
        """Return whether images that get lost are sent again."""
        return self._subscription.reliable

    def follow_publishers(self) -> None:
        """Subscribe as the publishers offer; to be called every second."""
        self._subscription.follow()

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
        if not any(self._subscription.fits(publisher.qos_profile) for publisher in publishers):
            return ('the QoS of its publishers does not fit that of this subscription: see '
                    f'`ros2 topic info -v {self.topic}` and the qos_overrides parameters')
        return ('its publishers are connected but send nothing, or images too large for the '
                f'transport get lost: see `ros2 topic hz {self.topic}`')

    def destroy(self) -> None:
        """Take the subscription off the graph."""
        self._subscription.destroy()


class DepthInput:
    """
    The subscriptions to a camera's registered depth images and to its calibration.

    `on_lost` is told how many depth images got lost on their way.
    """

    def __init__(self, node: LifecycleNode, depth: str, camera_info: str,
                 on_depth: Callable[[Image], None], on_info: Callable[[CameraInfo], None],
                 on_lost: Callable[[int], None]) -> None:
        self._node = node
        self._asked = ((depth, IMAGE, 'depth_topic'),
                       (camera_info, CAMERA_INFO, 'camera_info_topic'))
        self._subscriptions = [
            # Every depth image may be the one that belongs to a frame: a burst must not lose any.
            AdaptiveSubscription(node, Image, IMAGE, depth, on_depth, on_lost, depth=5),
            # Another one of the same content comes, unless it is latched.
            AdaptiveSubscription(
                node, CameraInfo, CAMERA_INFO, camera_info, on_info, lambda count: None)]

    def follow_publishers(self) -> None:
        """Subscribe as the publishers offer; to be called every second."""
        for subscription in self._subscriptions:
            subscription.follow()

    def explain_silence(self) -> str:
        """Return what is wrong with the topics, if anything, and what to do."""
        return '; '.join(filter(None, [
            explain_topic(self._node, topic, type_name, parameter)
            for topic, type_name, parameter in self._asked]))

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        for subscription in self._subscriptions:
            subscription.destroy()
