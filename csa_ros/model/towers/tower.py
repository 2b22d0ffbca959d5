"""
The parts of an image tower: what patch features are made of, whatever library built it.

`csa_ros.model.dense` and `csa_ros.model.attention` know a tower by these parts alone. Nothing here
waits for the device.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

from open_clip.transformer import ResidualAttentionBlock
from open_clip.transformer import VisionTransformer
import torch
from torch import Tensor
from torch.nn import functional as F

# Rows and columns of patches.
Grid = tuple[int, int]
# (position embeddings (1 + patches, width), class first, their grid, another one) -> those of it.
Resample = Callable[[Tensor, Grid, Grid], Tensor]


class Block(Protocol):
    """
    The parts of a residual attention block.

    As trained, a block maps tokens `x` (N, tokens, width) to `y + feed_forward(y)` with
    `y = x + out(softmax(q k^T / sqrt(head_dim)) v)` and `q, k, v = qkv(normed(x))`.
    """

    def normed(self, x: Tensor) -> Tensor:
        """Return tokens (N, tokens, width) after the block's first layer norm."""

    def qkv(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of tokens, each (N, heads, tokens, head_dim)."""

    def merge(self, y: Tensor) -> Tensor:
        """Put heads (N, heads, tokens, head_dim) together, project: (N, tokens, width)."""

    def out(self, y: Tensor) -> Tensor:
        """Do the same, and scale it by the block's LayerScale if it has one."""

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward network adds to tokens: second layer norm, MLP, scale."""


class ImageTower(Protocol):
    """
    What all image towers have, whatever they give features of.

    `patch_size` (height, width) is in pixels, `grid_size` (rows, columns) the patches of an image
    of the size that the tower was trained on, `attention` the one that `auto` stands for: that
    with which it is published to see best, and yet as fast.
    """

    attention: str
    patch_size: tuple[int, int]
    grid_size: Grid

    @property
    def width(self) -> int:
        """Length of a token."""

    @property
    def heads(self) -> int:
        """Attention heads of a block, their number."""

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; layer norms may stay in float32."""


class Tower(ImageTower, Protocol):
    """The parts of a tower that gives features of patches, as an image goes through them."""

    @property
    def blocks(self) -> Sequence[Block]:
        """Attention blocks, first to last."""

    @property
    def prefix(self) -> Tensor:
        """Tokens before those of the patches, without positions: (prefix, width), class first."""

    def place(self, grid: Grid, resample: Resample) -> Tensor:
        """
        Return what is added to the tokens of a grid of patches: (prefix + patches, width).

        `resample` makes position embeddings for grids other than the tower's own, where towers of
        its kind leave a choice.
        """

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without positions and what comes before the patches.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """

    def enter(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width), positions added, as the first block takes them."""

    def project(self, tokens: Tensor) -> Tensor:
        """Return tokens (..., width) of the last block as features (..., embed_dim)."""


class ClipBlock:
    """The parts of a block of open_clip, as `Block`."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        self._block = block

    def normed(self, x: Tensor) -> Tensor:
        """Return tokens (N, tokens, width) after the block's first layer norm."""
        return self._block.ln_1(x)

    def qkv(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of tokens, each (N, heads, tokens, head_dim)."""
        attention = self._block.attn
        qkv = F.linear(h, attention.in_proj_weight, attention.in_proj_bias)
        return qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()

    def merge(self, y: Tensor) -> Tensor:
        """Put heads (N, heads, tokens, head_dim) together, project: (N, tokens, width)."""
        return self._block.attn.out_proj(y.transpose(1, 2).flatten(2))

    def out(self, y: Tensor) -> Tensor:
        """Do the same, and scale it by the block's LayerScale if it has one."""
        return self._block.ls_1(self.merge(y))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward network adds to tokens: second layer norm, MLP, scale."""
        return self._block.ls_2(self._block.mlp(self._block.ln_2(x)))


class ClipTower:
    """The parts of open_clip's vision transformer, as `Tower`."""

    attention = 'csa'

    def __init__(self, visual: VisionTransformer) -> None:
        self._visual = visual
        self.patch_size: tuple[int, int] = tuple(visual.patch_size)
        self.grid_size: tuple[int, int] = tuple(visual.grid_size)
        self.blocks = tuple(ClipBlock(block) for block in visual.transformer.resblocks)

    @property
    def width(self) -> int:
        """Length of a token."""
        return len(self._visual.class_embedding)

    @property
    def heads(self) -> int:
        """Attention heads of a block, their number."""
        return self._visual.transformer.resblocks[0].attn.num_heads

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return self._visual.proj.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._visual.proj.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; layer norms stay in float32."""
        return self._visual.proj.dtype

    @property
    def prefix(self) -> Tensor:
        """Class token without its position, (1, width)."""
        return self._visual.class_embedding[None]

    def place(self, grid: Grid, resample: Resample) -> Tensor:
        """Return the position embeddings of a grid of patches, (1 + patches, width)."""
        return resample(self._visual.positional_embedding, self.grid_size, grid)

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without class token and positions.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """
        # Its stride is its size, so that the convolution is one product of matrices. Left to
        # cuDNN it would be rounded to TF32, torch's default for convolutions alone.
        weight, bias = self._visual.conv1.weight, self._visual.conv1.bias
        tiles = tiles_of(pixels.to(weight.dtype), self.patch_size)
        return F.linear(tiles, weight.flatten(1), bias)

    def enter(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width), positions added, as the first block takes them."""
        return self._visual.ln_pre(tokens)

    def project(self, tokens: Tensor) -> Tensor:
        """
        Return tokens (N, tokens, width) of the last block as features (N, tokens, D).

        Where the tower was trained to pool patches before its last layer norm (CLIPA), each patch
        is normalised by itself.
        """
        return self._visual.ln_post(tokens) @ self._visual.proj


def tiles_of(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Cut pictures into tiles, row by row; what does not fill a tile is left out.

    `pixels` (N, channels, H, W), `size` (height, width). Returns (N, tiles, channels * height *
    width).
    """
    height, width = size
    rows, columns = pixels.shape[-2] // height, pixels.shape[-1] // width
    tiles = pixels[..., :rows * height, :columns * width]
    tiles = tiles.unflatten(2, (rows, height)).unflatten(4, (columns, width))
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
