"""Camera frames to what a tower sees: resized, scaled to 0..1, normalised."""

from collections.abc import Iterator
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Resize a picture as the authors' pipeline does: OpenCV's bilinear rule on whole grey levels.

    `frame` is (H, W, 3) uint8; `size` is (h, w) in pixels. Returns (h, w, 3) uint8.
    """
    height, width = size
    if frame.shape[:2] == (1, 1):
        # OpenCV 4.5, which Humble has, takes no picture of one pixel.
        return np.full((height, width, 3), frame)
    return cv2.resize(np.ascontiguousarray(frame), (width, height),
                      interpolation=cv2.INTER_LINEAR)


def resize_on_device(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Do the same for a batch, wherever it lies, to the last bit.

    What OpenCV computes in fixed point is computed here with the same numbers: floating point
    would be off by one grey level in a tenth of the pixels. `frames` is (B, H, W, 3) uint8; `size`
    is (h, w) in pixels. Returns (B, h, w, 3) uint8.
    """
    if frames.shape[1:3] == size:
        return frames
    height, width = frames.shape[1:3]
    rows, ((left, left_weight), (right, right_weight)) = taps(
        (height, width), size, frames.device)

    def share(row: Tensor, weight: Tensor) -> Tensor:
        line = frames.index_select(1, row)
        line = (line.index_select(2, left).int() * left_weight[:, None]
                + line.index_select(2, right).int() * right_weight[:, None])
        return weight[:, None, None] * (line >> 4) >> 16

    upper, lower = (share(row, weight) for row, weight in rows)
    return (upper + lower + 2 >> 2).to(torch.uint8)


@lru_cache(maxsize=16)
def taps(frame_size: tuple[int, int], size: tuple[int, int], device: torch.device | str
         ) -> tuple[tuple[tuple[Tensor, Tensor], ...], ...]:
    """
    Return where each row of a resized frame comes from, and each column.

    For either there are two neighbours: their indices, int64, and their weights in 1/2048, int32.
    """
    return tuple(
        tuple((torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device))
              for index, weight in axis)
        for axis in (_row_taps(frame_size[0], size[0]), _column_taps(frame_size[1], size[1])))


def _row_taps(old: int, new: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # Beyond the border OpenCV takes the row at the border for both neighbours ...
    first, share = _positions(old, new)
    yield first.clip(0, old - 1), _fixed_point(1 - share)
    yield (first + 1).clip(0, old - 1), _fixed_point(share)


def _column_taps(old: int, new: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # ... and of columns the one at the border alone, which rounds differently.
    first, share = _positions(old, new)
    share = np.where((first < 0) | (first >= old - 1), np.float32(0), share)
    yield first.clip(0, old - 1), _fixed_point(1 - share)
    yield (first + 1).clip(0, old - 1), _fixed_point(share)


def _positions(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return between which pixels the new ones lie, and how far on, in OpenCV's precision."""
    scale = 1 / (new / old)
    position = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position)
    return first.astype(np.int64), position - first


def _fixed_point(weight: np.ndarray) -> np.ndarray:
    return np.rint(weight * 2048).astype(np.int32)


class Normalization:
    """Grey levels of 0..255 to what a tower was trained on; `mean` and `std` are for 0..1."""

    def __init__(self, mean: Sequence[float], std: Sequence[float],
                 device: torch.device | str) -> None:
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, frames: Tensor) -> Tensor:
        """Return (B, 3, h, w) float32 for frames (B, h, w, 3) uint8 on the same device."""
        pixels = frames.permute(0, 3, 1, 2).float()
        return pixels.div_(255).sub_(self._mean).div_(self._std)
