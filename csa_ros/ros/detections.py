"""Boxes of a detector or of an annotation tool as what is taught: vision_msgs' detections."""

from dataclasses import dataclass
import math
from typing import Any

from csa_ros.parameters.teaching import read_name
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.region import Region
from std_msgs.msg import Header
try:
    from vision_msgs.msg import Detection2DArray
except ImportError:
    Detection2DArray = None


@dataclass(frozen=True)
class Box:
    """
    What one detection says.

    `name` is the class of its best hypothesis, '' if it has none; `region` is a box, or the
    corners of one that is turned; `header` is its own, or that of all of them.
    """

    name: str
    region: Region
    header: Header


def read_box(detection: Any, header: Header) -> Box:
    """Return what a Detection2D of an array with a header says; raise ValueError."""
    own = detection.header.stamp
    best = max(detection.results, key=lambda each: each.hypothesis.score, default=None)
    name = read_name(best.hypothesis.class_id, 'class_id') if best else ''
    return Box(name, _region(detection.bbox),
               detection.header if own.sec or own.nanosec else header)


def _region(box: Any) -> Region:
    x, y, turned = box.center.position.x, box.center.position.y, box.center.theta
    width, height = box.size_x, box.size_y
    if not all(map(math.isfinite, (x, y, turned, width, height))):
        raise TeachingError(f'the box at {x:g}, {y:g} of {width:g} x {height:g}, turned by '
                            f'{turned:g}, has numbers that are none')
    if not turned:
        return x - width / 2, y - height / 2, width, height
    across = width / 2 * math.cos(turned), width / 2 * math.sin(turned)
    down = -height / 2 * math.sin(turned), height / 2 * math.cos(turned)
    return [(x + i * across[0] + j * down[0], y + i * across[1] + j * down[1])
            for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
