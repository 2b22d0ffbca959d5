"""
Merging the logits of all windows into a frame, in one exact linear map.

SCLIP upsamples the logits of each window from its patch grid to its pixels, adds them up where
windows overlap, divides by the number of windows over each pixel, and resizes the frame to the
output size. Each step is linear and separable into rows and columns (the number of windows over a
pixel is the number of window rows times that of window columns over it), and so is the whole:

    out[query] = vertical @ tiles[query] @ horizontal^T

with `tiles` the patch grids of all windows laid side by side.
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
    the weight of one row or column of patches in one row or column of output pixels. Any band
    of output rows needs only those rows of `vertical`, applied to what `widen` returns.
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
        self.vertical, self.horizontal = (
            _axis_map(*axis).to(device, dtype) for axis in (
                (plan.tops, plan.crop_height, plan.height, grid[0], output_size[0]),
                (plan.lefts, plan.crop_width, plan.width, grid[1], output_size[1])))

    def __call__(self, window_logits: Tensor) -> Tensor:
        """
        Merge the windows of one frame.

        `window_logits` is (windows, gh, gw, Q), windows counted row by row, of any float dtype
        and on the map's device. Returns (Q, H, W), contiguous, in the map's dtype. Raises
        ValueError if the windows or their grids are not those of the plan.
        """
        return torch.matmul(self.vertical, self.widen(window_logits))

    def widen(self, window_logits: Tensor) -> Tensor:
        """
        Apply the horizontal half of the map, which leaves rows of patches of full width.

        This half goes first because the result stays small (H is many times `window rows * gh`).

        `window_logits` as for the call. Returns (Q, window rows * gh, W) in the map's dtype.
        """
        rows, columns = self.tiles
        if window_logits.shape[:-1] != (rows * columns, *self.grid):
            raise ValueError(
                f'window logits have the shape {tuple(window_logits.shape)}; the map is for '
                f'{rows} x {columns} windows of {self.grid[0]} x {self.grid[1]} patches: '
                f'{(rows * columns, *self.grid)} and the queries last')
        tiles = window_logits.to(self.horizontal.dtype).unflatten(0, self.tiles)
        tiles = tiles.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)
        return tiles @ self.horizontal.T


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
