"""Features of windows that are kept while the pixels under them stay as they are."""

from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.labels.windows import WindowPlan
import cv2
import numpy as np
import torch
from torch import Tensor


class WindowMemory:
    """
    Remembers the features of the windows of one camera's last frame.

    Features, not labels, are kept: new words need no new encoding. They belong to one model and
    one attention; `clear` when either changes. One thread at a time. Of each window the pixels
    and the features of its last encoding are held, and nothing older.

    `windows_seen` and `windows_encoded` count since the memory was made.
    """

    def __init__(self) -> None:
        self.windows_seen = 0
        self.windows_encoded = 0
        self.clear()

    def clear(self) -> None:
        """Forget all windows; the next frame is encoded as a whole."""
        self._plan: WindowPlan | None = None
        self._frame = 0
        self._features = torch.empty(0, 0, 0, 0)
        # Of each window: the frame in which it was encoded, and its pixels then.
        self._encoded: dict[int, tuple[int, np.ndarray]] = {}

    def features(self, frame: np.ndarray, plan: WindowPlan,
                 encode: Callable[[list[int]], Tensor], threshold: float, max_age: int,
                 grid: Sequence[int] | None = None) -> Tensor:
        """
        Return the features of all windows of a frame, encoding those that need it.

        A window is encoded again if its `change` since it was last encoded is above `threshold`
        grey levels (0 to 255; at 0 the least difference counts), and in any case so often that a
        result serves at most `max_age` frames, counting the one that it was made from: at 1
        nothing is reused. Frames are counted as this method sees them. Another `plan` than that
        of the frame before makes the memory start afresh.

        `frame` (plan.height, plan.width, 3) uint8 is what the windows are cut from; the caller
        may overwrite it afterwards. `encode` takes the sorted indices, at least one, of windows
        of this frame, counted row by row, and returns their features (indices, gh, gw, D), which
        are copied. Features of another shape need the `grid` of patches (gh, gw) of a window.
        Returns (windows, gh, gw, D), which is never written to again. Raises ValueError for a
        frame of another shape or type, a `threshold` below 0 or a `max_age` below 1.
        """
        _check(frame, plan, threshold, max_age)
        if plan != self._plan:
            self.clear()
            self._plan = plan
        windows = [frame[top:top + plan.crop_height, left:left + plan.crop_width]
                   for top in plan.tops for left in plan.lefts]
        self._frame += 1
        stale = [index for index, pixels in enumerate(windows)
                 if self._is_stale(index, len(windows), pixels, threshold, max_age, grid)]
        if stale:
            self._remember(stale, windows, encode(stale))
        self.windows_seen += len(windows)
        self.windows_encoded += len(stale)
        return self._features

    def _is_stale(self, index: int, count: int, pixels: np.ndarray, threshold: float,
                  max_age: int, grid: Sequence[int] | None) -> bool:
        if index not in self._encoded:
            return True
        # Each window has its turn in every `max_age` frames, whatever else made it be encoded.
        # Windows encoded together would otherwise expire together, and a parked robot would
        # stutter every `max_age` frames.
        if (self._frame + index * max_age // count) % max_age == 0:
            return True
        encoded_in, before = self._encoded[index]
        # A turn is missed if `max_age` is lowered on the way, or if `encode` failed.
        if self._frame - encoded_in >= max_age:
            return True
        # Against the pixels that were encoded, not those of the frame before: slow changes add up.
        return change(before, pixels, grid or self._features.shape[1:3]) > threshold

    def _remember(self, stale: list[int], windows: list[np.ndarray], encoded: Tensor) -> None:
        features = dict(enumerate(self._features))
        features.update(zip(stale, encoded, strict=True))
        # A stack copies: `encoded` may be the output buffer of a CUDA graph. It needs no tensor
        # of indices either, whose upload would make the host wait for a GPU.
        self._features = torch.stack([features[index] for index in range(len(windows))])
        self._encoded.update({index: (self._frame, windows[index].copy()) for index in stale})


def change(before: np.ndarray, after: np.ndarray, grid: Sequence[int]) -> float:
    """
    Return how much two pictures differ, in grey levels: the most that any patch of them does.

    `before` and `after` are (h, w, 3) uint8, `grid` the number of patches down and across. The
    difference of a patch is the mean absolute difference of its pixels in the colour channel
    where it is largest. A mean over the whole picture would miss what is small, and a maximum over
    pixels would see nothing but noise.
    """
    rows, columns = ([*range(0, side - side % count, side // count), side]
                     for side, count in zip(before.shape, grid))
    sums = cv2.integral(cv2.absdiff(before, after))[np.ix_(rows, columns)]
    totals = np.diff(np.diff(sums, axis=0), axis=1)
    areas = np.outer(np.diff(rows), np.diff(columns))
    return float((totals / areas[..., None]).max())


def _check(frame: np.ndarray, plan: WindowPlan, threshold: float, max_age: int) -> None:
    expected = (plan.height, plan.width, 3)
    if frame.shape != expected or frame.dtype != np.uint8:
        raise ValueError(f'frame has shape {frame.shape} and type {frame.dtype}, the plan is for '
                         f'{expected} and uint8; resize the frame or plan again')
    if not threshold >= 0:
        raise ValueError(f'threshold is {threshold} grey levels: it must be at least 0')
    if max_age < 1:
        raise ValueError(f'max_age is {max_age} frames: it must be at least 1')
