"""
From a box to the thing in it: GrabCut (Rother et al., 2004), as OpenCV has it.

A box holds more than the thing that it was drawn around, most of all one of people, trees and
pavements: a key made of all of it stands for the surroundings as well.
"""

import cv2
import numpy as np

# Pixels of the longer side of what is cut out of: more take longer, and tell a patch nothing.
SIDE = 256
# How far the surroundings reach that the thing is told apart from, in sides of the box.
MARGIN = 1.0
ITERATIONS = 5
# Where less of the box would be left, its inside is like its surroundings, and all of it is taken.
SMALLEST_SHARE = 0.2
# Pixels that the surroundings need for their colours to be known.
SURROUNDINGS = 100


def cut_out(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """
    Return a mask (H, W) uint8, 0 or 1, of what in a box differs from its surroundings.

    `rgb` is (H, W, 3) uint8, `box` (H, W) uint8 the mask of the box, which holds pixels. It is
    returned as it is where there are no surroundings, and where nothing differs from them.
    """
    (top, bottom), (left, right) = (
        np.flatnonzero(box.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
    down, across = (round(MARGIN * side) for side in (bottom - top, right - left))
    part = np.s_[max(top - down, 0):bottom + down, max(left - across, 0):right + across]
    scale = min(SIDE / max(box[part].shape), 1)
    size = [max(round(side * scale), 1) for side in box[part].shape[::-1]]
    # GrabCut takes pictures of three channels, in any order.
    picture = cv2.resize(rgb[part], size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(box[part], size, interpolation=cv2.INTER_NEAREST)
    if inside.size - inside.sum() < SURROUNDINGS or not inside.any():
        return box
    marks = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    # Its clusters begin at random: the same box must give the same mask.
    cv2.setRNGSeed(0)
    # The rectangle is not read, as the marks say where the box is.
    cv2.grabCut(picture, marks, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS,
                cv2.GC_INIT_WITH_MASK)
    thing = (marks == cv2.GC_PR_FGD).astype(np.uint8)
    if thing.sum() < SMALLEST_SHARE * inside.sum():
        return box
    mask = np.zeros_like(box)
    mask[part] = cv2.resize(thing, box[part].shape[::-1], interpolation=cv2.INTER_NEAREST)
    return mask & box
