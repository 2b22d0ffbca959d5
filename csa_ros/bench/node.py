"""
The node from end to end: a camera process, DDS, the node's process, DDS, and a listener.

The listener is this process. It runs beside the node's, so that on a machine of few cores what it
and the camera take is missing in the node: both do as little as they can.
"""

import argparse
import os
from pathlib import Path
import time
from typing import Any

from csa_ros.bench.options import TITLES
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import table
from csa_ros.bench.timing import Timing
from csa_ros.demo.run import processes
from csa_ros.demo.run import spin_until
from csa_ros.ros.context import initialize
from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy import get_rmw_implementation_identifier
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from tqdm import tqdm

TITLE = TITLES['node']
START_TIMEOUT = 120.0
# Diagnostics come once a second.
TICK_TIMEOUT = 10.0
# The camera renders these first and repeats them: rendering takes more of a CPU than the rest.
CAMERA_LOOP = 4
# Names the settings of Fast DDS, on which it depends how many large images are lost.
PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'
WARM_UP_LABELS = 5
COUNTERS = {
    'received': 'images received',
    'published': 'frames published',
    'replaced': 'frames dropped for newer ones',
    'failed': 'failures',
}


def measure(options: argparse.Namespace, progress: tqdm) -> dict[str, Any]:
    """
    Watch the node at every rate.

    Returns for each rate: the seconds watched; the images that the camera published, that the
    node received, that it replaced by newer ones, and that failed; the labels that arrived; the
    Timing from an image's stamp to the arrival of its labels; and the CPU time that the node took,
    as a share of one core. Raises RuntimeError without psutil, and
    `csa_ros.demo.listener.DemoError` if a process ends or no labels come.
    """
    _psutil()
    expect(progress, len(options.node_rates))
    rates = []
    initialize('bench', ['bench'])
    try:
        for rate in options.node_rates:
            rates.append({'rate': rate, **_watch(rate, options)})
            progress.update()
    finally:
        rclpy.try_shutdown()
    return {'model': options.node_model, 'size': list(options.node_size),
            'middleware': get_rmw_implementation_identifier(),
            'profile': Path(os.environ.get(PROFILE, '')).name, 'rates': rates}


def describe(result: dict[str, Any]) -> str:
    """Return the table, in markdown."""
    width, height = result['size']
    rows = []
    for case in result['rates']:
        latency = case['latency']
        rows.append([
            f'{case["rate"]:g} Hz',
            f'{case["labels"] / case["seconds"]:.1f}',
            *(f'{latency[name]:.0f}' for name in ('median_ms', 'p95_ms', 'p99_ms')),
            case['images'], case['labels'], case['replaced'],
            max(case['images'] - case['received'], 0), case['failed'],
            f'{case["cpu"]:.0%}'])
    return '\n\n'.join([
        f'Model {result["model"]}, {width} x {height} pixels, over {result["middleware"]} with '
        f'{result["profile"] or "its default settings"}. Latency is from the stamp, when the '
        'camera begins to publish an image, to the arrival of its labels in the listener. '
        'Replaced are images for which a newer one came before their turn, as the node always '
        'takes the newest; lost are those that never reached it. CPU is what the node takes, 100% '
        'being one core.',
        table(['camera', 'labels/s', 'latency ms', 'p95', 'p99', 'images', 'labels', 'replaced',
               'lost', 'failed', 'CPU'], rows)])


class LabelListener(Node):
    """
    Counts what the camera publishes and the labels that arrive, and reads the node's diagnostics.

    `images` and `latencies` are since `restart`: the number of images that the camera has sent,
    and for each of their labels that arrived its age in seconds.
    """

    def __init__(self, namespace: str) -> None:
        super().__init__('label_listener', namespace=namespace)
        self._status = f'{namespace.lstrip("/")}/segment: segmentation'
        self.ticks = 0
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.restart()
        # Published with each image, and small: counting the images themselves would cost more
        # than the node's own overhead.
        self.create_subscription(CameraInfo, 'camera_info', self._on_image, QoSProfile(depth=50))
        self.create_subscription(Image, 'segment/labels', self._on_labels, QoSProfile(depth=10))
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def restart(self) -> None:
        """Count from now on."""
        self.images = 0
        self.latencies: list[float] = []
        self.began = time.monotonic()

    def _on_image(self, _: CameraInfo) -> None:
        self.images += 1

    def _on_labels(self, labels: Image) -> None:
        stamp = Time.from_msg(labels.header.stamp)
        self.latencies.append((self.get_clock().now() - stamp).nanoseconds * 1e-9)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._status:
                values = {item.key: item.value for item in status.values}
                self.counters = {
                    name: int(values.get(key, 0)) for name, key in COUNTERS.items()}
                self.ticks += 1


def _watch(rate: float, options: argparse.Namespace) -> dict[str, Any]:
    # Robots nearby must not take these images and labels for theirs.
    namespace = f'/bench_{os.getpid()}'
    common = ['--ros-args', '--log-level', 'warn', '-r', f'__ns:={namespace}']
    width, height = options.node_size
    commands = {
        'demo_camera': [*common, '-p', f'width:={width}', '-p', f'height:={height}',
                        '-p', f'rate:={rate}', '-p', f'loop:={CAMERA_LOOP}',
                        '-p', 'hard:=false'],
        'segment': [*common, '-p', f'model:={options.node_model}'],
    }
    listener = LabelListener(namespace)
    try:
        with processes(commands) as running:
            spin_until(listener, running, lambda: len(listener.latencies) > WARM_UP_LABELS,
                       START_TIMEOUT, 'labels')
            # From one diagnostics message to another, so that the node's counts and those here
            # are of the same time.
            _spin_to_tick(listener, running)
            listener.restart()
            before, cpu_before = listener.counters, _cpu_seconds(running['segment'].pid)
            ends = listener.began + options.node_seconds
            spin_until(listener, running, lambda: time.monotonic() > ends,
                       options.node_seconds + TICK_TIMEOUT, 'end of the time')
            _spin_to_tick(listener, running)
            seconds = time.monotonic() - listener.began
            cpu = (_cpu_seconds(running['segment'].pid) - cpu_before) / seconds
    finally:
        listener.destroy_node()
    return {
        'seconds': seconds,
        'images': listener.images,
        **{name: count - before[name] for name, count in listener.counters.items()},
        'labels': len(listener.latencies),
        'latency': Timing(listener.latencies).to_dict(),
        'cpu': cpu}


def _spin_to_tick(listener: LabelListener, running: dict) -> None:
    ticks = listener.ticks
    spin_until(listener, running, lambda: listener.ticks > ticks, TICK_TIMEOUT, 'diagnostics')


def _cpu_seconds(pid: int) -> float:
    times = _psutil().Process(pid).cpu_times()
    return times.user + times.system


def _psutil() -> Any:
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise RuntimeError(
            'the section node of the bench needs psutil: pip install psutil, or leave the '
            'section out') from error
    return psutil
