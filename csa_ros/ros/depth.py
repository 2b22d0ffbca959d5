"""Depth images: to metres, and to the segmented frame that they belong to."""

from collections import deque
from typing import Any

from builtin_interfaces.msg import Time
from csa_ros.ros.content import spelled
from csa_ros.ros.images import ImageError
from csa_ros.ros.images import read_samples
import numpy as np
from sensor_msgs.msg import Image

_SECOND = 10**9


def to_metres(msg: Image) -> np.ndarray:
    """
    Convert a depth image to metres along the optical axis.

    `msg` is `16UC1` or `mono16` in millimetres, where 0 means that nothing was measured, or
    `32FC1` in metres, where NaN, the infinities, 0 and negative values mean it (REP 118). Rows may
    be padded, in either byte order.

    Returns (H, W) float32, NaN where nothing was measured. Raises ImageError for another
    encoding, or if size, `step` and data contradict each other.
    """
    encoding = spelled(msg.encoding)
    if encoding in ('16UC1', 'mono16'):
        millimetres = read_samples(msg, 2)
        metres = np.divide(millimetres, 1000, dtype=np.float32)
        metres[millimetres == 0] = np.nan
        return metres
    if encoding == '32FC1':
        metres = read_samples(msg, 4)
        return np.where((metres > 0) & (metres < np.inf), metres, np.float32(np.nan))
    raise ImageError(
        f'encoding {msg.encoding[:40]!r} is no depth image; publish 16UC1 in millimetres or '
        '32FC1 in metres, registered to the camera')


class DepthMatcher:
    """
    Finds the depth image of each segmented frame by their stamps.

    A frame gets the depth image whose stamp is nearest to its own, if that is at most `slop`
    seconds away. It waits while a nearer one may still come, which is until one of its own stamp
    or a later one is here. One frame waits, the newest; when the next takes its place it goes with
    the nearest depth image so far. Depth stamps that go back, as when a bag loops, begin anew.

    The latest `depth_frames` depth images are kept, undecoded, and the one that is nearest to the
    frame in the model, which may take longer than they span.

    Not thread-safe.
    """

    def __init__(self, slop: float, depth_frames: int = 30) -> None:
        if not 0 <= slop < float('inf'):
            raise ValueError(f'slop is {slop} seconds, but must be finite and not negative')
        if depth_frames < 1:
            raise ValueError(f'depth_frames is {depth_frames}, but at least 1 must be kept')
        self._slop = round(slop * _SECOND)
        # All stamps are in nanoseconds; those of the depth images ascend.
        self._depths: deque[tuple[int, Image]] = deque(maxlen=depth_frames)
        self._waiting: tuple[int, Any] | None = None
        self._expected: int | None = None
        # The depth image that is nearest to what is expected.
        self._kept: tuple[int, Image] | None = None

    def expect_frame(self, stamp: Time) -> None:
        """Keep the depth image of a frame that goes into the model now until the next one does."""
        self._expected = _nanoseconds(stamp)
        self._kept = self._nearest(self._expected)

    def add_depth(self, msg: Image) -> tuple[Image, Any] | None:
        """Take a depth image; return it with the waiting frame if that is decided by it."""
        stamp = _nanoseconds(msg.header.stamp)
        if self._depths and stamp < self._depths[-1][0]:
            self._depths.clear()
        self._depths.append((stamp, msg))
        if self._expected is not None:
            self._kept = self._nearest(self._expected)
        return self._settle()

    def add_frame(self, stamp: Time, frame: Any) -> tuple[Image, Any] | None:
        """
        Take a frame; return its depth image and it, or None while it waits.

        If it has to wait, the pair of the frame that it replaces is returned, if there is one.
        """
        replaced, self._waiting = self._waiting, (_nanoseconds(stamp), frame)
        return self._settle() or (replaced and self._pair(*replaced))

    def explain(self) -> str:
        """Return why no depth image is near enough to the frame that waits; '' if there is one."""
        if self._waiting is None or self._pair(*self._waiting):
            return ''
        if not self._depths:
            return 'no depth image has arrived; remap `depth` to a topic that is published'
        gaps = [(stamp - self._waiting[0]) / _SECOND for stamp, _ in self._depths]
        if gaps[0] > 0 and len(gaps) == self._depths.maxlen:
            return (
                f'the frame is {gaps[0]:.3f} s older than the oldest of the {len(gaps)} depth '
                'images that are kept; segment faster or publish depth at a lower rate')
        gap = min(gaps, key=abs)
        return (
            f'the nearest depth image is {abs(gap):.3f} s {"later" if gap > 0 else "earlier"} '
            f'than the frame, more than the depth_slop of {self._slop / _SECOND:.3f} s; let the '
            'camera synchronise them, or raise depth_slop')

    def _settle(self) -> tuple[Image, Any] | None:
        """Return the pair of the waiting frame, and let it go, if no nearer depth can come."""
        if self._waiting is None or not self._depths:
            return None
        if self._depths[-1][0] < self._waiting[0]:
            return None
        pair = self._pair(*self._waiting)
        if pair:
            self._waiting = None
        return pair

    def _pair(self, stamp: int, frame: Any) -> tuple[Image, Any] | None:
        """Return the frame with the depth image that is nearest to it, if one is near enough."""
        nearest = self._nearest(stamp)
        if nearest is None or abs(nearest[0] - stamp) > self._slop:
            return None
        return nearest[1], frame

    def _nearest(self, stamp: int) -> tuple[int, Image] | None:
        depths = [self._kept, *self._depths] if self._kept else self._depths
        return min(depths, key=lambda depth: abs(depth[0] - stamp), default=None)


def _nanoseconds(stamp: Time) -> int:
    return stamp.sec * _SECOND + stamp.nanosec
