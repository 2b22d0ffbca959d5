"""Hears every legend of a segment node, those from before it came included."""

from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.ros.context import initialize
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import String

WAIT_PERIOD = 10.0


class LegendListener(Node):
    """
    Gives the JSON of every legend on a topic to `take`, which says whether it was enough.

    What `take` raises as ValueError or OSError is logged, and the next legend is waited for.
    """

    def __init__(self, name: str, topic: str, take: Callable[[str], bool]) -> None:
        super().__init__(name)
        self.done = False
        self._take = take
        self._subscription = self.create_subscription(
            String, topic, self._on_legend, QoSProfile(
                depth=1, reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._waiting = self.create_timer(WAIT_PERIOD, self._remind)

    def _on_legend(self, message: String) -> None:
        self._waiting.cancel()
        try:
            self.done = self._take(message.data)
        except (OSError, ValueError) as error:
            self.get_logger().error(str(error))

    def _remind(self) -> None:
        topic = self._subscription.topic_name
        self.get_logger().warning(
            f'no legend yet on {topic}, which has {self.count_publishers(topic)} publishers; a '
            'segment node publishes one when it is activated')


def listen(name: str, topic: str, take: Callable[[str], bool], ros_args: Sequence[str]) -> None:
    """
    Run a LegendListener of this name until `take` returns true, or the process is told to.

    Raises StartError for bad `ros_args`.
    """
    initialize(name, [name, *ros_args])
    try:
        listener = LegendListener(name, topic, take)
        while not listener.done:
            rclpy.spin_once(listener)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
