"""Where in frames of one size the windows lie, and at which sizes frames are seen and labelled."""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.choices import LONG_SIDE
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import whole_strides
from csa_ros.labels.windows import WindowPlan
from csa_ros.settings import ResolvedSettings


@dataclass(frozen=True)
class Layout:
    """
    The windows of a frame: `plan`, of the frame resized to `frame_size`.

    Sizes are (height, width) in pixels; `output_size` is that of the frame as it came, and of its
    labels.
    """

    output_size: tuple[int, int]
    frame_size: tuple[int, int]
    plan: WindowPlan


def lay_out(size: Sequence[int], settings: ResolvedSettings, patch: int, whole: bool = False
            ) -> Layout:
    """
    Return the windows of a frame of a `size` (H, W).

    `patch` is the side of a patch. `whole` tells that the patches of a frame are compared with
    words, not those of its windows, which then lie whole strides apart.
    """
    height, width = size
    frame_size = _frame_size(height, width, settings, patch, whole)
    return Layout((height, width), frame_size, plan_of(frame_size, settings))


def plan_of(size: Sequence[int], settings: ResolvedSettings) -> WindowPlan:
    """Return the windows of a resized frame (h, w)."""
    height, width = size
    if settings.inference == 'whole':
        return plan_whole(height, width)
    return plan_windows(height, width, settings.crop, settings.stride)


def _frame_size(height: int, width: int, settings: ResolvedSettings, patch: int, whole: bool
                ) -> tuple[int, int]:
    scale = min(settings.short_side / min(height, width), LONG_SIDE / max(height, width))

    def fit(side: int) -> int:
        side = int(side * scale + 0.5)
        if settings.inference == 'slide' and side >= settings.crop:
            return side
        # The tower drops what does not fill a patch, which would shift the labels of a window
        # that is as large as the frame.
        return max(round(side / patch), 1) * patch

    fitted = fit(height), fit(width)
    if whole and settings.inference == 'slide':
        return whole_strides(*fitted, settings.crop, settings.stride)
    return fitted
