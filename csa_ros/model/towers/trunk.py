"""
The parts of timm's vision transformers, in the form of `csa_ros.model.towers.tower`.

MobileCLIP's image towers of ViT size are of this kind: `vit_base_mci_224` (MobileCLIP-B and
MobileCLIP2-B), which makes patches of 16 x 16 pixels in three convolutions and gives its class
token no position, and `vit_large_patch14_clip_224` (MobileCLIP2-L-14).
"""

from typing import Any

from csa_ros.model.towers.tower import ClipTower
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import Resample
from csa_ros.model.towers.tower import Tower
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F


class TrunkBlock:
    """The parts of a residual attention block of timm, as `csa_ros.model.towers.tower.Block`."""

    def __init__(self, block: Any) -> None:
        # Which class of timm's it is depends on its version.
        self._block = block

    def normed(self, x: Tensor) -> Tensor:
        """Return tokens (N, tokens, width) after the block's first layer norm."""
        return _norm(self._block.norm1, x)

    def qkv(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of tokens, each (N, heads, tokens, head_dim)."""
        attention = self._block.attn
        qkv = attention.qkv(h).unflatten(-1, (3, attention.num_heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind()

    def merge(self, y: Tensor) -> Tensor:
        """Put heads (N, heads, tokens, head_dim) together, project: (N, tokens, width)."""
        return self._block.attn.proj(y.transpose(1, 2).flatten(2))

    def out(self, y: Tensor) -> Tensor:
        """Do the same, and scale it by the block's LayerScale, an identity if it has none."""
        return self._block.ls1(self.merge(y))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward network adds to tokens: second layer norm, MLP, scale."""
        return self._block.ls2(self._block.mlp(_norm(self._block.norm2, x)))


class Trunk:
    """
    The parts of a vision transformer of timm with a class token.

    As `csa_ros.model.towers.tower.Tower`. `visual` is open_clip's wrapper of it, with timm's
    classifier as the projection.
    """

    attention = 'csa'

    def __init__(self, visual: TimmModel) -> None:
        self._trunk = visual.trunk
        self.grid_size: tuple[int, int] = tuple(self._trunk.patch_embed.grid_size)
        rows, columns = self.grid_size
        height, width = visual.image_size
        self.patch_size = (height // rows, width // columns)
        self.blocks = tuple(TrunkBlock(block) for block in self._trunk.blocks)

    @property
    def width(self) -> int:
        """Length of a token."""
        return self._trunk.embed_dim

    @property
    def heads(self) -> int:
        """Attention heads of a block, their number."""
        return self._trunk.blocks[0].attn.num_heads

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return self._trunk.head.out_features

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._trunk.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; layer norms stay in float32."""
        return self._trunk.head.weight.dtype

    @property
    def prefix(self) -> Tensor:
        """Class token without its position, (1, width)."""
        return self._trunk.cls_token[0]

    def place(self, grid: Grid, resample: Resample) -> Tensor:
        """Return the position embeddings of a grid of patches, (1 + patches, width)."""
        positions = self._trunk.pos_embed[0]
        if self._trunk.no_embed_class:
            positions = torch.cat([torch.zeros_like(positions[:1]), positions])
        return resample(positions, self.grid_size, grid)

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without class token and positions.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """
        height, width = self.patch_size
        rows, columns = pixels.shape[-2] // height, pixels.shape[-1] // width
        x = pixels[..., :rows * height, :columns * width]
        stem = getattr(self._trunk.patch_embed, 'backbone', None)
        if stem is None:
            x = _tiles(self._trunk.patch_embed.proj, x)
        else:
            for layer in stem:
                x = _tiles(layer.conv, x)
                # Normalises, and applies the activation, in the type of its weights: float32.
                x = layer.bn(x.float())
            x = x.to(self.dtype)
        return x.flatten(2).transpose(1, 2)

    def enter(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width), positions added, as the first block takes them."""
        return _norm(self._trunk.norm_pre, tokens)

    def project(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width) of the last block as features (N, tokens, D)."""
        return self._trunk.head(_norm(self._trunk.norm, tokens))


def parts_of(visual: TimmModel | VisionTransformer) -> Tower:
    """Return an image tower of open_clip's by its parts, whichever library built it."""
    return Trunk(visual) if isinstance(visual, TimmModel) else ClipTower(visual)


def _norm(norm: nn.LayerNorm | nn.Identity, x: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity) or norm.weight.dtype == x.dtype:
        return norm(x)
    # Its weights stay in float32, which timm's own layers do not expect.
    return F.layer_norm(
        x.float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(x.dtype)


def _tiles(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    # As in `csa_ros.model.towers.tower.ClipTower.embed`: the stride is the size of the kernel,
    # and a product of matrices is not rounded to TF32. x is (N, C, H, W), as the result is.
    height, width = convolution.kernel_size
    x = x.to(convolution.weight.dtype).unflatten(3, (-1, width)).unflatten(2, (-1, height))
    x = x.permute(0, 2, 4, 1, 3, 5).flatten(3)
    x = F.linear(x, convolution.weight.flatten(1), convolution.bias)
    return x.permute(0, 3, 1, 2)
