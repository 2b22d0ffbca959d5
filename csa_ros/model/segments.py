"""Pixels to segments: a few features of groups of patches instead of one for every patch."""

from functools import lru_cache

from csa_ros.choices import AUTO
from csa_ros.model.backbone import Backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.groupvit import GroupViTTower
import torch
from torch import Tensor
from torch.nn import functional as F


class SegmentEncoder:
    """
    Runs an image tower that gathers patches into segments, and keeps these.

    `attention` is `auto`, or what that stands for: what the tower learned is the grouping, which
    other attention would undo. `residual` is `auto`. Raises ModelError for others, and for 8-bit
    integers, by which other groups would win where two are as like.
    """

    denoise = 0.0
    residual = None

    def __init__(self, backbone: Backbone, attention: str = AUTO, residual: str = AUTO) -> None:
        tower = backbone.tower
        assert isinstance(tower, GroupViTTower)
        if attention not in (AUTO, tower.attention):
            raise ModelError(f'attention {attention!r} compares patches, and {backbone.name} '
                             "gathers them into segments: use 'auto', or a model of patches, such "
                             'as openai-b16')
        if residual != AUTO:
            raise ModelError(f'residual {residual!r} is of the attention of patches, and '
                             f'{backbone.name} gathers them into segments: use {AUTO!r}')
        if backbone.quantized:
            raise ModelError(f"precision 'int8' is for towers of patches: in {backbone.name} each "
                             'patch goes to the group that is most like it, and rounding would '
                             "choose others. Use 'bf16' or 'fp32'")
        self._tower = tower
        self.attention = tower.attention
        self.description = f'{tower.attention} into {tower.segments} segments a window'
        self.segments = tower.segments
        # Cameras come in few sizes, so that a handful of grids covers a process.
        self.positions = lru_cache(maxsize=16)(self._place)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """
        Return the segments of windows, and the windows as a whole.

        `pixels` (N, 3, H, W): floating point, normalised with the mean and standard deviation of
        the backbone, on its device; H and W at least one patch. Returns (N, segments + 1,
        patches + D) float32: of each segment which share of each patch is its, patches row by
        row, and its feature, of length 1. The last is the window as a whole.
        """
        tower = self._tower
        positions = self.positions(*self.grid(*pixels.shape[-2:]))
        x = tower.embed(pixels)
        x, shares = tower.group(x + positions.to(x.dtype))
        every = torch.cat([x, x.mean(1, keepdim=True)], 1)
        features = F.normalize(tower.project(every).float(), dim=-1)
        return torch.cat([F.pad(shares, (0, 0, 0, 1), value=1.0), features], -1)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches lie along a height and a width, in pixels; the rest is cut."""
        patch_height, patch_width = self._tower.patch_size
        return height // patch_height, width // patch_width

    def check(self, height: int, width: int) -> None:
        """Do nothing: windows of any size can be encoded."""

    def _place(self, rows: int, columns: int) -> Tensor:
        """Return what is added to the tokens of a grid of patches, (patches, width)."""
        return self._tower.place((rows, columns))
