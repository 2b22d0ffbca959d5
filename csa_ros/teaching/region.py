"""Regions of pictures, as people and detectors give them: boxes, polygons and masks."""

from collections.abc import Sequence
from typing import TypeAlias

from csa_ros.teaching.errors import TeachingError
import cv2
import numpy as np

# A box (x, y, width, height) in pixels, corners of a polygon (N, 2) as x and y, a mask (H, W) of
# what is not 0, or None for the whole picture.
Region: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | np.ndarray | None


def mask_of(region: Region, size: Sequence[int]) -> np.ndarray:
    """
    Return the mask of a region of a picture of a size (H, W), (H, W) uint8, 0 or 1.

    Boxes and polygons may reach beyond the picture, and end at its border. Raises TeachingError
    for what is no region, and one of which nothing is in the picture.
    """
    height, width = size
    if region is None or len(region) == 0:
        return np.ones((height, width), np.uint8)
    given = np.asarray(region)
    if given.shape == (height, width):
        mask = (given != 0).astype(np.uint8)
    elif given.dtype.kind not in 'iuf' or not np.isfinite(given).all():
        raise TeachingError(f'region is {region!r:.60}: {_KINDS}')
    elif given.shape == (4,):
        mask = _box(given, size)
    elif given.ndim == 2 and given.shape[1] == 2 and len(given) >= 3:
        # Beyond it OpenCV's coordinates, in fixed point, would overflow.
        reach = 4 * max(height, width)
        corners = given.astype(np.float64).clip(-reach, reach)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    else:
        raise TeachingError(f'region has the shape {given.shape}: {_KINDS}, of a picture of '
                            f'{width} x {height} pixels')
    if not mask.any():
        raise TeachingError(f'region {region!r:.60} lies outside the picture of {width} x '
                            f'{height} pixels: give one inside it')
    return mask


def check_corners(region: Region, size: Sequence[int]) -> None:
    """
    Raise TeachingError if a polygon has a corner outside a picture of a size (H, W).

    Who drew it had another picture before their eyes; a box may be larger than what is seen.
    """
    corners = np.asarray(region)
    if corners.ndim != 2:
        return
    height, width = size
    for x, y in corners.tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise TeachingError(
                f'the polygon has a corner at {x:g}, {y:g}, outside the picture of {width} x '
                f'{height} pixels: give corners inside it')


def is_box(region: Region) -> bool:
    """Return whether a region, for which there is a mask, is a box."""
    return region is not None and np.shape(region) == (4,)


_KINDS = ('give a box [x, y, width, height], three corners or more of a polygon [[x, y], ...], or '
          'a mask as large as the picture')


def _box(box: np.ndarray, size: Sequence[int]) -> np.ndarray:
    x, y, width, height = box.tolist()
    if width <= 0 or height <= 0:
        raise TeachingError(f'region is a box of {width:g} x {height:g} pixels: its width and '
                            'height must be above 0')
    mask = np.zeros(size, np.uint8)
    top, left = (max(round(value), 0) for value in (y, x))
    mask[top:max(round(y + height), 0), left:max(round(x + width), 0)] = 1
    return mask
