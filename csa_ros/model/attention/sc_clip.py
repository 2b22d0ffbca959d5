"""
SC-CLIP, self-calibrated CLIP (arXiv 2411.15869).

Some patches of the last blocks stand out from all others and draw attention to themselves. They
are found by a local outlier factor, and filled in from their neighbours. Which patches belong
together is taken from earlier blocks, where it is still to be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from typing import NamedTuple

from csa_ros.model.attention.mixing import as_trained
from csa_ros.model.attention.mixing import attend
from csa_ros.model.attention.mixing import key_key
from csa_ros.model.attention.positions import enlarged
from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import Resample
import torch
from torch import Tensor
from torch.nn import functional as F

# Of the local outlier factor; in percent, how many patches are no outliers.
NEIGHBOURS = 30
INLIERS = 95
# The least cosine at which one patch takes anything from another.
MIN_COSINE = 0.4
# Of similarities above the mean, in the last block's softmax.
SHARPNESS = 3.0
# Up to the depth of ViT-B; beyond it the authors take other blocks, and less of the class token.
BASE_BLOCKS = 12
BASE_CLASS_SHARE, LARGE_CLASS_SHARE = 0.3, 0.1


class Depths(NamedTuple):
    """
    Blocks, counted from 0, whose outputs are looked at: all before the last.

    `similar` tells which patches the last block mixes, `together` which are averaged afterwards,
    and those from `first` up to, without, `end` are added up.
    """

    similar: int
    together: int
    first: int
    end: int

    @classmethod
    def of(cls, blocks: int) -> 'Depths':
        """
        Return the authors' choice at the same share of a tower's depth.

        For 12 blocks it is 8, 3 and 3 to 9, for 24 it is 16, 6 and 8 to 19, exactly theirs. There
        must be 2 `blocks` at least, for one to lie before the last.
        """
        start = blocks // 4 if blocks <= BASE_BLOCKS else blocks // 3
        return cls(min(blocks * 2 // 3, blocks - 2), blocks // 4, start,
                   max(blocks * 5 // 6, start + 1))


@dataclass(frozen=True)
class SelfCalibration:
    """
    SC-CLIP, as a method of `csa_ros.model.attention.methods.ATTENTION`.

    Its result has no class token. Outliers, means and thresholds are of each image alone. They
    are computed in float32 whatever the weights are in; nothing waits for the device.
    """

    resample: Resample = enlarged
    residual: ClassVar[None] = None
    denoise: ClassVar[float] = 0.0
    aggregate: ClassVar[None] = None
    min_blocks: ClassVar[int] = 2
    min_patches: ClassVar[int] = NEIGHBOURS + 1

    def __call__(self, blocks: Sequence[Block], x: Tensor, grid: Grid) -> Tensor:
        """Run all blocks; see `csa_ros.model.attention.methods.Method`."""
        depths = Depths.of(len(blocks))
        share = BASE_CLASS_SHARE if len(blocks) <= BASE_BLOCKS else LARGE_CLASS_SHARE
        before = x.shape[1] - grid[0] * grid[1]
        total = x.new_zeros(x.shape, dtype=torch.float32)
        patches = {}
        for index, block in enumerate(blocks[:-1]):
            x = as_trained(block, x)
            if index in (depths.similar, depths.together):
                patches[index] = x[:, before:].float()
            if depths.first <= index < depths.end:
                total = total + x.float()
        token, deep = x[:, :1].float(), x[:, before:].float()
        total_token, total = total[:, :1], total[:, before:]

        unusual = outliers(deep)
        similar = cosines(repair(patches[depths.similar], unusual, grid))
        together = cosines(patches[depths.together])
        mixed = average(similar, repair(deep, unusual, grid))
        weights = _above_the_mean(similar)
        one, other = (_last(blocks[-1], y.to(x.dtype), weights).float() + share * class_token
                      for y, class_token in ((mixed, token), (total, total_token)))
        return average(together, one + other).to(x.dtype)


def outliers(patches: Tensor) -> Tensor:
    """
    Return which patches lie apart from others: (N, patches) bool for (N, patches, width).

    As in the authors' code, the local outlier factor of a patch is its squared distance to its
    30th neighbour times the mean of the inverses of those of its 30 neighbours; the textbook's
    differs. Outliers are above its 0.95 quantile.
    """
    # Distances stay, and lose less to rounding.
    centred = patches - patches.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=-1)
    distances = squares[:, :, None] + squares[:, None] - 2 * centred @ centred.mT
    itself = torch.eye(patches.shape[1], dtype=torch.bool, device=patches.device)
    distances = distances.masked_fill(itself, float('inf'))
    nearest, neighbours = distances.topk(NEIGHBOURS, dim=-1, largest=False)
    # Equal patches have no distance at all, or by rounding one below 0.
    reach = nearest[..., -1].clamp(min=1e-12)
    inverses = reach.reciprocal()[:, None].expand_as(distances).gather(2, neighbours)
    factors = reach * inverses.mean(dim=-1)
    # What is above an interpolated quantile is above the value below it, too, and no other is.
    count = patches.shape[1]
    above = count - INLIERS * (count - 1) // 100
    return factors > factors.topk(above, dim=-1).values[:, -1:]


def repair(patches: Tensor, unusual: Tensor, grid: Grid) -> Tensor:
    """
    Replace outliers by the mean of those of their eight neighbours that are none.

    `patches` (N, rows * columns, width), `unusual` (N, rows * columns) bool. Patches without such
    a neighbour stay.
    """
    usual = ~unusual[..., None]
    sums, counts = (_mean_of_nine(values, grid)
                    for values in (patches * usual, usual.to(patches.dtype)))
    return torch.where(usual | (counts == 0), patches, sums / counts.clamp(min=1e-6))


def cosines(patches: Tensor) -> Tensor:
    """Compare the directions of patches (N, patches, width): (N, patches, patches), -1 to 1."""
    directions = F.normalize(patches, dim=-1)
    return directions @ directions.mT


def average(similarity: Tensor, patches: Tensor) -> Tensor:
    """Return weighted means of patches (N, patches, width), each of those that are like it."""
    weights = similarity.masked_fill(similarity < MIN_COSINE, 0)
    return weights @ patches / (weights.sum(dim=-1, keepdim=True) + 1e-6)


def _mean_of_nine(values: Tensor, grid: Grid) -> Tensor:
    # Beyond the border are zeros. An outlier is zero itself: nine are its eight neighbours.
    picture = values.mT.unflatten(2, grid)
    return F.avg_pool2d(picture, 3, stride=1, padding=1).flatten(2).mT


def _above_the_mean(similarity: Tensor) -> Tensor:
    """Return the softmax (N, 1, patches, patches) of what is above the mean of an image."""
    excess = similarity - similarity.mean(dim=(1, 2), keepdim=True)
    return (SHARPNESS * excess).masked_fill(excess < 0, -float('inf')).softmax(dim=-1)[:, None]


def _last(block: Block, patches: Tensor, weights: Tensor) -> Tensor:
    """Run the last block's attention by keys and given weights, evenly, on patches alone."""
    q, k, v = block.qkv(block.normed(patches))
    return block.out((weights.to(v.dtype) @ v + attend(key_key(q, k), v)) / 2)
