"""
Merging the logits of all windows into a frame, in one exact linear map.

SCLIP upsamples the logits of each window from its patch grid to its pixels, adds them up where
windows overlap, divides by the number of windows over each pixel, and resizes the frame to the
output size. Each step is linear and separable into rows and columns (the number of windows over a
pixel is the number of window rows times that of window columns over it), and so is the whole:

    out[query] = vertical @ tiles[query] @ horizontal^T

with `tiles` the patch grids of all windows laid side by side. Both matrices are banded: a pixel
depends on the few patches about it, in the one or two windows a side that cover it. So a band of
rows of the frame comes from a few rows of patches, and the frame never has to exist as a whole.
"""

from collections.abc import Sequence
from functools import lru_cache

from csa_ros.labels.windows import WindowPlan
import torch
from torch import Tensor
from torch.nn import functional


class MergeMap:
    """
    The map from window logits to frame logits for one frame size, plan and output size.

    `vertical` is (H, window rows * gh) and `horizontal` is (W, window columns * gw), each entry
    the weight of one row or column of patches in one row or column of output pixels.
    """

    def __init__(
        self,
        plan: WindowPlan,
        grid: tuple[int, int],
        output_size: tuple[int, int],
        device: torch.device | str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ):
        """
        Build the two matrices, in double precision, and round them to `dtype`.

        `plan` is the windows of the frame; `grid` is (gh, gw), the patches along a window's
        height and width. Patches need not divide the window: like the reference, the grid is
        stretched over all of it. `output_size` is (H, W) of the labels, in pixels. Raises
        ValueError if `grid` or `output_size` has a length below 1.
        """
        if min(*grid, *output_size) < 1:
            raise ValueError(
                f'grid {tuple(grid)} and output size {tuple(output_size)} must be at least 1 '
                'patch and 1 pixel a side; is the window smaller than a patch?')
        self.grid = tuple(grid)
        self.tiles = (len(plan.tops), len(plan.lefts))
        vertical, horizontal = (_axis_map(*axis) for axis in (
            (plan.tops, plan.crop_height, plan.height, grid[0], output_size[0]),
            (plan.lefts, plan.crop_width, plan.width, grid[1], output_size[1])))
        self.vertical = vertical.to(device, dtype)
        self.horizontal = horizontal.to(device, dtype)
        # Known here, so that nothing has to wait for a GPU later.
        self._reach = [_span(row) for row in vertical]

    def __call__(self, window_logits: Tensor) -> 'FrameLogits':
        """
        Merge the windows of one frame, as far as it pays to do it for all rows at once.

        `window_logits` is (windows, gh, gw, Q), windows counted row by row, of any float dtype
        and on the map's device. The result is (Q, H, W) in the map's dtype. Raises ValueError if
        the windows or their grids are not those of the plan.
        """
        rows, columns = self.tiles
        if window_logits.shape[:-1] != (rows * columns, *self.grid):
            raise ValueError(
                f'window logits have the shape {tuple(window_logits.shape)}; the map is for '
                f'{rows} x {columns} windows of {self.grid[0]} x {self.grid[1]} patches: '
                f'{(rows * columns, *self.grid)} and the queries last')
        tiles = window_logits.to(self.horizontal.dtype).unflatten(0, self.tiles)
        tiles = tiles.permute(0, 2, 4, 1, 3).flatten(3, 4).flatten(0, 1)
        # The horizontal half goes first because its result stays small: H is many times the rows
        # of patches.
        return FrameLogits(self, tiles @ self.horizontal.T)

    def reach(self, rows: range) -> slice:
        """Return which rows of patches have a weight in these rows of pixels: a few of all."""
        spans = [self._reach[row] for row in rows]
        return slice(min(span[0] for span in spans), max(span[1] for span in spans))


class FrameLogits:
    """
    The logits of a frame, (Q, H, W), which never are in memory as a whole.

    `frame_logits[:, top:bottom]` computes those rows, (Q, rows, W); all of them are
    `frame_logits[:, :]`. `widened` is (rows of patches, Q, W).
    """

    def __init__(self, merge: MergeMap, widened: Tensor) -> None:
        self._map = merge
        self._widened = widened
        self.shape = (widened.shape[1], len(merge.vertical), widened.shape[2])
        self.device = widened.device

    def index_select(self, dim: int, index: Tensor) -> 'FrameLogits':
        """Return the logits of some queries, (Q,) int64; `dim` is 0, as for a tensor."""
        if dim != 0:
            raise IndexError(f'frame logits are selected by query, dimension 0, not {dim}')
        return FrameLogits(self._map, self._widened.index_select(1, index))

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        every_query, rows = key
        if every_query != slice(None):
            raise IndexError(f'frame logits are indexed as [:, top:bottom], not by {key}')
        queries, height, width = self.shape
        weights = self._map.vertical[rows]
        reach = self._map.reach(range(height)[rows])
        band = weights[:, reach] @ self._widened[reach].flatten(1)
        return band.unflatten(1, (queries, width)).transpose(0, 1)


@lru_cache(maxsize=32)
def merge_map(
    plan: WindowPlan,
    grid: tuple[int, int],
    output_size: tuple[int, int],
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> MergeMap:
    """Return the MergeMap of these arguments, building it only the first time."""
    return MergeMap(plan, grid, output_size, device, dtype)


def _axis_map(
    starts: Sequence[int], crop: int, side: int, patches: int, output: int,
) -> Tensor:
    """
    Return one axis of the map: (output, windows * patches), double precision.

    Each step acts on the unit vectors of the patches, one row each, so the interpolation weights
    are torch's own.
    """
    upsampled = functional.interpolate(
        torch.eye(patches, dtype=torch.float64)[None],
        size=crop, mode='linear', align_corners=False)[0]
    placed = torch.zeros(len(starts), patches, side, dtype=torch.float64)
    covering = torch.zeros(side, dtype=torch.float64)
    for window, start in zip(placed, starts):
        window[:, start:start + crop] = upsampled
        covering[start:start + crop] += 1
    averaged = (placed / covering).flatten(0, 1)
    return functional.interpolate(
        averaged[None], size=output, mode='linear', align_corners=False)[0].T.contiguous()


def _span(weights: Tensor) -> tuple[int, int]:
    """Return the first and one past the last entry that is not 0."""
    used = weights.nonzero().flatten().tolist()
    return used[0], used[-1] + 1
