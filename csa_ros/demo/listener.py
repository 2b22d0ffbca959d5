"""Listens to the demo: matches pictures, truths and labels by stamp, and scores the labels."""

from collections import OrderedDict
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
import json
import time
from typing import Any
from typing import NamedTuple

from csa_ros import draw
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.ros.images import to_rgb
from csa_ros.vocabulary import UNKNOWN
import numpy as np
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

SERVICE_TIMEOUT = 30.0
# Frames that wait for their other messages; more than that were lost on the way.
WAITING_FRAMES = 60
# The overlay's own default, so that the two pictures compare.
TRUTH_ALPHA = 0.5
STREAM = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)

# Seconds and nanoseconds.
Stamp = tuple[int, int]


class DemoError(RuntimeError):
    """The demo did not do what it shows."""


class Judged(NamedTuple):
    """A frame: pictures (H, W, 3) uint8, ids (H, W) uint8, and its age on arrival in seconds."""

    rgb: np.ndarray
    overlay: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    latency: float


class Score:
    """What was seen while one vocabulary was in force, from the first frame on."""

    def __init__(self, legend: dict[str, Any], first: Judged) -> None:
        classes = len(legend['classes'])
        self.legend = legend
        self.matrix = np.zeros((classes, classes + 1), np.int64)
        self.frames = 0
        self.latencies: list[float] = []
        self.began = time.monotonic()
        self.add(first)

    def add(self, frame: Judged) -> None:
        """Count a frame."""
        self.newest = frame
        self.matrix += confusion(frame.truth, frame.labels, len(self.matrix))
        self.frames += 1
        self.latencies.append(frame.latency)

    @property
    def miou(self) -> float:
        """Mean intersection over union of the classes that appeared."""
        return float(np.nanmean(iou(self.matrix)))

    def draw(self) -> np.ndarray:
        """Return the newest frame as one (H, 3 W, 3) picture: input, overlay and truth."""
        colors = np.array([entry['color'] for entry in self.legend['classes']], np.uint8)
        truth = draw.overlay(self.newest.rgb, self.newest.truth, colors, TRUTH_ALPHA)
        return np.hstack([self.newest.rgb, self.newest.overlay, truth])

    def __str__(self) -> str:
        """Return the line that the demo prints."""
        rate = self.frames / (time.monotonic() - self.began)
        p50, p95 = np.percentile(self.latencies, (50, 95)) * 1000
        return (f'{self.frames} frames, {rate:.1f} frames/s, latency {p50:.0f} ms (p95 {p95:.0f}),'
                f' mIoU {self.miou:.2f}')


class Listener(Node):
    """
    Matches pictures, truths and labels by stamp, and scores the labels.

    `score` is that of the words in force, None before the first frame. `truths` are the newest,
    (H, W) uint8 and the names of their ids, by stamp. `aliases` say for words of which name of the
    camera's they stand for.
    """

    def __init__(self) -> None:
        super().__init__('demo_listener')
        self.score: Score | None = None
        self.truths: OrderedDict[Stamp, tuple[np.ndarray, list[str]]] = OrderedDict()
        self.aliases: Mapping[str, str] = {}
        self._frames: OrderedDict[Stamp, dict[str, Any]] = OrderedDict()
        self._complete: tuple[Stamp, dict[str, Any]] | None = None
        self._true_names: list[str] = []
        self._legends: dict[Stamp, dict[str, Any]] = {}
        for topic, key in (('image', 'image'), ('true_labels', 'truth'),
                           ('segment/labels', 'labels'), ('segment/overlay', 'overlay')):
            self.create_subscription(Image, topic, partial(self._on_image, key), STREAM)
        self.create_subscription(String, 'true_classes', self._on_classes, LATCHED)
        self.create_subscription(String, 'segment/legend', self._on_legend, LATCHED)
        # Humble's rclpy has no client for parameters.
        self._segment_parameters: Client = self.create_client(
            SetParameters, 'segment/set_parameters')
        self._teaching: dict[str, Client] = {
            name: self.create_client(SetBool if name == 'freeze' else Trigger, f'segment/{name}')
            for name in ('freeze', 'teach')}

    def set_vocabulary(self, entries: Sequence[str]) -> None:
        """Set the node's words through its parameter service; DemoError if it refuses them."""
        self.set_remote(vocabulary=list(entries))

    def set_remote(self, **values: Any) -> None:
        """Set parameters of the node one by one; DemoError if it refuses one."""
        messages = [Parameter(name, value=value).to_parameter_msg()
                    for name, value in values.items()]
        answer = self._answer(self._segment_parameters, SetParameters.Request(parameters=messages))
        for result in answer.results:
            if not result.successful:
                raise DemoError(result.reason)

    def call(self, name: str, data: bool | None = None) -> str:
        """Call a service by which classes are taught, and return its answer; or DemoError."""
        request = Trigger.Request() if data is None else SetBool.Request(data=data)
        answer = self._answer(self._teaching[name], request)
        if not answer.success:
            raise DemoError(answer.message)
        return answer.message

    def _answer(self, client: Client, request: Any) -> Any:
        if not client.wait_for_service(SERVICE_TIMEOUT):
            raise DemoError(f'the service {client.srv_name} did not appear')
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=SERVICE_TIMEOUT)
        answer = future.result() if future.done() else None
        if answer is None:
            raise DemoError(f'the service {client.srv_name} did not answer')
        return answer

    def _on_classes(self, message: String) -> None:
        self._true_names = message.data.split(', ')

    def _on_legend(self, message: String) -> None:
        legend = json.loads(message.data)
        stamp = legend['stamp']['sec'], legend['stamp']['nanosec']
        self._legends[stamp] = legend

    def _on_image(self, key: str, message: Image) -> None:
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        frame = self._frames.setdefault(stamp, {})
        frame[key] = message
        if key == 'truth':
            self.truths[stamp] = _mono(message), self._true_names
            while len(self.truths) > WAITING_FRAMES:
                self.truths.popitem(last=False)
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

    def _judge(self, stamp: Stamp, frame: dict[str, Any]) -> None:
        legend = self._legend(stamp)
        if legend is None:
            return
        labels = _mono(frame['labels'])
        if (labels[labels != UNKNOWN] >= len(legend['classes'])).any():
            raise DemoError('a label image holds an id that its legend does not have')
        truth = translate(_mono(frame['truth']), self._true_names, legend, self.aliases)
        judged = Judged(to_rgb(frame['image']), to_rgb(frame['overlay']), truth, labels,
                        frame['latency'])
        if self.score is None or legend is not self.score.legend:
            self.score = Score(legend, judged)
        else:
            self.score.add(judged)

    def _legend(self, stamp: Stamp) -> dict[str, Any] | None:
        """Return the newest legend that covers a stamp, or else the one in force."""
        covering = [s for s in self._legends if s <= stamp]
        if covering:
            return self._legends[max(covering)]
        return self.score.legend if self.score else None


def translate(truth: np.ndarray, names: Sequence[str], legend: dict[str, Any],
              aliases: Mapping[str, str]) -> np.ndarray:
    """
    Turn ids of a camera's classes into the legend's; 255 where no class of it fits.

    `aliases` say of words that the camera does not know which of its names they stand for.
    """
    table = np.full(256, UNKNOWN, np.uint8)
    for entry in legend['classes']:
        for index, name in enumerate(names):
            if name in entry['queries'] or name == aliases.get(entry['name']):
                table[index] = entry['id']
    return table[truth]


def _mono(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[
        :, :message.width]
