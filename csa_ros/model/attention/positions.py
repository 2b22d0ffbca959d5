"""
Position embeddings for images of other sizes than a tower was trained on.

Published codes resample them in three ways that differ by more than rounding, and published
numbers include that. Each function here takes the embeddings (1 + rows * columns, width) of the
`native` grid (rows, columns), that of the class token first, and returns those of another `grid`,
(1 + rows * columns, width); the class token keeps its own.
"""

from typing import Any

from csa_ros.model.towers.tower import Grid
import torch
from torch import Tensor
from torch.nn import functional as F


def enlarged(positions: Tensor, native: Grid, grid: Grid) -> Tensor:
    """
    Resample by bicubic interpolation with a tenth of a patch added to both sides.

    The tenth made the rounded-down size exact. It also moves the sampling points a little (DINO,
    then SCLIP, ClearCLIP, NACLIP and SC-CLIP).
    """
    scale = tuple((side + 0.1) / side_before for side, side_before in zip(grid, native))
    return _keep_count(positions, native, grid, scale_factor=scale)


def fitted(positions: Tensor, native: Grid, grid: Grid) -> Tensor:
    """Resample by bicubic interpolation to exactly the grid (MaskCLIP)."""
    return _keep_count(positions, native, grid, size=grid)


def smoothed(positions: Tensor, native: Grid, grid: Grid) -> Tensor:
    """Resample by antialiased bicubic interpolation to exactly the grid (open_clip, GEM)."""
    if grid == native:
        return positions
    return _interpolate(positions, native, size=grid, antialias=True)


def _keep_count(positions: Tensor, native: Grid, grid: Grid, **how: Any) -> Tensor:
    # As in the authors' codes, which compare counts only: a rectangle with the native number of
    # patches keeps the native positions.
    if grid[0] * grid[1] == native[0] * native[1]:
        return positions
    return _interpolate(positions, native, **how)


def _interpolate(positions: Tensor, native: Grid, **how: Any) -> Tensor:
    class_position, patches = positions.float().split([1, len(positions) - 1])
    patches = patches.unflatten(0, native).permute(2, 0, 1)[None]
    patches = F.interpolate(patches, mode='bicubic', **how)
    return torch.cat([class_position, patches[0].flatten(1).T])
