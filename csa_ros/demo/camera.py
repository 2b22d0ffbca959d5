"""A camera that drives through rendered streets: images, camera info and true labels."""

from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.ros.images import to_message
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String

FRAME_ID = 'demo_camera'
# Reliable, because RViz's Image display asks for it; a slow listener costs the camera one frame.
STREAM = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


def camera_info(frame: Frame, header: Header) -> CameraInfo:
    """Return the pinhole model, without distortion, that a frame was rendered with."""
    height, width = frame.labels.shape
    focal, (x, y) = float(frame.focal), map(float, frame.center)
    return CameraInfo(
        header=header, height=height, width=width, distortion_model='plumb_bob', d=[0.0] * 5,
        k=[focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0])


class DemoCamera(Node):
    """
    Publishes a drive through one street after another.

    `image` (rgb8), `camera_info`, and `true_labels` (mono8, ids as in `true_classes`, a latched
    comma-separated String) have the same stamp and frame id.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__('demo_camera', **kwargs)
        self._seed = self._declare('seed', 0, (0, 2**31 - 1), 'Seed of the first street.')
        rate = self._declare('rate', 10.0, (0.1, 60.0), 'Frames per second.')
        self._size = (self._declare('width', 320, (64, 4096), 'Image width in pixels.'),
                      self._declare('height', 240, (64, 4096), 'Image height in pixels.'))
        self._stay = self._declare('stay', 8.0, (0.1, 86400.0), 'Seconds spent in each street.')
        self._images = self.create_publisher(Image, 'image', STREAM)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', STREAM)
        self._truths = self.create_publisher(Image, 'true_labels', STREAM)
        self._classes = self.create_publisher(String, 'true_classes', LATCHED)
        self._classes.publish(String(data=', '.join(CLASSES)))
        self._scene = Scene(self._seed)
        self._time, self._step = 0.0, 1 / rate
        self.create_timer(self._step, self._publish)
        self.get_logger().info(
            f'Driving through rendered streets: {self._size[0]}x{self._size[1]} at {rate:g} Hz on '
            f'{self.resolve_topic_name("image")}, truth on '
            f'{self.resolve_topic_name("true_labels")}')

    def _declare(self, name, default, bounds, description):
        descriptor = ParameterDescriptor(description=description, read_only=True)
        low, high = bounds
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return self.declare_parameter(name, default, descriptor).value

    def _publish(self) -> None:
        frame = self._scene.render(self._time, self._size)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        self._images.publish(to_message(frame.rgb, 'rgb8', header))
        self._infos.publish(camera_info(frame, header))
        self._truths.publish(to_message(frame.labels, 'mono8', header))
        self._time += self._step
        if self._time >= self._stay:
            self._seed, self._time = self._seed + 1, 0.0
            self._scene = Scene(self._seed)


def main(args=None) -> None:
    """Run the demo camera until interrupted."""
    rclpy.init(args=args)
    try:
        rclpy.spin(DemoCamera())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal between rendering a frame and publishing it is no error.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
