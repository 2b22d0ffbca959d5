"""
RADIO, a vision transformer that was taught by several others, with the head that speaks to words.

C-RADIOv3 (arXiv 2412.07679) learned from CLIP, SigLIP2, DINOv2 and SAM at once. What it makes of
a patch is laid beside words by its head for SigLIP2: the one for summaries, which RADSeg
(arXiv 2511.19704) gives patches too. The parts are in the form of
`csa_ros.model.towers.tower`.
"""

from dataclasses import dataclass

from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import Resample
from csa_ros.model.towers.tower import tiles_of
from csa_ros.model.towers.trunk import TrunkBlock
from timm.layers import LayerNorm
from timm.models.vision_transformer import Block as TimmBlock
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class RadioSizes:
    """
    Sizes of a tower and its head.

    `layers` blocks of `width`, with attention of `heads` and a feed-forward network of `hidden`;
    patches of `patch_size` pixels a side; a table of `table` x `table` positions; `prefix` tokens
    before those of the patches. The head has `head_layers` inner blocks of `head_width` and gives
    `embed_dim`.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    patch_size: int
    table: int
    prefix: int
    head_width: int
    head_layers: int
    embed_dim: int


class RadioVision(nn.Module):
    """
    The weights of a tower and its head, random at first.

    They are called as in the files that NVIDIA released, in fewer words: `embedder.weight`
    (width, 3 * patch_size ** 2), over channels, rows and columns; `positions` (table ** 2, width);
    `prefix` (prefix, width), class tokens first; `blocks.N.` `norm1`, `attn.qkv`, `attn.proj`,
    `ls1.gamma`, `norm2`, `mlp.fc1`, `mlp.fc2`, `ls2.gamma`; `head.fc1`, `head.blocks.N.0` and
    `.2`, `head.final.0` and `.2`. The last block is followed by no norm.

    `image_size` is the side in pixels of the windows that frames are cut into.
    """

    def __init__(self, sizes: RadioSizes, image_size: int = 224) -> None:
        super().__init__()
        self.sizes = sizes
        self.image_size = (image_size, image_size)
        self.embedder = nn.Linear(3 * sizes.patch_size ** 2, sizes.width, bias=False)
        self.positions = nn.Parameter(torch.randn(sizes.table ** 2, sizes.width) * 0.02)
        self.prefix = nn.Parameter(torch.randn(sizes.prefix, sizes.width) * 0.02)
        self.blocks = nn.Sequential(*(
            TimmBlock(sizes.width, sizes.heads, sizes.hidden / sizes.width, qkv_bias=True,
                      init_values=1.0, norm_layer=LayerNorm)
            for _ in range(sizes.layers)))
        self.head = RadioHead(sizes)


class RadioHead(nn.Module):
    """Maps tokens (..., width) to features (..., embed_dim) beside those of words."""

    def __init__(self, sizes: RadioSizes) -> None:
        super().__init__()
        width = sizes.head_width
        self.fc1 = nn.Linear(sizes.width, width)
        self.blocks = nn.ModuleList(_stage(width, width) for _ in range(sizes.head_layers))
        self.final = _stage(width, sizes.embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.fc1(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.final(x)


class RadioTower:
    """
    The parts of RADIO's tower, as `csa_ros.model.towers.tower.Tower`.

    `align_corners` tells how the table of positions was resampled when the tower was trained; see
    `place`.
    """

    attention = 'radseg'

    def __init__(self, visual: RadioVision, align_corners: bool = False) -> None:
        side, patch = visual.sizes.table, visual.sizes.patch_size
        self._visual = visual
        self._align_corners = align_corners
        self.patch_size = (patch, patch)
        self.grid_size = (side, side)
        self.blocks = tuple(TrunkBlock(block) for block in visual.blocks)

    @property
    def width(self) -> int:
        """Length of a token."""
        return self._visual.sizes.width

    @property
    def heads(self) -> int:
        """Attention heads of a block, their number."""
        return self._visual.sizes.heads

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return self._visual.sizes.embed_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._visual.embedder.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self._visual.embedder.weight.dtype

    @property
    def prefix(self) -> Tensor:
        """Class tokens and registers, (prefix, width); they have no positions."""
        return self._visual.prefix

    def place(self, grid: Grid, resample: Resample) -> Tensor:
        """
        Return what is added to the tokens of a grid of patches, (prefix + patches, width).

        The table is scaled to a square as long as the longer side, by bilinear interpolation, and
        the rest of it cut off below or to the right. No other rule was ever trained: `resample`
        is left alone.
        """
        rows, columns = grid
        side = max(grid)
        table = self._visual.positions.float().unflatten(0, self.grid_size).permute(2, 0, 1)
        if (side, side) != self.grid_size:
            table = F.interpolate(table[None], size=(side, side), mode='bilinear',
                                  align_corners=self._align_corners)[0]
        patches = table[:, :rows, :columns].flatten(1).T
        return F.pad(patches, (0, 0, len(self.prefix), 0))

    def embed(self, pixels: Tensor) -> Tensor:
        """
        Return a token for every patch, without positions and what comes before the patches.

        `pixels` (N, 3, H, W), normalised; what does not fill a patch is cut. Returns
        (N, patches, width) in the type of the weights, patches row by row.
        """
        return self._visual.embedder(tiles_of(pixels.to(self.dtype), self.patch_size))

    def enter(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, tokens, width), positions added, as the first block takes them."""
        return tokens

    def project(self, tokens: Tensor) -> Tensor:
        """Return tokens (..., width) of the last block as features (..., embed_dim)."""
        return self._visual.head(tokens)


def _stage(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))
