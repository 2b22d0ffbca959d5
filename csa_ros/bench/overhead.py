"""
The node's own overhead: from the arrival of an image to its labels, less what the model takes.

The real node segments what a camera process sends it over DDS, for a listener in a third process.
Functions of the node are wrapped for as long as it is measured, so that the node itself carries no
stopwatch.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from functools import wraps
import os
import threading
import time
from typing import Any
from unittest import mock

from csa_ros import draw
from csa_ros.bench.listening import listener
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import table
from csa_ros.bench.timing import Timing
from csa_ros.demo.run import processes
from csa_ros.ros import images
from csa_ros.ros import outputs
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.node import SegmentNode
from csa_ros.segmenter import Segmenter
import rclpy
from rclpy.context import Context
from rclpy.executors import Executor
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecyclePublisher
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from tqdm import tqdm

TITLE = TITLES['overhead']
TARGET_MS = 6.0
# What a camera sends, and which outputs somebody listens to.
CASES = (
    ('rgb8', ('labels',)),
    ('bgr8', ('labels',)),
    ('nv12', ('labels',)),
    ('rgb8', ('labels', 'overlay')),
)
# What happens between an image's arrival and its last output, in order.
STEPS = ('hand over', 'convert', 'segment', 'draw', 'make messages', 'publish', 'rest')
WARM_UP_FRAMES = 5
TIMEOUT = 120.0


def measure(options: argparse.Namespace, progress: tqdm) -> dict[str, Any]:
    """
    Measure every case.

    Returns for each the Timing of what rclpy takes before the callback (`take`), of all STEPS, of
    their sum (`total`) and of the sum without the segmenter (`overhead`).
    """
    expect(progress, len(CASES) * (WARM_UP_FRAMES + options.overhead_frames))
    return {
        'size': list(options.overhead_size),
        'rate': options.overhead_rate,
        'cases': [{
            'encoding': encoding,
            'outputs': list(topics),
            'timings': _measure_case(encoding, topics, options, progress),
        } for encoding, topics in CASES]}


def describe(result: dict[str, Any]) -> str:
    """Return the table, in markdown."""
    width, height = result['size']
    columns = ('overhead', *(step for step in STEPS if step != 'segment'), 'take', 'segment')
    rows = []
    for case in result['cases']:
        timings = case['timings']
        rows.append([
            f'{case["encoding"]} to {", ".join(case["outputs"])}',
            *(in_ms(timings[name]['median_ms']) for name in columns),
            in_ms(timings['overhead']['p95_ms'])])
    return '\n\n'.join([
        f'Milliseconds a frame of {width} x {height} pixels costs in the node, median: from the '
        'image callback to the last published output, without the segmenter. `take` is what rclpy '
        'does before the callback, and `segment` the model; neither is in the overhead. On a GPU '
        'the overlay is blended there, as part of `segment`, elsewhere as part of `draw`.',
        table(['image to outputs', *columns, 'overhead p95'], rows)])


def targets(result: dict[str, Any]) -> list[Target]:
    """Return how the target fared: the slowest encoding counts, with labels alone."""
    aim = (f'image callback to published labels, model excluded, 1280 x 720: at most '
           f'{TARGET_MS:.0f} ms median')
    overheads = [case['timings']['overhead']['median_ms'] for case in result['cases']
                 if case['outputs'] == ['labels']]
    if not overheads or result['size'] != [1280, 720]:
        return [Target(aim)]
    return [Target(aim, f'{in_ms(max(overheads))} ms', max(overheads) <= TARGET_MS)]


class Stopwatch:
    """
    Sums up what the functions of the node take for each frame.

    `frames` holds one dictionary a frame, seconds by step. Only what the thread `segment` does
    belongs to frames.
    """

    def __init__(self) -> None:
        self.frames: list[dict[str, float]] = []
        self.takes: list[float] = []
        self._steps: dict[str, float] = defaultdict(float)
        self._inner = 0.0
        self._first_start = 0.0

    def step(self, name: str, function: Callable) -> Callable:
        """Wrap a function so that its time counts as a step, and no longer as one around it."""
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread().name != 'segment':
                return function(*args, **kwargs)
            outer, self._inner = self._inner, 0.0
            start = time.monotonic()
            self._first_start = self._first_start or start
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.monotonic() - start
                self._steps[name] += elapsed - self._inner
                self._inner = outer + elapsed
        return timed

    def take(self, function: Callable) -> Callable:
        """Wrap what takes a message from a subscription; only images count."""
        @wraps(function)
        def timed(executor: Executor, subscription: Subscription) -> Any:
            start = time.perf_counter()
            taken = function(executor, subscription)
            if subscription.msg_type is Image and taken is not None:
                self.takes.append(time.perf_counter() - start)
            return taken
        return timed

    def end(self, function: Callable) -> Callable:
        """Wrap `Statistics.published`, which ends a frame and knows when it arrived."""
        @wraps(function)
        def timed(statistics: Statistics, latency: float, age: float | None) -> None:
            arrival = time.monotonic() - latency
            steps = {name: self._steps[name] for name in STEPS}
            steps['hand over'] = self._first_start - arrival
            steps['rest'] = latency - sum(steps.values())
            self.frames.append(steps)
            self._steps.clear()
            self._first_start = self._inner = 0.0
            function(statistics, latency, age)
        return timed


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Wrap the functions of the node, for nodes that are made and end within the context."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for owner, name, step in (
                (images, 'to_rgb', 'convert'),
                (Segmenter, 'segment', 'segment'),
                (draw, 'overlay', 'draw'),
                (draw, 'draw_key', 'draw'),
                (outputs, 'to_message', 'make messages'),
                (LifecyclePublisher, 'publish', 'publish')):
            stack.enter_context(mock.patch.object(
                owner, name, watch.step(step, getattr(owner, name))))
        stack.enter_context(mock.patch.object(
            Executor, '_take_subscription', watch.take(Executor._take_subscription)))
        stack.enter_context(mock.patch.object(
            Statistics, 'published', watch.end(Statistics.published)))
        yield watch


def _measure_case(encoding: str, topics: tuple[str, ...], options: argparse.Namespace,
                  progress: tqdm) -> dict[str, dict[str, float]]:
    # Robots nearby must not take these images and labels for theirs.
    namespace = f'/bench_{os.getpid()}'
    width, height = options.overhead_size
    camera = ['--ros-args', '-r', f'__ns:={namespace}', '--log-level', 'warn']
    for name, value in {'encoding': encoding, 'width': width, 'height': height,
                        'rate': options.overhead_rate, 'loop': 4, 'hard': 'false'}.items():
        camera += ['-p', f'{name}:={value}']
    with listener(namespace, topics), processes({'demo_camera': camera}), stopwatch() as watch:
        _run_node(namespace, watch, WARM_UP_FRAMES + options.overhead_frames, progress)
    return _timings(watch)


def _run_node(namespace: str, watch: Stopwatch, count: int, progress: tqdm) -> None:
    """Run the node until it has segmented `count` frames; TimeoutError if it does not."""
    context = Context()
    rclpy.init(context=context)
    node = SegmentNode(namespace=namespace, context=context,
                       cli_args=['--ros-args', '--log-level', 'warn'],
                       parameter_overrides=[Parameter('model', value='demo')])
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        for transition in node.trigger_configure, node.trigger_activate:
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise RuntimeError('the node did not start; its log says why')
        deadline = time.monotonic() + TIMEOUT
        done = 0
        while done < count:
            executor.spin_once(timeout_sec=0.1)
            new, done = len(watch.frames) - done, len(watch.frames)
            progress.update(new)
            if time.monotonic() > deadline:
                raise TimeoutError(f'the node segmented {done} of {count} frames within '
                                   f'{TIMEOUT:.0f} s; is the machine busy, or the rate too low?')
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _timings(watch: Stopwatch) -> dict[str, dict[str, float]]:
    frames = watch.frames[WARM_UP_FRAMES:]
    series = {step: [frame[step] for frame in frames] for step in STEPS}
    series['total'] = [sum(frame.values()) for frame in frames]
    series['overhead'] = [sum(frame.values()) - frame['segment'] for frame in frames]
    series['take'] = watch.takes[WARM_UP_FRAMES:]
    return {name: Timing(seconds).to_dict() for name, seconds in series.items()}
