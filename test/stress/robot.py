"""
A robot whose pictures are segmented elsewhere: it sends JPEGs and listens to their labels.

The program is started by `network.py`, and answers each line it reads by a line of JSON:
`measure SECONDS` by what was sent and what came back in that time, in units of 1/s, ms and bytes;
`labels SECONDS` by how long the next labels took, null if they do not come by then.
"""

import argparse
import json
import struct
import sys
import threading
import time

from csa_ros.demo.scenes import Scene
from csa_ros.ros import compressed
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

# Of the JPEGs: in some of them nothing of the last one is left.
PICTURES, BETWEEN = 5, 0.5
# Seconds that what is under way at the end of a measurement has to come back.
PATIENCE = 1.5
# Seconds between two looks at how old the newest labels are.
LOOK = 0.02


class Robot(Node):
    """Sends pictures all the time, and notes by their stamps, in nanoseconds, what comes back."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.name)
        self._sent: list[int] = []
        self._back: dict[int, int] = {}
        self._newest = 0
        self._ages: list[float] = []
        self._reports: list[tuple[int, dict[str, str]]] = []
        scene = Scene(options.seed)
        self._pictures = [
            compressed.to_message(scene.render(BETWEEN * number, options.size).rgb,
                                  Header(frame_id=options.name), options.quality)
            for number in range(PICTURES)]
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy[options.reliability.upper()])
        self._publisher = self.create_publisher(
            CompressedImage, f'{options.name}/image/compressed', qos)
        kind = CompressedImage if options.labels.endswith('compressed') else Image
        # Not read, for the time that takes is no network's.
        self.create_subscription(
            kind, f'/segment/{options.name}/{options.labels}', self._on_labels, qos, raw=True)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.create_timer(1 / options.rate, self._send)
        self.create_timer(LOOK, self._look)

    def wait_for_labels(self, timeout: float) -> float | None:
        """Return the seconds until labels of a picture come that was sent after this was asked."""
        asked, deadline = self.get_clock().now().nanoseconds, time.monotonic() + timeout
        while self._newest < asked:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        return (self._back[self._newest] - asked) / 1e9

    def measure(self, seconds: float) -> dict[str, float | None]:
        """Return what happened in some seconds from now on."""
        start, first, self._ages = len(self._sent), len(self._reports), []
        time.sleep(seconds)
        stamps, ages = self._sent[start:], self._ages
        time.sleep(PATIENCE)
        latencies = [(self._back[stamp] - stamp) / 1e6 for stamp in stamps if stamp in self._back]
        return {
            'sent': len(stamps) / seconds,
            'received': self._rate('images received', first),
            'published': self._rate('frames published', first),
            'back': len(latencies) / seconds,
            'latency p50': _percentile(latencies, 50),
            'latency p95': _percentile(latencies, 95),
            'age p95': _percentile(ages, 95),
            'bytes': sum(len(picture.data) for picture in self._pictures) / PICTURES,
        }

    def _rate(self, key: str, first: int) -> float | None:
        """Return how many there were in a second, by the diagnostics since the first of them."""
        reports = self._reports[first:]
        if len(reports) < 2:
            return None
        (begin, before), (end, after) = reports[0], reports[-1]
        return (int(after[key]) - int(before[key])) / ((end - begin) / 1e9)

    def _send(self) -> None:
        picture = self._pictures[len(self._sent) % PICTURES]
        now = self.get_clock().now()
        picture.header.stamp = now.to_msg()
        self._publisher.publish(picture)
        self._sent.append(now.nanoseconds)

    def _on_labels(self, message: bytes) -> None:
        # Four bytes say how it is serialised, then comes the header, and the stamp first.
        seconds, nanoseconds = struct.unpack_from('<iI', message, 4)
        stamp = 10**9 * seconds + nanoseconds
        self._back[stamp] = self.get_clock().now().nanoseconds
        self._newest = max(self._newest, stamp)

    def _look(self) -> None:
        if self._newest:
            self._ages.append((self.get_clock().now().nanoseconds - self._newest) / 1e6)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        stamp = message.header.stamp
        for status in message.status:
            if status.name == f'segment: {self.get_name()}':
                self._reports.append((10**9 * stamp.sec + stamp.nanosec,
                                      {item.key: item.value for item in status.values}))


def _percentile(values: list[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def main() -> None:
    """Be a robot until nobody asks any more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name')
    parser.add_argument('--seed', type=int)
    parser.add_argument('--size', type=int, nargs=2)
    parser.add_argument('--quality', type=int)
    parser.add_argument('--rate', type=float)
    parser.add_argument('--reliability')
    parser.add_argument('--labels')
    rclpy.init()
    robot = Robot(parser.parse_args())
    spinning = threading.Thread(target=rclpy.spin, args=[robot], daemon=True)
    spinning.start()
    for line in sys.stdin:
        question, seconds = line.split()
        ask = robot.wait_for_labels if question == 'labels' else robot.measure
        print(json.dumps(ask(float(seconds))), flush=True)
    rclpy.try_shutdown()
    spinning.join()


if __name__ == '__main__':
    main()
