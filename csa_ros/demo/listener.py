"""Listens to the demo: matches pictures, truths and labels by stamp, and scores the labels."""

from collections import OrderedDict
import json
import time

from csa_ros import draw
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.ros.images import to_rgb
from csa_ros.vocabulary import UNKNOWN
import numpy as np
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

SERVICE_TIMEOUT = 30.0
# Frames that wait for their other messages; more than that were lost on the way.
WAITING_FRAMES = 60
# The overlay's own default, so that the two pictures compare.
TRUTH_ALPHA = 0.5
STREAM = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


class DemoError(RuntimeError):
    """The demo did not do what it shows."""


class Score:
    """What was seen while one vocabulary was in force."""

    def __init__(self, classes):
        """Start counting for `classes` classes."""
        self.matrix = np.zeros((classes, classes + 1), np.int64)
        self.frames, self.latencies = 0, []
        self.began = time.monotonic()

    def add(self, truth, labels, latency):
        """Count one frame: two (H, W) uint8 maps and its age on arrival in seconds."""
        self.matrix += confusion(truth, labels, len(self.matrix))
        self.frames += 1
        self.latencies.append(latency)

    @property
    def miou(self):
        """Mean intersection over union of the classes that appeared."""
        return float(np.nanmean(iou(self.matrix)))

    def __str__(self):
        """Return the line that the demo prints."""
        rate = self.frames / (time.monotonic() - self.began)
        p50, p95 = np.percentile(self.latencies, (50, 95)) * 1000
        return (f'{self.frames} frames, {rate:.1f} frames/s, latency {p50:.0f} ms (p95 {p95:.0f}),'
                f' mIoU {self.miou:.2f}')


class Listener(Node):
    """Matches pictures, truths and labels by stamp, and scores the labels."""

    def __init__(self):
        """Subscribe to everything that the camera and the node publish."""
        super().__init__('demo_listener')
        self._frames = OrderedDict()
        self._complete = None
        self._true_names = None
        self._legends = {}
        self.legend, self.score, self.picture = None, None, None
        for topic, key in (('image', 'image'), ('true_labels', 'truth'),
                           ('segment/labels', 'labels'), ('segment/overlay', 'overlay')):
            self.create_subscription(
                Image, topic, lambda message, key=key: self._on_image(key, message), STREAM)
        self.create_subscription(String, 'true_classes', self._on_classes, LATCHED)
        self.create_subscription(String, 'segment/legend', self._on_legend, LATCHED)
        # Humble's rclpy has no client for parameters.
        self._segment_parameters = self.create_client(SetParameters, 'segment/set_parameters')

    def set_vocabulary(self, entries):
        """Set the node's words through its parameter service; DemoError if it refuses them."""
        value = Parameter('vocabulary', value=list(entries)).to_parameter_msg()
        if not self._segment_parameters.wait_for_service(SERVICE_TIMEOUT):
            raise DemoError('the parameter service of /segment did not appear')
        future = self._segment_parameters.call_async(SetParameters.Request(parameters=[value]))
        rclpy.spin_until_future_complete(self, future, timeout_sec=SERVICE_TIMEOUT)
        if not future.done():
            raise DemoError('the parameter service of /segment did not answer')
        result = future.result().results[0]
        if not result.successful:
            raise DemoError(result.reason)

    def _on_classes(self, message):
        self._true_names = message.data.split(', ')

    def _on_legend(self, message):
        legend = json.loads(message.data)
        stamp = legend['stamp']['sec'], legend['stamp']['nanosec']
        self._legends[stamp] = legend

    def _on_image(self, key, message):
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        frame = self._frames.setdefault(stamp, {})
        frame[key] = message
        if key == 'labels':
            now = self.get_clock().now().nanoseconds
            frame['latency'] = (now - stamp[0] * 10 ** 9 - stamp[1]) * 1e-9
        if len(frame) == 5 and self._true_names:
            del self._frames[stamp]
            # One frame late: a legend is published before its first mask, but another topic may
            # still be delivered after it.
            if self._complete:
                self._judge(*self._complete)
            self._complete = stamp, frame
        while len(self._frames) > WAITING_FRAMES:
            self._frames.popitem(last=False)

    def _judge(self, stamp, frame):
        self._take_legend(stamp)
        if self.legend is None:
            return
        labels = _mono(frame['labels'])
        if (labels[labels != UNKNOWN] >= len(self.legend['classes'])).any():
            raise DemoError('a label image holds an id that its legend does not have')
        truth = self._translate(_mono(frame['truth']))
        self.score.add(truth, labels, frame['latency'])
        self.picture = to_rgb(frame['image']), to_rgb(frame['overlay']), truth

    def _take_legend(self, stamp):
        """Make the newest legend that covers a stamp the one in force."""
        covering = [s for s in self._legends if s <= stamp]
        if covering:
            legend = self._legends[max(covering)]
            if legend is not self.legend:
                self.legend = legend
                self.score = Score(len(legend['classes']))

    def _translate(self, truth):
        """Turn the camera's class ids into the legend's; 255 where no class of it fits."""
        table = np.full(256, UNKNOWN, np.uint8)
        for entry in self.legend['classes']:
            for index, name in enumerate(self._true_names):
                if name in entry['queries']:
                    table[index] = entry['id']
        return table[truth]

    def draw(self):
        """Return the newest frame as one (H, 3 W, 3) picture: input, overlay and truth."""
        rgb, overlay, truth = self.picture
        colors = np.array([entry['color'] for entry in self.legend['classes']], np.uint8)
        return np.hstack([rgb, overlay, draw.overlay(rgb, truth, colors, TRUTH_ALPHA)])


def _mono(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[
        :, :message.width]
