"""Frames side by side, small, for people to see what happened in them."""

from collections.abc import Sequence

import cv2
import numpy as np

# Pixels of each frame.
_HEIGHT = 72


def filmstrip(frames: Sequence[np.ndarray]) -> bytes:
    """Return frames, (H, W, 3) uint8 RGB each, in a row from left to right, as JPEG."""
    small = []
    for frame in frames:
        height, width = frame.shape[:2]
        size = max(1, round(width * _HEIGHT / height)), _HEIGHT
        small.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return cv2.imencode('.jpg', cv2.cvtColor(cv2.hconcat(small), cv2.COLOR_RGB2BGR))[1].tobytes()
