"""
A long run at full rate with all that happens to a robot, to see memory and stalls.

Cameras send pictures made beforehand, faster than they can be segmented. Every few seconds
something happens: other words, a camera that goes and comes back, another resolution, stamps that
jump back as when a bag starts over, subscribers that come and go.

A stall is the time between two masks of a camera while it sends and somebody listens; the clock
starts anew when the two have found the node again. A legend is lost if a version is skipped, or if
a new subscriber does not get the newest at once. The slope of the resident memory is that of a
line through the second half of the run, one sample a second.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
import random
import sys
import threading
import time

from csa_ros.demo.scenes import Scene
from csa_ros.ros.images import to_message
import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from remote import LATCHED
from remote import node
from remote import Remote
from remote import StressError
from remote import wait_for
from report import Report
from report import run
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String
from tqdm import tqdm

SIZES = ((320, 240), (640, 480), (240, 320), (200, 200))
RATE = 20.0
# Less than is good for labels: on two slow cores the model alone would take half a second.
SHORT_SIDE = 144
TARGET_STALL = 1.0
LEGEND_TIMEOUT = 1.0
# Discovery aside, nothing is away for longer.
AWAY = 2.0
VOCABULARIES = (
    ['sky', 'road', 'building', 'tree', 'car'],
    ['sky', 'street=road', 'plants=tree|grass', 'vehicle=car|bus|truck', 'person|pedestrian'],
    ['background=sky|building|tree', 'road'])


class Camera:
    """A camera, a listener to its labels, and the time between the masks."""

    def __init__(self, remote: Remote, name: str, rng: random.Random) -> None:
        self.name = name
        self._remote = remote
        self._rng = rng
        self._prefix = f'{name}/' if name else ''
        self._pictures = [Scene(rng.randrange(100)).render(0.0, size).rgb for size in SIZES]
        self._picture = self._pictures[0]
        self._offset = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._since = None
        self.masks = self.images = 0
        self.gaps = []  # (time at its end, seconds)
        self._publisher = self._listener = None
        self._thread = threading.Thread(target=self._run)
        self.come_back()
        self.listen()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def go_away(self) -> None:
        """Take the camera off the graph."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
            self._since = None
        self._remote.client.destroy_publisher(publisher)

    def come_back(self) -> None:
        """Put a camera on the graph and wait until the node has found it."""
        publisher = self._remote.camera(f'{self._prefix}image')
        with self._lock:
            self._publisher = publisher
        self._restart_clock()

    def listen(self) -> None:
        """Subscribe to the labels and wait until the node has found that."""
        topic = f'/segment/{self._prefix}labels'
        self._listener = self._remote.listen(f'{self._prefix}labels', self._on_mask)
        wait_for(lambda: self._remote.client.count_publishers(topic), f'a publisher of {topic}')
        self._restart_clock()

    def unlisten(self) -> None:
        """Take the subscription off the graph."""
        with self._lock:
            self._since = None
            listener, self._listener = self._listener, None
        self._remote.client.destroy_subscription(listener)

    def change_size(self) -> None:
        """Send pictures of another size."""
        self._picture = self._rng.choice(self._pictures)

    def jump_back(self) -> None:
        """Send stamps from the start again, as a bag that loops."""
        self._offset = self.images

    def end_gap(self) -> None:
        """Count the time since the last mask, as if one came now."""
        with self._lock:
            if self._since is not None:
                self._add_gap()

    def _add_gap(self) -> None:
        now = time.monotonic()
        self.gaps.append((now, now - self._since))
        self._since = now

    def _restart_clock(self) -> None:
        with self._lock:
            if self._publisher and self._listener:
                self._since = time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(1 / RATE):
            with self._lock:
                publisher = self._publisher
                if publisher is None:
                    continue
                self.images += 1
                header = Header(frame_id=self.name)
                header.stamp.sec, count = divmod(self.images - self._offset, int(RATE))
                header.stamp.nanosec = int(count / RATE * 1e9)
                publisher.publish(to_message(self._picture, 'rgb8', header))

    def _on_mask(self, _: Image) -> None:
        with self._lock:
            self.masks += 1
            if self._since is not None:
                self._add_gap()


