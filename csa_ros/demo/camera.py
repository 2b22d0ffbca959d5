"""A camera that drives through rendered streets: images, camera info and true labels."""

from collections.abc import Iterator
import itertools
import signal
import sys
from typing import Any
from typing import NamedTuple

from csa_ros.demo.acting import ACTIONS
from csa_ros.demo.acting import ActionStreet
from csa_ros.demo.acting import SECONDS
from csa_ros.demo.hard import demo_street
from csa_ros.demo.hard import HARD_DEMO
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Frame
from csa_ros.demo.scenes import Scene
from csa_ros.ros import compressed
from csa_ros.ros.context import initialize
from csa_ros.ros.context import StartError
from csa_ros.ros.context import warn_of_unknown
from csa_ros.ros.images import to_message
from csa_ros.ros.images import to_rgb
from csa_ros.ros.usage import asks_for_help
from csa_ros.ros.usage import usage
import cv2
import numpy as np
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String

FRAME_ID = 'demo_camera'
# Plays all actions, one after the other.
ALL = 'all'
# Of the JPEGs on image/compressed: that of image_transport.
QUALITY = 95
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


def nv12(rgb: np.ndarray) -> np.ndarray:
    """
    Return a picture, (H, W, 3) uint8 with even H and W, as NV12: (3 H / 2, W) uint8.

    The luma rows are followed by rows of U and V in turn, one pair for each 2 x 2 pixels; ITU-R
    BT.601 in the limited range.
    """
    height, width = rgb.shape[:2]
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    chroma = planes[height:].reshape(2, -1).T
    return np.vstack([planes[:height], chroma.reshape(height // 2, width)])


# How a picture is laid out in a message of each encoding, and the samples of a pixel in a row.
ENCODINGS = {
    'rgb8': (lambda rgb: rgb, 3),
    'bgr8': (lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), 3),
    'nv12': (nv12, 1),
}


def image_message(rgb: np.ndarray, encoding: str) -> Image:
    """Return a picture, (H, W, 3) uint8, as a message in one of ENCODINGS."""
    lay_out, samples = ENCODINGS[encoding]
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=samples * width)
    message.data.frombytes(np.ascontiguousarray(lay_out(rgb)))
    return message


class CameraParameter(NamedTuple):
    """One parameter of the camera, which is read when it starts."""

    name: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None
    constraints: str = ''


PARAMETERS = (
    CameraParameter('seed', 0, 'Seed of the first street.', (0, 2**31 - 1)),
    CameraParameter('rate', 10.0, 'Frames per second.', (0.1, 60.0)),
    CameraParameter('width', 320, 'Image width in pixels.', (64, 4096)),
    CameraParameter('height', 240, 'Image height in pixels.', (64, 4096)),
    CameraParameter('stay', 8.0, 'Seconds spent in each street.', (0.1, 86400.0)),
    CameraParameter(
        'hard', HARD_DEMO, 'Streets as a real camera sees them, with shadows, clutter, motion '
        'blur, noise and more; what is of no class has the label 255.'),
    CameraParameter(
        'action', '', 'What happens in each street, once, at its beginning; empty for a drive.',
        constraints=f'{ALL}, for one after the other, or one of {", ".join(ACTIONS)}'),
    CameraParameter(
        'loop', 0, 'Frames that are rendered at the start and then repeated, so that rendering '
        'takes no time from what is measured; 0 renders every frame.', (0, 1000)),
    CameraParameter(
        'encoding', 'rgb8', 'Encoding of the image.', constraints=' or '.join(ENCODINGS)),
)


class _Moment(NamedTuple):
    """What is published at a time; `action` is the one that is just over, '' if none is."""

    image: Image
    info: CameraInfo
    labels: Image
    action: str


class DemoCamera(Node):
    """
    Publishes a drive through one street after another.

    `image` (rgb8 or another of ENCODINGS), `image/compressed` for those who listen to it,
    `camera_info`, and `true_labels` (mono8, ids as in
    `true_classes`, a latched comma-separated String) have the same stamp and frame id. With
    `action`, `true_action` (String) says what has happened as soon as it is over. Raises
    ValueError for an action that is unknown, and an encoding that is or does not fit the size.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('demo_camera', **kwargs)
        values = {item.name: self._declare(item) for item in PARAMETERS}
        warn_of_unknown(self)
        self._seed, self._rate, self._stay = values['seed'], values['rate'], values['stay']
        self._size = values['width'], values['height']
        self._hard: bool = values['hard']
        self._encoding: str = values['encoding']
        self._check_encoding()
        self._actions = self._read_action(values['action'])
        self._images = self.create_publisher(Image, 'image', STREAM)
        # Beside the image wherever that is remapped to, as image_transport has it.
        self._compressed = self.create_publisher(
            CompressedImage, self.resolve_topic_name('image') + '/compressed', STREAM)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', STREAM)
        self._truths = self.create_publisher(Image, 'true_labels', STREAM)
        self._classes = self.create_publisher(String, 'true_classes', LATCHED)
        self._classes.publish(String(data=', '.join(CLASSES)))
        self._deeds = self.create_publisher(String, 'true_action', STREAM)
        self._moments = self._drive()
        if values['loop']:
            self._moments = itertools.cycle(
                list(itertools.islice(self._moments, values['loop'])))
        self.create_timer(1 / self._rate, self._publish)
        does = 'Watching' if self._actions else 'Driving through'
        self.get_logger().info(
            f'{does} rendered streets: {self._size[0]}x{self._size[1]} at '
            f'{self._rate:g} Hz on {self.resolve_topic_name("image")}, truth on '
            f'{self.resolve_topic_name("true_labels")}')

    def _declare(self, item: CameraParameter) -> Any:
        descriptor = ParameterDescriptor(description=item.description, read_only=True,
                                         additional_constraints=item.constraints)
        low, high = item.bounds or (0, 0)
        if item.bounds and isinstance(item.default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        elif item.bounds:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return self.declare_parameter(item.name, item.default, descriptor).value

    def _check_encoding(self) -> None:
        if self._encoding not in ENCODINGS:
            raise ValueError(f'encoding is {self._encoding!r}: use {" or ".join(ENCODINGS)}')
        if self._encoding == 'nv12' and any(side % 2 for side in self._size):
            width, height = self._size
            raise ValueError(f'an nv12 image cannot have {width} x {height} pixels: make width '
                             'and height even')

    def _read_action(self, value: str) -> tuple[str, ...]:
        """Return the actions that are played in turn, none for a drive."""
        if value and value != ALL and value not in ACTIONS:
            raise ValueError(f'action is {value!r}: use {ALL}, or one of {", ".join(ACTIONS)}')
        if value and self._stay < SECONDS:
            raise ValueError(f'stay is {self._stay:g} s: an action takes {SECONDS:g} s, make it '
                             'that at least')
        return ACTIONS if value == ALL else (value,) if value else ()

    def _action(self, seed: int) -> str:
        return self._actions[seed % len(self._actions)] if self._actions else ''

    def _street(self, seed: int) -> Scene:
        action = self._action(seed)
        return ActionStreet(seed, action) if action else demo_street(seed, self._hard)

    def _drive(self) -> Iterator['_Moment']:
        """Yield one moment after another, whose messages have no headers, for ever."""
        for seed in itertools.count(self._seed):
            scene, time = self._street(seed), 0.0
            while time < self._stay:
                frame = scene.render(time, self._size)
                is_over = time < SECONDS <= time + 1 / self._rate
                yield _Moment(
                    image_message(frame.rgb, self._encoding), camera_info(frame, Header()),
                    to_message(frame.labels, 'mono8', Header()),
                    self._action(seed) if is_over else '')
                time += 1 / self._rate

    def _publish(self) -> None:
        moment = next(self._moments)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        for publisher, message in zip((self._images, self._infos, self._truths), moment):
            message.header = header
            publisher.publish(message)
        if self._compressed.get_subscription_count():
            self._compressed.publish(compressed.to_message(to_rgb(moment.image), header, QUALITY))
        if moment.action:
            self._deeds.publish(String(data=moment.action))


def main(args: list[str] | None = None) -> int:
    """Run the demo camera until interrupted, or print its usage; return the exit status."""
    args = sys.argv if args is None else args
    if asks_for_help(args[1:]):
        print(usage('demo_camera', __doc__, [
            (item.name, ' '.join(filter(None, [
                item.description, item.constraints and f'Takes {item.constraints}.',
                f'(default: {item.default})']))) for item in PARAMETERS]))
        return 0
    try:
        initialize('demo_camera', args, [item.name for item in PARAMETERS])
        rclpy.spin(DemoCamera())
    except (StartError, ParameterException, ValueError) as error:
        get_logger('demo_camera').fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal between rendering a frame and publishing it is no error.
        if rclpy.ok():
            raise
    finally:
        # launch repeats the Ctrl-C that the terminal has sent: leave the rest its time.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()
        signal.signal(signal.SIGINT, handler)
    return 0
