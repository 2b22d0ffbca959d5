"""
From an image message to published masks: the threads, and the state that they work with.

Three threads take part. The executor's hands over images (`offer`) and configurations (`change`)
and never waits. One encodes vocabularies. One segments; it alone owns the snapshot and publishes,
so that a mask and the legend before it cannot disagree.
"""

from dataclasses import dataclass
import gc
import time

from csa_ros.model.reuse import WindowMemory
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.images import ImageError
from csa_ros.ros.images import to_rgb
from csa_ros.ros.outputs import LegendOutput
from csa_ros.ros.outputs import MaskOutputs
from csa_ros.ros.parameters import Config
from csa_ros.ros.worker import LatestWorker
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Settings
from csa_ros.segmenter import Words
import numpy as np
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
import torch

LOG_PERIOD = 5.0
WARM_UP_SIZE = (480, 640)
# An age beyond this is two clocks that disagree, not a late frame.
MAX_AGE = 60.0
_NEVER_JUMPS = Clock(clock_type=ClockType.STEADY_TIME)


@dataclass(frozen=True)
class Snapshot:
    """All that a frame is segmented and drawn with; replaced as a whole, never changed."""

    version: int
    words: Words
    settings: Settings
    overlay_alpha: float
    overlay_legend: bool


@dataclass(frozen=True)
class Bookmark:
    """Where the legends of a node are: the last version, and the instant after the last mask."""

    version: int = 0
    after_last_mask: int = 0


@dataclass(frozen=True)
class _Frame:
    image: Image
    arrival: float