class Soak:
    """What happens, one thing after another, and what is seen meanwhile."""

    def __init__(self, remote: Remote, cameras: list[Camera], report: Report,
                 rng: random.Random) -> None:
        self._remote = remote
        self._cameras = cameras
        self._report = report
        self._rng = rng
        self._extra = []
        self.counts = dict.fromkeys((
            'changes of the words', 'cameras that went and came back', 'changes of resolution',
            'jumps back in time', 'subscribers that came or went', 'listeners that came back'), 0)
        self.memory = []
        self.events = []

    def happen(self) -> None:
        """Let something happen."""
        event = self._rng.choice(list(self.counts))
        self.counts[event] += 1
        self.events.append((time.monotonic(), event))
        camera = self._rng.choice(self._cameras)
        {
            'changes of the words': self._change_words,
            'cameras that went and came back': lambda: self._leave(
                camera.go_away, camera.come_back),
            'changes of resolution': camera.change_size,
            'jumps back in time': camera.jump_back,
            'subscribers that came or went': self._churn,
            'listeners that came back': lambda: self._leave(camera.unlisten, camera.listen),
        }[event]()

    def stalls(self) -> Iterator[str]:
        """Yield what is to be said of times without masks that are too long."""
        for camera in self._cameras:
            for end, gap in camera.gaps:
                if gap > TARGET_STALL:
                    before = [event for moment, event in self.events if moment < end]
                    yield (f'{gap:.2f} s without a mask of camera {camera.name!r}, after: '
                           f'{", ".join(before[-2:]) or "nothing"}')

    def watch(self, seconds: float) -> None:
        """Sample the memory once a second."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._remote.check_alive()
            if not self.memory or time.monotonic() - self.memory[-1][0] >= 1:
                self.memory.append((time.monotonic(), self._remote.resident_bytes()))
            time.sleep(min(left, 0.1))

    def slope(self) -> float:
        """Return the growth of the memory in the second half of the run, in bytes a second."""
        times, sizes = np.array(self.memory[len(self.memory) // 2:]).T
        return float(np.polyfit(times - times[0], sizes, 1)[0])

    def _change_words(self) -> None:
        # Words of every day, or new ones each time, for which no cache has room for ever.
        words = self._rng.choice(
            (*VOCABULARIES, [f'thing {self._rng.randrange(10**6)}' for _ in range(30)]))
        value = Parameter('vocabulary', value=words)
        request = SetParameters.Request(parameters=[value.to_parameter_msg()])
        answer, _ = self._remote.call(SetParameters, 'set_parameters', request)
        self._report.expect(
            answer.results[0].successful, f'refused: {answer.results[0].reason}')

    def _leave(self, leave, come_back) -> None:
        leave()
        self.watch(self._rng.uniform(0, AWAY))
        come_back()

    def _churn(self) -> None:
        """Let listeners to all kinds of outputs go, or some come."""
        if self._extra:
            while self._extra:
                self._remote.client.destroy_subscription(self._extra.pop())
            return
        prefix = self._rng.choice(self._cameras)._prefix
        for topic in 'overlay', 'confidence', 'labels':
            self._extra.append(self._remote.listen(f'{prefix}{topic}', lambda _: None))
        self._check_late_legend()

    def _check_late_legend(self) -> None:
        came = []
        subscription = self._remote.client.create_subscription(
            String, '/segment/legend', came.append, LATCHED)
        try:
            wait_for(lambda: came, 'the legend for a new subscriber', LEGEND_TIMEOUT)
        except StressError as error:
            self._report.failures.append(str(error))
        self._remote.client.destroy_subscription(subscription)


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Soak the node for `options.minutes`."""
    rng = random.Random(options.seed)
    seconds = 60 * options.minutes
    progress.reset(round(seconds))
    parameters = {'cameras': options.cameras} if options.cameras else {}
    with ExitStack() as stack:
        remote = stack.enter_context(node(
            vocabulary=VOCABULARIES[0], prompts='simple', short_side=SHORT_SIDE, **parameters))
        cameras = []
        for name in options.cameras or ['']:
            cameras.append(Camera(remote, name, rng))
            stack.callback(cameras[-1].stop)
        soak = Soak(remote, cameras, report, rng)
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            progress.update(round(elapsed) - progress.n)
            soak.watch(options.period)
            soak.happen()
        for camera in cameras:
            camera.end_gap()
        report.failures += soak.stalls()
        gaps = [gap for camera in cameras for _, gap in camera.gaps]
        versions = sorted({legend['version'] for _, legend in remote.legends})
        report.expect(
            versions == list(range(1, len(versions) + 1)), f'a legend is lost: {versions}')
        for values in remote.statuses.values():
            report.expect(values['failures'] == '0', f'{values["failures"]} frames failed: '
                          f'{values["last error"]}')
        report.figures = {
            'minutes': options.minutes,
            'cameras': len(cameras),
            'images sent': sum(camera.images for camera in cameras),
            'masks': sum(camera.masks for camera in cameras),
            'labels a second': sum(camera.masks for camera in cameras) / elapsed,
            **soak.counts,
            'legends': len(versions),
            'longest time between two masks (s)': max(gaps),
            'the same, 99 of 100 (s)': float(np.percentile(gaps, 99)),
            'resident memory after a minute or half (MB)': soak.memory[
                min(60, len(soak.memory) // 2)][1] / 1e6,
            'resident memory at the end (MB)': soak.memory[-1][1] / 1e6,
            'slope over the second half (MB/h)': soak.slope() * 3600 / 1e6,
        }
        remote.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this run."""
    parser.add_argument('--minutes', type=float, default=15.0,
                        help='how long (default %(default)g)')
    parser.add_argument('--period', type=float, default=3.0,
                        help='seconds between two events (default %(default)g)')
    parser.add_argument('--cameras', nargs='*', default=[], metavar='NAME',
                        help='parameter cameras of the node (default: one camera without a name)')
    parser.add_argument('--seed', type=int, default=0, help='of the random choices')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
