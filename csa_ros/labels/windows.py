"""Where the sliding windows of a frame lie, and cutting them out."""

from collections.abc import Sequence
from dataclasses import dataclass
import math

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowPlan:
    """
    The windows of one frame size: a grid of equal rectangles, in pixels.

    `height` and `width` are those of the frame that is cut (after resizing to the short side),
    `crop_height` and `crop_width` those of every window. Windows start at every pair of
    `tops` and `lefts` and are counted row by row.
    """

    height: int
    width: int
    crop_height: int
    crop_width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.tops) * len(self.lefts)


def plan_windows(height: int, width: int, crop: int, stride: int) -> WindowPlan:
    """
    Plan square windows of `crop` pixels every `stride` pixels, as SCLIP does.

    The last window of a row or column is shifted back to end at the border. Along a side that is
    shorter than `crop` there is one window, as long as that side. Raises ValueError for a length
    below 1, and for `stride` above `crop`, which leaves gaps.
    """
    for name, value in (('height', height), ('width', width), ('crop', crop), ('stride', stride)):
        if value < 1:
            raise ValueError(f'{name} is {value} pixels; it must be at least 1')
    if stride > crop:
        raise ValueError(
            f'stride {stride} is larger than crop {crop}, so that pixels between two windows '
            f'would get no label; choose a stride from 1 to {crop}')
    return WindowPlan(
        height, width, min(height, crop), min(width, crop),
        _starts(height, crop, stride), _starts(width, crop, stride))


def plan_whole(height: int, width: int) -> WindowPlan:
    """
    Plan one window that is the whole frame.

    Raises ValueError for a length below 1.
    """
    longest = max(height, width)
    return plan_windows(height, width, longest, longest)


def whole_strides(height: int, width: int, crop: int, stride: int) -> tuple[int, int]:
    """
    Return the size to which RADSeg enlarges a frame, so that windows lie `stride` pixels apart.

    The longer side becomes a multiple of the stride, the other as much longer and then one too;
    neither is less than `crop`. A frame that fits already stays as it is.
    """
    longer = max(height, width)
    length = math.ceil(longer / stride) * stride
    rows, columns = (max(math.ceil(int(side * length / longer) / stride) * stride, crop)
                     for side in (height, width))
    return rows, columns


def cut(frame: Tensor, plan: WindowPlan, chosen: Sequence[int] | None = None) -> Tensor:
    """
    Cut windows of `plan` out of a batch of frames.

    `frame` is (B, C, H, W) with H and W as planned, of any dtype and on any device. Returns a
    copy, (windows, C, crop_height, crop_width): all windows of the first frame row by row, then
    those of the next; only the `chosen` ones, if any are, by their places in that order. Raises
    ValueError if the frames have another size than the plan.
    """
    if frame.shape[-2:] != (plan.height, plan.width):
        raise ValueError(
            f'frames are {frame.shape[-2]} x {frame.shape[-1]} (height x width), the plan is for '
            f'{plan.height} x {plan.width}; resize them or plan again')
    windows = []
    for index in range(len(frame) * len(plan)) if chosen is None else chosen:
        number, place = divmod(index, len(plan))
        row, column = divmod(place, len(plan.lefts))
        top, left = plan.tops[row], plan.lefts[column]
        windows.append(frame[number, :, top:top + plan.crop_height, left:left + plan.crop_width])
    return torch.stack(windows)


def _starts(side: int, crop: int, stride: int) -> tuple[int, ...]:
    """Return where the windows along one side start."""
    last = max(side - crop, 0)
    count = (last + stride - 1) // stride + 1
    return tuple(min(index * stride, last) for index in range(count))
