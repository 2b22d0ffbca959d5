"""
GEM, the Grounding Everything Module (arXiv 2312.00878).

Beside the tokens as trained runs a second stream, which takes from the last blocks nothing but
attention: of queries with queries, keys with keys and values with values, each first sharpened
among themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from csa_ros.model.attention.mixing import all_as_trained
from csa_ros.model.attention.mixing import attend
from csa_ros.model.attention.mixing import finish
from csa_ros.model.attention.mixing import query_key
from csa_ros.model.attention.positions import smoothed
from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.tower import Grid
from csa_ros.model.towers.tower import Resample
from torch import Tensor
from torch.nn import functional as F

# The authors' depth, whatever the tower.
BLOCKS = 6


@dataclass(frozen=True)
class Gem:
    """
    GEM, as a method of `csa_ros.model.attention.methods.ATTENTION`.

    The second stream begins before the last six blocks, as the authors' does in towers of 12 and
    of 24; in one of six blocks or fewer, after the first.
    """

    resample: Resample = smoothed
    residual: ClassVar[None] = None
    denoise: ClassVar[float] = 0.0
    aggregate: ClassVar[None] = None
    min_blocks: ClassVar[int] = 1
    min_patches: ClassVar[int] = 1

    def __call__(self, blocks: Sequence[Block], x: Tensor, grid: Grid) -> Tensor:
        """Run all blocks; see `csa_ros.model.attention.methods.Method`."""
        start = max(len(blocks) - BLOCKS, min(1, len(blocks) - 1))
        stream = x = all_as_trained(blocks[:start], x)
        for block in blocks[start:]:
            h = block.normed(x)
            q, k, v = block.qkv(h)
            temperature = h.float().norm(dim=-1).mean(dim=1) * v.shape[-1] ** -0.5
            temperature = temperature.to(v.dtype)[:, None, None, None]
            among = [_among_themselves(z, v, temperature) for z in (q, k, v)]
            stream = stream + block.out((among[0] + among[1] + among[2]) / 3)
            # What the last block would make of the tokens themselves, nobody looks at.
            if block is not blocks[-1]:
                x = finish(block, x, attend(query_key(q, k), v))
        return stream


def _among_themselves(z: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Mix values by the likeness of directions `z`, after one round of mixing these likewise."""
    z = F.normalize(z, dim=-1)
    z = F.normalize(attend(((temperature * z, z),), z, scale=1.0), dim=-1)
    return attend(((temperature * z, z),), v, scale=1.0)
