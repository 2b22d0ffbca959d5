"""
Runs the demo: camera and node as processes of their own, and a listener that judges them.

Everything goes over DDS, as on a robot: images in, labels out, new words through the parameter
service. Started by `scripts/demo`.
"""

import argparse
from collections import OrderedDict
from contextlib import contextmanager
import json
from pathlib import Path
import queue
import subprocess
import sys
import threading
import time

from ament_index_python.packages import get_package_prefix
from csa_ros import draw
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.ros.images import to_rgb
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

# What the words are changed to half way: fewer, broader classes, one of them under a new name.
NEW_VOCABULARY = ('sky', 'street=road', 'plants=tree|grass', 'vehicle=car|bus|truck',
                  'person|pedestrian', 'building|house', 'pavement|sidewalk')
START_TIMEOUT, CHANGE_TIMEOUT = 90.0, 30.0
# Chance is below 0.05 for both vocabularies; the model that is bundled does far better.
SANE_MIOU = 0.25
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
        self._parameters = AsyncParameterClient(self, 'segment')

    def set_vocabulary(self, entries):
        """Set the node's words through its parameter service; DemoError if it refuses them."""
        value = Parameter('vocabulary', value=list(entries))
        if not self._parameters.wait_for_services(CHANGE_TIMEOUT):
            raise DemoError('the parameter service of /segment did not appear')
        future = self._parameters.set_parameters([value])
        rclpy.spin_until_future_complete(self, future, timeout_sec=CHANGE_TIMEOUT)
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
        while len(self._frames) > 60:
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


@contextmanager
def processes(commands):
    """Run executables of this package as processes, as `ros2 run` does; end them on leaving."""
    folder = Path(get_package_prefix('csa_ros')) / 'lib' / 'csa_ros'
    running = {}
    try:
        for name, arguments in commands.items():
            running[name] = subprocess.Popen([sys.executable, folder / name, *arguments])
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def spin_until(listener, running, done, timeout, waiting_for):
    """Spin until `done()`; DemoError on a time-out, or if a process ends before."""
    deadline = time.monotonic() + timeout
    while not done():
        rclpy.spin_once(listener, timeout_sec=0.1)
        for name, process in running.items():
            if process.poll() is not None:
                raise DemoError(f'{name} ended with exit code {process.returncode}')
        if time.monotonic() > deadline:
            raise DemoError(f'no {waiting_for} within {timeout:.0f} s')


def watch(listener, running, seconds):
    """Watch the labels for some seconds, telling how it goes; return the score."""
    legend = listener.legend
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        second = time.monotonic() + 1
        spin_until(listener, running, lambda: time.monotonic() > second, 5, 'tick')
        if sys.stdout.isatty():
            print(f'\r  {listener.score}', end='', flush=True)
    if listener.legend is not legend:
        raise DemoError('the legend changed while nobody changed the words')
    if not listener.score.frames:
        raise DemoError(f'no labels in {seconds:.0f} s')
    print(f'\r  {listener.score}')
    return listener.score


def save(listener, path):
    """Write the newest frame as a PNG file."""
    cv2.imwrite(str(path), cv2.cvtColor(listener.draw(), cv2.COLOR_RGB2BGR))
    print(f'  wrote {path}: input, overlay with key, truth')


def change_words(listener, running, entries):
    """Set new words and wait for the first labels that use them."""
    before, asked = listener.legend, time.monotonic()
    listener.set_vocabulary(entries)
    spin_until(listener, running, lambda: listener.legend is not before, CHANGE_TIMEOUT,
               'labels with the new words')
    names = [entry['name'] for entry in listener.legend['classes']]
    if names != list(Vocabulary.parse(entries).names):
        raise DemoError(f'the legend names {names}, not the new words')
    print(f'  in force after {time.monotonic() - asked:.2f} s, legend version '
          f'{listener.legend["version"]}')


def show(listener, running, output, seconds):
    """Run the demo from start to end; DemoError if anything is not as it should be."""
    output.mkdir(parents=True, exist_ok=True)
    print('Waiting for the first labels ...')
    spin_until(listener, running, lambda: listener.score is not None, START_TIMEOUT, 'labels')
    print(f'Segmenting by {len(DEFAULT_VOCABULARY)} words: {", ".join(DEFAULT_VOCABULARY)}')
    before = watch(listener, running, seconds)
    save(listener, output / 'before.png')
    print(f'Changing the words while it runs: {", ".join(NEW_VOCABULARY)}')
    change_words(listener, running, NEW_VOCABULARY)
    after = watch(listener, running, seconds)
    save(listener, output / 'after.png')
    for score in (before, after):
        if score.miou < SANE_MIOU:
            raise DemoError(f'mIoU is {score.miou:.2f}: the labels are not sane, below '
                            f'{SANE_MIOU}')


def live(listener, running, output):
    """Keep running; take new words from the keyboard until interrupted."""
    output.mkdir(parents=True, exist_ok=True)
    spin_until(listener, running, lambda: listener.picture is not None, START_TIMEOUT, 'labels')
    print(f'Running. The newest frame is in {output / "live.png"}.\n'
          'Type words and press Enter to change them, as in: road, car|truck, person\n'
          'Ctrl-C ends the demo.')
    typed = queue.SimpleQueue()
    threading.Thread(target=lambda: [typed.put(line) for line in sys.stdin], daemon=True).start()
    while True:
        second = time.monotonic() + 1
        spin_until(listener, running, lambda: time.monotonic() > second, 5, 'tick')
        cv2.imwrite(str(output / 'live.png'), cv2.cvtColor(listener.draw(), cv2.COLOR_RGB2BGR))
        print(f'  {listener.score}', flush=True)
        while not typed.empty():
            try:
                change_words(listener, running, typed.get().strip().split(','))
            except DemoError as error:
                print(f'  {error}')


def main(args=None):
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog='scripts/demo', description='Segment a rendered street.')
    parser.add_argument('--live', action='store_true',
                        help='keep running and take new words from the keyboard')
    parser.add_argument('--seconds', type=float, default=12.0,
                        help='how long to watch before and after the change (default 12)')
    parser.add_argument('--output', type=Path, default=Path('demo_output'),
                        help='folder for the pictures (default demo_output)')
    arguments = parser.parse_args(args)
    commands = {'demo_camera': [], 'segment': ['--ros-args', '-p', 'model:=demo']}
    rclpy.init()
    try:
        listener = Listener()
        with processes(commands) as running:
            if arguments.live:
                live(listener, running, arguments.output)
            else:
                show(listener, running, arguments.output, arguments.seconds)
    except DemoError as error:
        print(f'The demo failed: {error}', file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0 if arguments.live else 130
    finally:
        rclpy.try_shutdown()
    print('The demo worked.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
