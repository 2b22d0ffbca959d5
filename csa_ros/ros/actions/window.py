"""Which frames of a stream are looked at, and which of those make up the last window."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
import math
from typing import Any

from csa_ros.ros.timeline import SECOND

# Of a window: where no image came for longer, what was before is another scene.
_GAP = 0.5
# Of the frames of a window: with fewer different ones, their order says little.
_LEAST = 0.5
# Images with the same stamp that are no image sent twice.
_MANY = 5


@dataclass(eq=False)
class Sample:
    """
    A frame that is looked at.

    `run` counts how often the stream has begun anew, `stamp` is in nanoseconds, and `arrival` in
    seconds by the steady clock. `seen` is what is kept of the `image` once it was looked at.
    """

    run: int
    stamp: int
    image: Any
    arrival: float
    seen: Any = None


class Sampler:
    """
    Takes the first frame of each part of the window, by the stamps, and no others.

    A window has `frames` parts in `seconds`. `runs` counts how often the stream has begun anew,
    because stamps went back or nothing came for long, and `reason` says why it last has.
    """

    def __init__(self, seconds: float, frames: int, runs: int = 0) -> None:
        self.runs = runs
        self.reason = ''
        self._seconds = seconds
        self._period = round(seconds * SECOND / frames)
        self._first = self._last = self._taken = -1
        # How many images in a row had the same stamp.
        self._same = 0

    @property
    def stands_still(self) -> bool:
        """Return whether images have the same stamp one after the other."""
        return self._same >= _MANY

    def take(self, stamp: int) -> bool:
        """Return whether a frame with a stamp, in nanoseconds, is looked at."""
        self._same = self._same + 1 if stamp == self._last else 0
        if self._last < 0:
            self._begin(stamp)
        elif stamp < self._last - self._period:
            self._begin(stamp, f'stamps went back by {(self._last - stamp) / SECOND:.1f} s')
        elif stamp > self._last + _GAP * self._seconds * SECOND:
            self._begin(stamp, f'no image for {(stamp - self._last) / SECOND:.1f} s')
        self._last = max(stamp, self._last)
        part = (stamp - self._first) // self._period
        if part <= self._taken:
            return False
        self._taken = part
        return True

    def _begin(self, stamp: int, reason: str = '') -> None:
        self.runs += 1
        self.reason = reason
        self._first = self._last = stamp
        self._taken = -1


class Window:
    """
    The samples of the last seconds, as many as a window has and one more.

    `choose` returns those that make up the window: of each part the nearest one in time, the
    oldest first. From a slow camera one may be there twice.
    """

    def __init__(self, seconds: float, frames: int) -> None:
        self.seconds = seconds
        self.frames = frames
        self._period = seconds * SECOND / frames
        self._samples: deque[Sample] = deque(maxlen=frames + 1)

    @property
    def newest(self) -> Sample | None:
        """Return the last sample, None if there is none."""
        return self._samples[-1] if self._samples else None

    @property
    def filled(self) -> float:
        """Return the share of the window that there are samples of, from 0 to 1."""
        if not self._samples:
            return 0.0
        span = self._samples[-1].stamp - self._samples[0].stamp
        return min(1.0, (span + self._period) / (self.seconds * SECOND))

    def add(self, sample: Sample) -> None:
        """Take the next sample; one of another run begins a window of its own."""
        newest = self.newest
        if newest and sample.run != newest.run:
            self._samples.clear()
        elif newest and sample.stamp <= newest.stamp:
            # Its turn came late.
            return
        self._samples.append(sample)

    def drop(self, sample: Sample) -> None:
        """Forget a sample that cannot be looked at."""
        if sample in self._samples:
            self._samples.remove(sample)

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()

    def choose(self) -> Sequence[Sample]:
        """Return the samples of the window, none while it is not full."""
        return self._nearest() if not self.explain() else ()

    def explain(self) -> str:
        """Return why the window is not full; '' if it is."""
        if not self._samples:
            return 'no image has arrived yet'
        # A sample may be half a part from where it should be.
        if self.filled < 1 - 0.5 / self.frames - 1e-9:
            return (f'the window of {self.seconds:g} s has images of '
                    f'{self.filled * self.seconds:.1f} s only')
        different = len(set(map(id, self._nearest())))
        if different < math.ceil(_LEAST * self.frames):
            return (f'the window of {self.seconds:g} s has {different} different images, fewer '
                    f'than {math.ceil(_LEAST * self.frames)}')
        return ''

    def _nearest(self) -> list[Sample]:
        last = self._samples[-1].stamp
        moments = [last - part * self._period for part in reversed(range(self.frames))]
        return [min(self._samples, key=partial(_distance, moment)) for moment in moments]


def _distance(moment: float, sample: Sample) -> float:
    return abs(sample.stamp - moment)
