"""The node in a process that is made quickly, to be ended by signals in any of its states."""

import functools
import multiprocessing
import os
import sys
import time
from unittest import mock

from csa_ros.ros import node
from graph import ProbeSegmenter

# Far longer than a test waits for the end of the process.
FOREVER = 600.0
# Images so wide are never done.
ENDLESS_WIDTH = 80


class SlowSegmenter(ProbeSegmenter):
    """Encodes the words of its first vocabulary, and then none in a useful time."""

    def encode(self, vocabulary, prompts, examples):
        if self.encoded:
            time.sleep(FOREVER)
        return super().encode(vocabulary, prompts, examples)

    def _finish(self, images, *arguments):
        if images[0].shape[1] == ENDLESS_WIDTH:
            time.sleep(FOREVER)
        return super()._finish(images, *arguments)


def load_quickly(folder, attention, residual, settings, **_):
    return SlowSegmenter(folder, attention, residual, settings)


def load_slowly(**_):
    # In pieces, as loading a model is many calls.
    while True:
        time.sleep(0.1)


def run(folder, domain, output, load, arguments):
    """Be the executable `segment`, with a segmenter of the test's."""
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    with output.open('w') as file:
        for descriptor in 1, 2:
            os.dup2(file.fileno(), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'w', 1)
    make = functools.partial(node.SegmentNode, functools.partial(load, folder=folder))
    with mock.patch.object(node, 'SegmentNode', make):
        code = node.main(['segment', '--ros-args', *arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    # As the executable does.
    os._exit(code)


def start(folder, domain, output, load, *arguments):
    """Start the node; PyTorch has been imported where it is forked from."""
    context = multiprocessing.get_context('forkserver')
    # Not this module: the server does not search the folder of the tests.
    context.set_forkserver_preload(['csa_ros.ros.node'])
    # A daemon: the end of the tests would wait for what a failed one has left running.
    process = context.Process(
        target=run, args=(folder, domain, output, load, arguments), daemon=True)
    process.start()
    return process
