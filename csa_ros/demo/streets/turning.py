"""How a picture changes as a pinhole camera turns where it stands."""

from collections.abc import Iterable
from collections.abc import Sequence

import cv2
import numpy as np

_ENLARGED = np.arange(1, 2, 0.02)


def rotation(degrees: Iterable[float]) -> np.ndarray:
    """Return the (3, 3) rotation of a camera by pitch, yaw and roll."""
    return np.linalg.multi_dot([cv2.Rodrigues(axis * np.deg2rad(angle))[0]
                                for axis, angle in zip(np.eye(3), degrees)])


def homography(turn: np.ndarray, focal: float, new_focal: float, center: Sequence[float]
               ) -> np.ndarray:
    """
    Return the (3, 3) map of pixels as a camera turns (Hartley and Zisserman, section 8.4).

    `turn` is its (3, 3) rotation; `focal` becomes `new_focal`, and the principal point stays
    `center` (x, y), in pixels.
    """
    before, after = (np.array([[f, 0, center[0]], [0, f, center[1]], [0, 0, 1]])
                     for f in (focal, new_focal))
    return after @ turn @ np.linalg.inv(before)


def enlargement(turn: np.ndarray, focal: float, center: Sequence[float], size: tuple[int, int]
                ) -> float:
    """
    Return by how much to multiply the focal length so that a turned picture fills its frame.

    `size` is (width, height) in pixels. Raises ValueError where twice is not enough.
    """
    last = np.array(size) - 1
    corners = np.array([(x, y) for x in (0, last[0]) for y in (0, last[1])])
    # Where the corners of the turned picture, (shares, 4, 3), come from.
    rays = np.ones((len(_ENLARGED), 4, 3))
    rays[..., :2] = (corners - center) / (focal * _ENLARGED[:, None, None])
    rays = rays @ turn
    seen = rays[..., :2] / rays[..., 2:] * focal + center
    fits = ((rays[..., 2:] > 0) & (seen >= 0) & (seen <= last)).all(axis=(1, 2))
    if not fits.any():
        raise ValueError(f'a picture of {size[0]} x {size[1]} pixels that is turned so far fills '
                         'no frame: turn it by a few degrees only')
    return float(_ENLARGED[fits.argmax()])
