"""
The parts of an image tower: what patch features are made of, whatever library built it.

`csa_ros.model.dense` and `csa_ros.model.attention` know a tower by these parts alone. Nothing here
waits for the device.
"""

from collections.abc import Sequence
from typing import Protocol

from open_clip.transformer import ResidualAttentionBlock
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F


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

    def out(self, y: Tensor) -> Tensor:
        """
        Put heads together and project them.

        `y` is (N, heads, tokens, head_dim); the result, (N, tokens, width), is scaled by the
        block's LayerScale if it has one.
        """

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward network adds to tokens: second layer norm, MLP, scale."""


class Tower(Protocol):
    """
    The parts of an image tower, in the order in which an image goes through them.

    `patch_size` (height, width) is in pixels, `grid_size` (rows, columns) the patches of an image
    of the size that the tower was trained on.
    """

    patch_size: tuple[int, int]
    grid_size: tuple[int, int]

    @property
    def blocks(self) -> Sequence[Block]:
        """Attention blocks, first to last."""

    @property
    def width(self) -> int:
        """Length of a token."""

    @property
    def projection(self) -> Tensor:
        """Weights of the last projection, (width, D), on the device and in the type of all."""

    @property
    def class_token(self) -> Tensor:
        """Token of the class before its position is added, (width,)."""

    @property
    def positions(self) -> Tensor:
        """Position embeddings of the native grid, (1 + rows * columns, width), class first."""

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without class token and positions.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """

    def enter(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width), positions added, as the first block takes them."""

    def project(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width) of the last block as features (N, tokens, D)."""


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

    def out(self, y: Tensor) -> Tensor:
        """Put heads (N, heads, tokens, head_dim) together; returns (N, tokens, width)."""
        return self._block.ls_1(self._block.attn.out_proj(y.transpose(1, 2).flatten(2)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward network adds to tokens: second layer norm, MLP, scale."""
        return self._block.ls_2(self._block.mlp(self._block.ln_2(x)))


class ClipTower:
    """The parts of open_clip's vision transformer, as `Tower`."""

    def __init__(self, visual: VisionTransformer) -> None:
        self._visual = visual
        self.patch_size: tuple[int, int] = tuple(visual.patch_size)
        self.grid_size: tuple[int, int] = tuple(visual.grid_size)
        self.blocks = tuple(ClipBlock(block) for block in visual.transformer.resblocks)

    @property
    def width(self) -> int:
        """Length of a token."""
        return len(self.class_token)

    @property
    def projection(self) -> Tensor:
        """Weights of the last projection, (width, D), on the device and in the type of all."""
        return self._visual.proj

    @property
    def class_token(self) -> Tensor:
        """Token of the class before its position is added, (width,)."""
        return self._visual.class_embedding

    @property
    def positions(self) -> Tensor:
        """Position embeddings of the native grid, (1 + rows * columns, width)."""
        return self._visual.positional_embedding

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without class token and positions.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """
        # Its stride is its size, so that the convolution is one product of matrices. Left to
        # cuDNN it would be rounded to TF32, torch's default for convolutions alone.
        weight, bias = self._visual.conv1.weight, self._visual.conv1.bias
        height, width = self.patch_size
        rows, columns = pixels.shape[-2] // height, pixels.shape[-1] // width
        patches = pixels[..., :rows * height, :columns * width].to(weight.dtype)
        patches = patches.unflatten(2, (rows, height)).unflatten(4, (columns, width))
        patches = patches.permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3).flatten(1, 2), weight.flatten(1), bias)

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
