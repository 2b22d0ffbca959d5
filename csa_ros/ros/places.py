"""Where regions of a picture lie in space, by depth images that are registered to the camera."""

from collections.abc import Sequence

from csa_ros.finding.regions import Region
from csa_ros.ros.points import Intrinsics
import cv2
import numpy as np

# Of how far its innermost pixel is from the edge of a region: what is nearer to the edge may
# show what is behind.
_CORE = 0.5


def places(regions: Sequence[Region], size: Sequence[int], depth: np.ndarray,
           intrinsics: Intrinsics) -> list[np.ndarray | None]:
    """
    Return the place of each region in the optical frame of the camera, (3,) float64 in metres.

    `size` (H, W) is that of the picture that regions are of; `depth` (h, w) float32 is of the same
    view, in metres, NaN where nothing was measured, and `intrinsics` are for its size. A place is
    the median, in x, y and z, of what was measured away from the edge of the region, or anywhere
    in it if there is nothing. None where nothing was measured at all.
    """
    rows, columns = (((np.arange(there) + 0.5) * side / there).astype(int)
                     for there, side in zip(depth.shape, size))
    x, y = intrinsics.rays()
    return [_place(region, rows, columns, depth, x, y) for region in regions]


def _place(region: Region, rows: np.ndarray, columns: np.ndarray, depth: np.ndarray,
           x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return a place; `rows` and `columns` of the picture are those of depth's pixels."""
    left, top, width, height = region.box
    down = slice(*np.searchsorted(rows, (top, top + height)))
    across = slice(*np.searchsorted(columns, (left, left + width)))
    mask = region.mask[np.ix_(rows[down] - top, columns[across] - left)]
    z = depth[down, across]
    measured = mask & ~np.isnan(z)
    if not measured.any():
        return None
    # With a border, so that the edge of the picture is one of the region.
    distance = cv2.distanceTransform(
        np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_3)[1:-1, 1:-1]
    core = measured & (distance >= _CORE * distance.max())
    where = core if core.any() else measured
    return np.array([np.median(values[where])
                     for values in (z * x[across], z * y[down], z)], np.float64)