class Pipeline:
    """
    Segments images by the newest configuration.

    Making one encodes the vocabulary and runs a blank frame, so that the first real one is not
    slow; errors of the segmenter pass through. Legends go on from `bookmark`.
    """

    def __init__(self, node: LifecycleNode, segmenter: Segmenter, config: Config,
                 bookmark: Bookmark, statistics: Statistics) -> None:
        self.segmenter = segmenter
        self.fault = ''
        self._node = node
        self._log = node.get_logger()
        self._statistics = statistics
        self._lazy = config.lazy
        self._newest = self._snapshot = _snapshot(
            config, bookmark.version + 1, segmenter.encode(config.vocabulary, config.prompts))
        blank = np.zeros((*WARM_UP_SIZE, 3), np.uint8)
        segmenter.segment(blank, self._snapshot.words, self._snapshot.settings)
        self._memory = WindowMemory()
        self._legend = LegendOutput(node, bookmark.after_last_mask)
        self._masks = MaskOutputs(node)
        self._frames = LatestWorker('segment', self._process, self._report_frame_error)
        self._vocabularies = LatestWorker(
            'encode', self._prepare, self._report_change_error, background=True)
        self._frames.set_min_period(_period(config))

    @property
    def newest(self) -> Snapshot:
        """Return what is in force, or will be from the next frame on."""
        return self._newest

    def check(self, config: Config) -> None:
        """Raise ValueError if a configuration does not fit the model."""
        self.segmenter.resolve(config.settings)
        self.segmenter.check(config.vocabulary, config.prompts)

    def activate(self) -> None:
        """Say what masks mean, now that publishing is possible."""
        self._frames.call(self._announce)

    def offer(self, image: Image) -> None:
        """Take an image; it is segmented unless a newer one comes first or nobody listens."""
        self._statistics.received()
        if self._lazy and not self._masks.wanted():
            self._statistics.idle()
        elif self._frames.offer(_Frame(image, time.monotonic())):
            self._statistics.dropped()

    def change(self, config: Config) -> None:
        """
        Bring another configuration into force, as a whole, once its words are encoded.

        Frames go on with the old one until then. Of several that wait only the newest is encoded.
        """
        self._lazy = config.lazy
        self._frames.set_min_period(_period(config))
        self._vocabularies.offer(config)

    def pause(self, timeout: float) -> bool:
        """Forget what was seen; return whether the frame in progress ended in time."""
        ended = self._frames.flush(timeout)
        self._frames.call(self._memory.clear)
        return ended

    def close(self, timeout: float) -> Bookmark:
        """End the threads and free the model; return where the next pipeline is to go on."""
        ended = [worker.stop(timeout) for worker in (self._vocabularies, self._frames)]
        if not all(ended):
            self._log.warning('work in progress goes on for a while after cleanup')
        bookmark = Bookmark(self._newest.version, self._legend.after_last_mask)
        self._masks.destroy()
        self._legend.destroy()
        self.segmenter = self._snapshot = self._newest = self._memory = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return bookmark

    def _process(self, frame: _Frame) -> None:
        snapshot = self._snapshot
        rgb = to_rgb(frame.image)
        result = self.segmenter.segment(
            rgb, snapshot.words, snapshot.settings, memory=self._memory,
            overlay_alpha=snapshot.overlay_alpha if self._masks.overlay_wanted() else None)
        header = frame.image.header
        self._legend.cover(header.stamp)
        self._masks.publish(
            header, result, snapshot.words.vocabulary, snapshot.overlay_legend)
        self._statistics.published(time.monotonic() - frame.arrival, self._age(frame))

    def _age(self, frame: _Frame) -> float | None:
        """Return the seconds since the stamp, None if that was set by an unrelated clock."""
        stamp = frame.image.header.stamp
        age = self._node.get_clock().now().nanoseconds * 1e-9 - (stamp.sec + stamp.nanosec * 1e-9)
        return age if 0 <= age <= MAX_AGE else None

    def _prepare(self, config: Config) -> None:
        newest = self._newest
        words, version = self._encode(config, newest.words), newest.version
        if words.vocabulary != newest.words.vocabulary:
            version += 1
        self._newest = _snapshot(config, version, words)
        self._frames.call(lambda snapshot=self._newest: self._adopt(snapshot))

    def _encode(self, config: Config, old: Words) -> Words:
        """Return the words of a configuration, or the old ones if they cannot be had."""
        if (config.vocabulary, config.prompts) == (old.vocabulary, old.prompts):
            self.fault = ''
            return old
        try:
            words = self.segmenter.encode(config.vocabulary, config.prompts)
        except Exception as error:
            self.fault = f'the new words are not in force: {_describe(error)}'
            self._log.error(f'{self.fault}. The old ones stay; set vocabulary or prompts again')
            return old
        self.fault = ''
        return words

    def _adopt(self, snapshot: Snapshot) -> None:
        old, self._snapshot = self._snapshot, snapshot
        if (snapshot.version, snapshot.settings.unknown_threshold) != (
                old.version, old.settings.unknown_threshold):
            self._announce()
        if snapshot.version != old.version:
            self._log.info(f'vocabulary version {snapshot.version}: '
                           f'{", ".join(snapshot.words.vocabulary.names)}')

    def _announce(self) -> None:
        snapshot = self._snapshot
        legend = snapshot.words.vocabulary.legend(snapshot.version, self.segmenter.name)
        self._legend.announce(legend, snapshot.settings.unknown_threshold)

    def _report_frame_error(self, error: Exception) -> None:
        if not self._node.context.ok():
            return  # nothing can be published while the process shuts down
        if isinstance(error, ImageError):
            self._statistics.bad(str(error))
            self._log.error(f'image dropped: {error}', throttle_duration_sec=LOG_PERIOD,
                            throttle_time_source_type=_NEVER_JUMPS)
        else:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                # What the frame held is free by now; another process may need it.
                torch.cuda.empty_cache()
            self._statistics.failed(_describe(error))
            self._log.error(f'frame failed: {_describe(error)}', throttle_duration_sec=LOG_PERIOD,
                            throttle_time_source_type=_NEVER_JUMPS)

    def _report_change_error(self, error: Exception) -> None:
        self.fault = f'a change of parameters failed: {_describe(error)}'
        self._log.error(self.fault)


def _snapshot(config: Config, version: int, words: Words) -> Snapshot:
    return Snapshot(
        version, words, config.settings, config.overlay_alpha, config.overlay_legend)


def _period(config: Config) -> float:
    return 1 / config.max_rate if config.max_rate else 0.0


def _describe(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'
