"""
RADSeg's attention (arXiv 2511.19704): in the last block, and among the patches of a whole frame.

In either, what is compared are directions, sharply, and what points elsewhere gets no share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from csa_ros.choices import DENOISE
from csa_ros.model.attention.mixing import all_as_trained
from csa_ros.model.attention.mixing import attend
from csa_ros.model.attention.mixing import finish
from csa_ros.model.attention.mixing import in_lots
from csa_ros.model.attention.mixing import query_key
from csa_ros.model.attention.positions import enlarged
from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import Resample
import torch
from torch import Tensor
from torch.nn import functional as F

# What cosines are multiplied by before a softmax.
SHARPNESS = 10.0
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class RadSeg:
    """
    RADSeg, as a method of `csa_ros.model.attention.methods.ATTENTION`.

    The last block mixes its values by self-correlating recursive attention (SCRA). Windows are
    then averaged, patch by patch, to one map of the frame, whose patches take from those that are
    like them: self-correlating global aggregation (SCGA), `aggregate`.
    """

    residual: bool = True
    denoise: float = DENOISE
    resample: Resample = enlarged
    min_blocks: ClassVar[int] = 1
    min_patches: ClassVar[int] = 1

    def __call__(self, blocks: Sequence[Block], x: Tensor, grid: Grid) -> Tensor:
        """Run all blocks; see `csa_ros.model.attention.methods.Method`."""
        x, last = all_as_trained(blocks[:-1], x), blocks[-1]
        mixed = recursive(last, *last.qkv(last.normed(x)))
        return finish(last, x, mixed) if self.residual else last.out(mixed)

    def aggregate(self, patches: Tensor) -> Tensor:
        """
        Average the patches of each frame with those that are like them (SCGA).

        `patches` is (frames, patches, width) float32, as the result is. Two patches are compared
        by how much more alike they are than any two of the frame on average. The authors average
        over all frames of a batch; here each frame is by itself, whatever is segmented with it.
        """
        directions = F.normalize(patches, dim=-1)
        # Of the products of all with all, without making them.
        mean = directions.mean(dim=1).square().sum(dim=-1)[:, None, None]

        def lot(rows: Tensor) -> Tensor:
            excess = torch.baddbmm(-SHARPNESS * mean, rows, directions.mT)
            return _shares(excess) @ patches

        return in_lots(lot, SHARPNESS * directions)


def recursive(block: Block, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """
    Mix the values of a block by what its own attention makes of them (SCRA).

    `q`, `k`, `v` and the result are (N, heads, tokens, head_dim). The output of the attention as
    trained, projected, is cut into heads again; tokens whose outputs point in the same direction
    share their values.
    """
    output = block.merge(attend(query_key(q, k), v))
    heads = output.unflatten(-1, (v.shape[1], -1)).transpose(1, 2)
    directions = F.normalize(heads.float(), dim=-1)
    others = directions.to(v.dtype)

    def lot(rows: Tensor) -> Tensor:
        return _shares(rows @ others.mT).to(v.dtype) @ v

    return in_lots(lot, (SHARPNESS * directions).to(v.dtype))


def _shares(logits: Tensor) -> Tensor:
    """
    Return the softmax over the last dimension of what is not below 0, in float32.

    `logits` may be overwritten. They are the largest array there is, and all that is done to them
    by themselves takes a CPU as long as the products.
    """
    # It replaces what is not above its threshold, and 0 is to stay.
    return F.threshold(logits.float(), -_TINY, -torch.inf, inplace=True).softmax(dim=-1)
