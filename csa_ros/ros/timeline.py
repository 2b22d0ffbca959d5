"""Which words hold for which frame: what the stamps of legends and masks promise."""

from collections import deque
from typing import Generic
from typing import TypeVar

from builtin_interfaces.msg import Time
from rclpy.clock import Clock

State = TypeVar('State')
SECOND = 10**9
# Of a stamp, in nanoseconds: its seconds are an int32.
LAST_TIME = 2**31 * SECOND - 1
# Cameras whose stamps differ by more do not share a clock.
LATE = SECOND
# An age beyond this, in seconds, is two clocks that disagree, not a late frame.
MAX_AGE = 60.0


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as one number, at least one below LAST_TIME."""
    return min(stamp.sec * SECOND + stamp.nanosec, LAST_TIME - 1)


def to_time(stamp: int) -> Time:
    """Return nanoseconds as a stamp."""
    sec, nanosec = divmod(stamp, SECOND)
    return Time(sec=sec, nanosec=nanosec)


def age_of(stamp: Time, clock: Clock) -> float | None:
    """Return the seconds since a stamp, None if that was set by an unrelated clock."""
    age = clock.now().nanoseconds * 1e-9 - (stamp.sec + stamp.nanosec * 1e-9)
    return age if 0 <= age <= MAX_AGE else None


class Timeline(Generic[State]):
    """
    Chooses the state, such as the words, that each frame is segmented with.

    Image headers have no room for a version, so that a legend carries a stamp: it holds for every
    mask that is published after it with a stamp that is not older, until the next legend. A new
    state gets the instant after the stamp of the last mask. What follows:

    - While the stamps of each camera increase, a mask's legend is the one with the latest stamp
      that is not after the mask's: a recording can be read without knowing the order of arrival.
      With several cameras that takes some care. A frame that was taken before the last mask of
      another camera, but comes after it, may find newer words in force: it gets the older ones.
    - When the stamps of a camera repeat or go back (a bag that loops, a clock that is set), the
      legend is stated again with an earlier stamp. The order of arrival still tells which one
      holds; stamps alone are then ambiguous, as images of the same stamp may have been labelled
      with different words.

    The clock of this machine plays no part. Use from one thread at a time. All stamps are in
    nanoseconds. `after_last_mask` is where the timeline before this one ended.
    """

    def __init__(self, after_last_mask: int = 0) -> None:
        # Of each camera, the stamp of its last mask; of None, that of all cameras before.
        self._last: dict[str | None, int] = {None: after_last_mask - 1}
        # States and the stamps from which they hold, rising; those that late frames may need.
        self._changes: deque[tuple[int, State]] = deque()

    @property
    def after_last_mask(self) -> int:
        """Return the instant after the latest of the cameras' last masks."""
        return max(self._last.values()) + 1

    def change(self, state: State) -> int:
        """Let a state hold from now on; return the stamp for its legend."""
        since = self.after_last_mask
        while self._changes and self._changes[-1][0] >= since:
            self._changes.pop()
        self._changes.append((since, state))
        while len(self._changes) > 1 and self._changes[1][0] <= since - LATE:
            self._changes.popleft()
        return since

    def replace(self, state: State) -> None:
        """Put a state that needs no legend of its own in the newest one's place."""
        if self._changes:
            since, _ = self._changes.pop()
            self._changes.append((since, state))

    def assign(self, camera: str, stamp: int) -> tuple[State, int | None]:
        """
        Return the state for the next frame of a camera, which has this stamp.

        Also returns the stamp with which the newest legend is to be stated again before the
        frame's mask, or None. There must have been a `change` before.
        """
        since, state = self._changes[-1]
        restated = None
        if stamp < since:
            older = self._older(camera, stamp)
            if older:
                state = older[-1]
            else:
                restated = stamp
                self._changes.clear()
                self._changes.append((stamp, state))
        self._last.pop(None, None)
        self._last[camera] = stamp
        return state, restated

    def _older(self, camera: str, stamp: int) -> list[State]:
        """Return the states that were there before a frame that is late, in their order."""
        went_back = stamp <= self._last.get(camera, -1)
        if went_back or self._changes[-1][0] - stamp > LATE:
            return []
        return [state for since, state in self._changes if since <= stamp]
