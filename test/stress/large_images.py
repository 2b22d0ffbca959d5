"""
How many large images arrive, with and without the package's profile for Fast DDS.

A camera process sends frames of several sizes. They are counted in a process that does nothing
else, and by the node with the demo model, from its diagnostics (`received`) and by the labels that
arrive. The profile is given to all processes, or to none.
"""

import argparse
from contextlib import contextmanager
import multiprocessing
import os
import sys
import time

from csa_ros.bench import node as node_bench
from csa_ros.demo.run import processes
import rclpy
from rclpy.qos import qos_profile_sensor_data
from remote import ROOT
from remote import START_TIMEOUT
from remote import StressError
from report import Report
from report import run
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from tqdm import tqdm

PROFILE = ROOT / 'config' / 'fastdds_large_images.xml'
# The names until Fast DDS 2 and from 3 on.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def deliver(size: tuple[int, int], rate: float, seconds: float) -> tuple[int, int]:
    """
    Return how many images were sent and how many arrived in so many seconds.

    With each image the camera publishes a CameraInfo, which is small and tells what was sent.
    """
    namespace = f'/large_{os.getpid()}'
    camera = ['--ros-args', '--log-level', 'error', '-r', f'__ns:={namespace}', '-p', 'loop:=4']
    for name, value in {'width': size[0], 'height': size[1], 'rate': rate}.items():
        camera += ['-p', f'{name}:={value}']
    rclpy.init()
    try:
        listener = rclpy.create_node('listener', namespace=namespace)
        sent, arrived = [], []
        listener.create_subscription(CameraInfo, 'camera_info', sent.append, 100)
        listener.create_subscription(
            Image, 'image', arrived.append, qos_profile_sensor_data, raw=True)

        def spin(done, timeout):
            deadline = time.monotonic() + timeout
            while not done() and time.monotonic() < deadline:
                rclpy.spin_once(listener, timeout_sec=0.1)
                # Only their number counts, and they are large.
                arrived[:] = [None] * len(arrived)

        with processes({'demo_camera': camera}):
            spin(lambda: len(sent) > rate, START_TIMEOUT)
            if not sent:
                raise StressError(f'the camera sends nothing within {START_TIMEOUT:.0f} s')
            sent.clear()
            arrived.clear()
            spin(lambda: False, seconds)
        return len(sent), len(arrived)
    finally:
        rclpy.try_shutdown()


def deliver_to_node(size: tuple[int, int], rate: float, seconds: float) -> tuple[int, int, int]:
    """Return how many images were sent, reached the node, and came back as labels."""
    options = argparse.Namespace(
        node_size=size, node_rates=[rate], node_seconds=seconds, node_model='demo')
    result, = node_bench.measure(options, tqdm(disable=True))['rates']
    return result['images'], result['received'], result['labels']


@contextmanager
def profile(use: bool):
    """Give the profile to the processes that are started meanwhile, or none."""
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    if use:
        os.environ.update(dict.fromkeys(VARIABLES, str(PROFILE)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Count at every size, with and without the profile."""
    progress.reset(4 * len(options.sizes))
    # Fast DDS reads its settings once a process.
    workers = multiprocessing.get_context('spawn')
    shares = {}
    for size in options.sizes:
        for use in False, True:
            where = f'{size[0]} x {size[1]}, {"with" if use else "without"} the profile: '
            for function, names in ((deliver, ('arrived',)),
                                    (deliver_to_node, ('reached the node', 'labels'))):
                with profile(use), workers.Pool(1) as pool:
                    sent, *counts = pool.apply(function, (size, options.rate, options.seconds))
                progress.update()
                for name, number in zip(names, counts):
                    report.figures[where + name] = f'{number} of {sent}'
                    shares[size, use, name] = number / max(sent, 1)
        for name in 'arrived', 'reached the node':
            report.expect(
                shares[size, True, name] >= min(shares[size, False, name], 0.95),
                f'{size[0]} x {size[1]}: fewer images {name} with the profile than without')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this run."""
    parser.add_argument('--sizes', type=_size, nargs='+', metavar='WIDTHxHEIGHT',
                        default=[(640, 480), (1280, 720), (1920, 1080)],
                        help='of the frames (default 640x480 1280x720 1920x1080)')
    parser.add_argument('--rate', type=float, default=30.0,
                        help='frames per second (default %(default)g)')
    parser.add_argument('--seconds', type=float, default=10.0,
                        help='to count in each case (default %(default)g)')


def _size(text: str) -> tuple[int, int]:
    width, height = text.split('x')
    return int(width), int(height)


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
