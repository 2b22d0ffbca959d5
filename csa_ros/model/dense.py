"""Pixels to patch features: one feature for every patch instead of one for the image."""

from functools import lru_cache

from csa_ros.model.attention import ATTENTION
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import ModelError
import torch
from torch import Tensor
from torch.nn import functional as F


class DenseEncoder:
    """
    Runs an image tower with another attention and keeps its patches.

    `attention` is a key of `csa_ros.model.attention.ATTENTION`; ModelError names the choices if it
    is not.
    """

    def __init__(self, backbone: Backbone, attention: str = 'csa') -> None:
        if attention not in ATTENTION:
            raise ModelError(
                f'unknown attention {attention!r}: choose one of {", ".join(sorted(ATTENTION))}')
        self._tower = backbone.tower
        self._run_blocks = ATTENTION[attention]
        # Cameras come in few sizes, so that a handful of grids covers a process.
        self.positions = lru_cache(maxsize=16)(self._resample_positions)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """
        Return the features of every patch, each of length 1.

        `pixels` (N, 3, H, W): floating point, normalised with the mean and standard deviation of
        the backbone, on its device; H and W at least one patch. Returns (N, H // patch,
        W // patch, D) float32.
        """
        return self.forward(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Do the same outside of inference mode, which exporters cannot trace."""
        patches = self._project_tokens(pixels)[:, 1:]
        return F.normalize(patches, dim=-1).unflatten(1, self.grid(*pixels.shape[-2:]))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches lie along a height and a width, in pixels; the rest is cut."""
        patch_height, patch_width = self._tower.patch_size
        return height // patch_height, width // patch_width

    @torch.inference_mode()
    def tokens(self, pixels: Tensor) -> Tensor:
        """
        Return the projected output of every token, class token first, not normalised.

        `pixels` as for a call. Returns (N, 1 + patches, D) float32, patches row by row.
        """
        return self._project_tokens(pixels)

    def _project_tokens(self, pixels: Tensor) -> Tensor:
        tower = self._tower
        x = tower.embed(pixels)
        class_token = tower.class_token.to(x.dtype).expand(len(x), 1, -1)
        positions = self.positions(*self.grid(*pixels.shape[-2:]))
        x = torch.cat([class_token, x], dim=1) + positions.to(x.dtype)
        return tower.project(self._run_blocks(tower.blocks, tower.enter(x))).float()

    def _resample_positions(self, rows: int, columns: int) -> Tensor:
        """Return the position embeddings (1 + rows * columns, width) of a grid of patches."""
        positions = self._tower.positions
        native_rows, native_columns = self._tower.grid_size
        if rows * columns == native_rows * native_columns:
            # As in the authors' code, which compares counts only: a rectangle with the native
            # number of patches keeps the native positions.
            return positions
        native = positions[1:].float().unflatten(0, (native_rows, native_columns))
        # The 0.1 makes the rounded-down size exact. It also moves the sampling points a little,
        # and published numbers include that (DINO, then SCLIP).
        scale = ((rows + 0.1) / native_rows, (columns + 0.1) / native_columns)
        resampled = F.interpolate(
            native.permute(2, 0, 1)[None], scale_factor=scale, mode='bicubic')
        return torch.cat([positions[:1].float(), resampled[0].flatten(1).T])
