"""A listener to images in a process of its own, which is there soon: it needs no PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
import multiprocessing

from csa_ros.ros.context import initialize
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image


def listen(namespace: str, topics: tuple[str, ...]) -> None:
    """Subscribe to outputs of the node, and leave the messages as they come, until the end."""
    initialize('listener', ['listener'])
    node = rclpy.create_node('listener', namespace=namespace)
    for topic in topics:
        node.create_subscription(
            Image, f'segment/{topic}', lambda _: None, QoSProfile(depth=1), raw=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


@contextmanager
def listener(namespace: str, topics: tuple[str, ...]) -> Iterator[None]:
    """Listen in a process of its own."""
    process = multiprocessing.get_context('spawn').Process(
        target=listen, args=(namespace, topics), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
