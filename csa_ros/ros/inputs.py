"""What the node listens to, and why nothing may be arriving."""

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import HistoryPolicy
from rclpy.qos import qos_check_compatible
from rclpy.qos import QoSCompatibility
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image

_TYPE = 'sensor_msgs/msg/Image'


class ImageInput:
    """
    The subscription to one camera; `on_image` gets each message.

    Sensor-data QoS, so that it connects to every publisher; depth 1, so that no frame is old.
    rclpy logs a publisher whose QoS does not fit, which only `qos_overrides` can bring about.
    """

    def __init__(self, node: LifecycleNode, topic: str,
                 on_image: Callable[[Image], None]) -> None:
        self._node = node
        self._asked = topic
        self._subscription = node.create_subscription(
            Image, topic, on_image,
            QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                       reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

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
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            return (f'nobody publishes it. Find the camera with `ros2 topic list -t` and remap: '
                    f'--ros-args -r {self._asked}:=/the/topic')
        types = sorted({publisher.topic_type for publisher in publishers})
        if _TYPE not in types:
            return f'it carries {", ".join(types)}, not {_TYPE}: remap to another topic'
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
