"""Pixels to patch features: one feature for every patch instead of one for the image."""

from functools import lru_cache

from csa_ros.choices import AUTO
from csa_ros.model.attention import methods
from csa_ros.model.backbone import Backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.joining import Joining
from csa_ros.model.joining import PerFrame
from csa_ros.model.joining import PerWindow
import torch
from torch import Tensor


class DenseEncoder:
    """
    Runs an image tower with another attention and keeps its patches.

    `attention` and `residual` as for `csa_ros.model.attention.methods.choose`, which raises
    ModelError; `attention` is then what `auto` stands for. `description` says in words what they
    come to for this tower, `denoise` and `residual` are the method's, and `joining` says how what
    is kept comes to be compared with words.
    """

    def __init__(self, backbone: Backbone, attention: str = AUTO, residual: str = 'auto') -> None:
        self._tower = backbone.patch_tower
        self._method = methods.choose(attention, residual, self._tower)
        self.attention = methods.named(attention, self._tower)
        self.denoise = self._method.denoise
        self.residual = self._method.residual
        self.joining: Joining = (
            PerWindow(self._tower) if self._method.aggregate is None
            else PerFrame(self._tower, self._method.aggregate))
        self.description = methods.describe(attention, residual, self._tower)
        # Cameras come in few sizes, so that a handful of grids covers a process.
        self.positions = lru_cache(maxsize=16)(self._place)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """
        Return what is kept of every patch: most often its features, of length 1.

        `pixels` (N, 3, H, W): floating point, normalised with the mean and standard deviation of
        the backbone, on its device; H and W at least one patch. Returns (N, H // patch,
        W // patch, D) float32, see `csa_ros.model.joining`. Raises ModelError if these are too few
        patches for the attention.
        """
        return self.forward(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Do the same outside of inference mode, which exporters cannot trace."""
        rows, columns = self.grid(*pixels.shape[-2:])
        kept = self.joining.keep(self._tokens(pixels), rows * columns)
        return kept.unflatten(1, (rows, columns))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches lie along a height and a width, in pixels; the rest is cut."""
        patch_height, patch_width = self._tower.patch_size
        return height // patch_height, width // patch_width

    def check(self, height: int, width: int) -> None:
        """Raise ModelError if windows of a height and a width, in pixels, cannot be encoded."""
        rows, columns = self.grid(height, width)
        least = self._method.min_patches
        if rows * columns < least:
            raise ModelError(
                f'attention {self.attention!r} compares a patch with {least - 1} others, and a '
                f'window of {width} x {height} pixels has {columns} x {rows} patches: it needs '
                f'{least}, use a larger crop and short_side, or another attention')

    @torch.inference_mode()
    def tokens(self, pixels: Tensor) -> Tensor:
        """
        Return the projected output of every token, not normalised.

        `pixels` as for a call. Returns (N, prefix + patches, D) float32, class token first,
        patches row by row last; `sc-clip` gives the patches alone.
        """
        return self.project_tokens(pixels)

    def project_tokens(self, pixels: Tensor) -> Tensor:
        """Do as `tokens` outside of inference mode, where models learn."""
        return self._tower.project(self._tokens(pixels)).float()

    def _tokens(self, pixels: Tensor) -> Tensor:
        """Return what the method makes of all tokens, (N, tokens, width)."""
        tower = self._tower
        self.check(*pixels.shape[-2:])
        grid = self.grid(*pixels.shape[-2:])
        x = tower.embed(pixels)
        prefix = tower.prefix.to(x.dtype).expand(len(x), -1, -1)
        x = torch.cat([prefix, x], dim=1) + self.positions(*grid).to(x.dtype)
        return self._method(tower.blocks, tower.enter(x), grid)

    def _place(self, rows: int, columns: int) -> Tensor:
        """Return what is added to the tokens of a grid of patches, (prefix + patches, width)."""
        return self._tower.place((rows, columns), self._method.resample)
