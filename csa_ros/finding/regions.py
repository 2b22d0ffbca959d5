"""Connected regions of pictures: of what was found, and of what classes label."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Of one phrase or class in a frame. Labels of noise would make thousands.
MAX_REGIONS = 32


@dataclass(frozen=True, eq=False)
class Region:
    """
    Connected pixels of what `name` says.

    `box` is x, y, width and height, and `area` their number, in pixels of the picture; `mask`
    (height, width) bool tells which pixels of the box they are. `score`, 0 to 1, is the largest
    relevancy of a phrase in them, or the mean confidence of a class.
    """

    name: str
    score: float
    box: tuple[int, int, int, int]
    area: int
    mask: np.ndarray


def found_regions(phrases: Sequence[str], relevancy: np.ndarray, threshold: float
                  ) -> list[Region]:
    """
    Return where phrases are found, those of each phrase from the highest score down.

    `relevancy` (P, H, W) uint8 is that of each phrase times 255. A region is where it is at least
    `threshold`, 0 to 1, and never where it is 0. Of each phrase at most MAX_REGIONS are returned.
    """
    # Of the grey levels, which are rounded, the nearest one.
    level = max(round(255 * threshold), 1)
    found = []
    for phrase, values in zip(phrases, relevancy):
        regions = _connected(phrase, (values >= level).view(np.uint8), values, np.max)
        found += sorted(regions, key=lambda region: -region.score)
    return found


def object_regions(classes: Sequence[tuple[int, str]], labels: np.ndarray, confidence: np.ndarray,
                   min_area: int) -> list[Region]:
    """
    Return the connected regions of classes, those of each class from the largest down.

    `classes` are ids and names, `labels` (H, W) uint8 class ids and `confidence` (H, W) uint8
    probabilities times 255. Regions of less than `min_area` pixels are left out, and of each class
    all but the MAX_REGIONS largest.
    """
    found = []
    for class_id, name in classes:
        there = (labels == class_id).view(np.uint8)
        found += _connected(name, there, confidence, np.mean, min_area)
    return found


def _connected(name: str, there: np.ndarray, values: np.ndarray,
               summary: Callable[[np.ndarray], float], min_area: int = 1) -> list[Region]:
    """Return the largest connected regions of pixels that are not 0, largest first."""
    # Most is found in a small part of a frame, and what is around it costs time.
    x, y, columns, rows = cv2.boundingRect(there)
    if not columns:
        return []
    part = slice(y, y + rows), slice(x, x + columns)
    _, components, stats, _ = cv2.connectedComponentsWithStats(there[part], connectivity=8)
    values = values[part]
    areas = stats[:, cv2.CC_STAT_AREA]
    # The first is what lies around them.
    order = 1 + np.argsort(-areas[1:], kind='stable')
    regions = []
    for index in order[:MAX_REGIONS]:
        left, top, width, height, area = stats[index].tolist()
        if area < min_area:
            break
        place = slice(top, top + height), slice(left, left + width)
        mask = components[place] == index
        score = float(summary(values[place][mask])) / 255
        regions.append(Region(name, score, (x + left, y + top, width, height), area, mask))
    return regions
