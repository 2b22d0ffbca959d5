"""
Malformed images through the real node: none stops it, each is counted and explained.

Raw images, and with `--compressed` JPEG and PNG.

DDS may lose an image of a best-effort subscription, and the node takes the newest of those that
wait. So the node subscribes reliably here (`qos_overrides`), by which every image reaches it, and
after each batch its own counters must add up: every image that was sent was received, and every
one received was either counted as bad or as replaced by a newer one. It goes on until as many as
were asked for were counted as bad. Garbage that is no message at all never gets past DDS; that too
must leave the node alone.
"""

import argparse
import random
import struct
import sys
import time
from types import ModuleType
from typing import Any
from typing import NamedTuple

import bad_compressed_images
import bad_images
from remote import node
from remote import Remote
from remote import wait_for
from report import Report
from report import run
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from tqdm import tqdm

BATCH = 250
# Between two images, so that most are read and few replaced.
PAUSE = 0.001
UINT32_MAX = 2**32 - 1
COUNTERS = ('images received', 'frames published', 'frames dropped for newer ones',
            'frames nobody wanted', 'bad images', 'failures')


class Transport(NamedTuple):
    """A way for images to come in: the topic, its type, and where bad ones are made."""

    topic: str
    message_type: type
    images: ModuleType
    parameters: dict[str, Any]

    @property
    def node_parameters(self) -> dict[str, Any]:
        """Return parameters by which every image reaches the node."""
        name = f'qos_overrides./{self.topic}.subscription'
        return {**self.parameters, f'{name}.reliability': 'reliable',
                f'{name}.history': 'keep_last', f'{name}.depth': 2 * BATCH}


RAW = Transport('image', Image, bad_images, {})
COMPRESSED = Transport('image/compressed', CompressedImage, bad_compressed_images,
                       {'transport': 'compressed'})


def garbage(rng: random.Random) -> bytes:
    """Return what claims to be a serialised message and is none."""
    # Not empty: after a message of no bytes Fast DDS delivers nothing more to a reliable reader.
    header = rng.choice((b'\0\1\0\0', b'\0\0\0\0', b'\xff\xff\xff\xff', b'\0'))
    body = rng.choice((
        b'',
        rng.randbytes(rng.randrange(200)),
        b'\xff' * rng.randrange(200),
        # A string, then an array, of 4 GiB.
        struct.pack('<iII', 1, 2, UINT32_MAX),
        struct.pack('<iIIIII', 1, 2, 1, 0, 1, 1) + b'\0' * 12 + struct.pack('<I', UINT32_MAX)))
    return header + body


class Run:
    """The run of one node: what was sent, and what came back."""

    def __init__(self, remote: Remote, transport: Transport, report: Report,
                 rng: random.Random) -> None:
        self._remote = remote
        self._images = transport.images
        self._report = report
        self._rng = rng
        self._masks = set()
        self.sent = 0
        self.waits = []
        remote.listen('labels', lambda mask: self._masks.add(mask.header.stamp.sec))
        self._camera = remote.camera(transport.topic, transport.message_type, 2 * BATCH)

    def label_a_good_frame(self) -> None:
        """Send a good image; StressError if it is not labelled."""
        start = time.monotonic()
        image = self._images.good()
        image.header.stamp.sec = len(self.waits) + 1
        self._camera.publish(image)
        self.sent += 1

        def labelled():
            self._remote.check_alive()
            return image.header.stamp.sec in self._masks

        wait_for(labelled, f'the label image of a good frame after {self.sent} images')
        self.waits.append(time.monotonic() - start)

    def explain(self, name: str) -> None:
        """Send one image of a kind; the node must count it and say what is wrong with it."""
        bad = self._remote.count('bad images')
        self._publish(name)
        self._remote.wait_for_count('bad images', bad + 1)
        said = self._remote.values['last error']
        reason = self._images.KINDS[name].reason
        self._report.expect(
            reason in said, f'{name}: expected {reason!r}, but the node says {said[:200]!r}')

    def batch(self, size: int) -> None:
        """Send images of random kinds, and wait until all of them have reached the node."""
        for _ in range(size):
            self._publish(self._rng.choice(list(self._images.KINDS)))
            time.sleep(PAUSE)
        self._remote.wait_for_count('images received', self.sent)

    def throw_garbage(self, size: int) -> None:
        """Send what cannot be read as a message."""
        for _ in range(size):
            self._camera.publish(garbage(self._rng))
            time.sleep(PAUSE)
        # Some of it happens to be a message.
        self.sent = self._settle()['images received']

    def account(self) -> dict[str, int]:
        """Check the node's sums, and return its counters."""
        counters = self._settle()
        received, *shares = counters.values()
        self._report.expect(
            received == self.sent and sum(shares) == received,
            f'{self.sent} images were sent, and the counters are {counters}')
        self._report.expect(not counters['failures'], f'{counters["failures"]} frames failed')
        return counters

    def _settle(self) -> dict[str, int]:
        """Return the node's counters once all is quiet."""
        before = None
        while before != (before := {key: self._remote.count(key) for key in COUNTERS}):
            ticks = self._remote.ticks
            wait_for(lambda: self._remote.ticks > ticks + 1, 'the next diagnostics')
        return before

    def _publish(self, name: str) -> None:
        image = self._images.good()
        self._images.KINDS[name].spoil(image, self._rng)
        self._camera.publish(image)
        self.sent += 1


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Send malformed images until `options.count` were counted as bad."""
    transport = COMPRESSED if options.compressed else RAW
    started = time.monotonic()
    with node(prompts='simple', vocabulary=['sky', 'road'], short_side=64,
              **transport.node_parameters) as remote:
        images = Run(remote, transport, report, random.Random(options.seed))
        memory = _send(images, remote, options, progress)
        counters = images.account()
        report.figures = {
            'images sent': images.sent,
            'kinds of malformed images': len(transport.images.KINDS),
            'counted as bad': counters['bad images'],
            'replaced by a newer one': counters['frames dropped for newer ones'],
            'lost or not counted': images.sent - sum(list(counters.values())[1:]),
            'pieces of garbage': options.garbage,
            'good frames in between, all labelled': len(images.waits),
            'longest wait for the labels of a good frame (s)': max(images.waits),
            'memory after one of each kind (MB)': memory / 1e6,
            'memory at the end (MB)': remote.resident_bytes() / 1e6,
            'seconds': time.monotonic() - started,
        }
        remote.stop()


def _send(images: Run, remote: Remote, options: argparse.Namespace, progress: tqdm) -> int:
    """Return the node's memory in bytes after one image of each kind."""
    progress.reset(options.count)
    images.label_a_good_frame()
    kinds = (COMPRESSED if options.compressed else RAW).images.KINDS
    for name in list(kinds)[:options.explain]:
        images.explain(name)
        progress.update()
    memory = remote.resident_bytes()
    images.throw_garbage(options.garbage)
    images.label_a_good_frame()
    while (bad := remote.count('bad images')) < options.count:
        images.batch(min(BATCH, options.count - bad))
        images.label_a_good_frame()
        progress.update(remote.count('bad images') - bad)
    return memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this run."""
    parser.add_argument('--count', type=int, default=20000,
                        help='malformed images that the node must count (default %(default)s)')
    parser.add_argument('--garbage', type=int, default=2000,
                        help='pieces of data that are no message (default %(default)s)')
    parser.add_argument('--compressed', action='store_true',
                        help='send compressed images, not raw ones')
    parser.add_argument('--explain', type=int, metavar='N',
                        help='check what the node says of the first N kinds alone')
    parser.add_argument('--seed', type=int, default=0, help='of the random choices')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
