"""
Which self-attention a vision transformer runs, and in which block.

Each entry of `ATTENTION` runs all the blocks of a tower: the variants differ in what they do with
the last block, or with several of them. The variants are named after the papers they come from:
`csa` is Correlative Self-Attention (SCLIP, arXiv 2312.01597), `vanilla` is CLIP as trained.
"""

from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.model.tower import Block
from torch import Tensor
from torch.nn import functional as F

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
RunBlocks = Callable[[Sequence[Block], Tensor], Tensor]


def _self_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def _correlative(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # The paper's attention map is a sum, softmax(qq') + softmax(kk'), whose rows add up to 2. It
    # is linear in v, so that two fused calls give it without ever holding the map.
    return F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)


def _run_block(block: Block, x: Tensor, mix: Mix) -> Tensor:
    x = x + block.out(mix(*block.qkv(block.normed(x))))
    return x + block.feed_forward(x)


def _with_last_block(mix: Mix) -> RunBlocks:
    def run_blocks(blocks: Sequence[Block], x: Tensor) -> Tensor:
        for block in blocks[:-1]:
            x = _run_block(block, x, _self_attention)
        return _run_block(blocks[-1], x, mix)

    return run_blocks


# Each: (blocks, tokens (N, 1 + patches, width)) -> tokens of the same shape.
ATTENTION: dict[str, RunBlocks] = {
    'csa': _with_last_block(_correlative),
    'vanilla': _with_last_block(_self_attention),
}
