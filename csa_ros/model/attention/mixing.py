"""
How tokens are mixed in a block: what they are compared by, and what comes of it.

A similarity is a function of queries and keys that returns pairs of tensors (N, heads, tokens,
head_dim), each of which is one softmax of their products: `attend` adds these up.
"""

from collections.abc import Callable
from collections.abc import Sequence

from csa_ros.model.towers.tower import Block
from csa_ros.model.towers.tower import Grid
from csa_ros.process import cancellation
import torch
from torch import Tensor
from torch.nn import functional as F

Pairs = tuple[tuple[Tensor, Tensor], ...]
Similarity = Callable[[Tensor, Tensor], Pairs]
# (grid, values (N, heads, tokens, head_dim)) -> (tokens, tokens), of their device and type.
Prior = Callable[[Grid, Tensor], Tensor]

# From so many tokens on, a CPU compares so many at a time with all: each lot takes it a moment.
LONG = 4096
LOT = 1024
# Of NACLIP's neighbourhood, in patches.
GAUSSIAN_STD = 5.0


def query_key(q: Tensor, k: Tensor) -> Pairs:
    """Compare queries with keys, as a tower is trained."""
    return (q, k),


def query_query(q: Tensor, k: Tensor) -> Pairs:
    """Compare queries with queries."""
    return (q, q),


def key_key(q: Tensor, k: Tensor) -> Pairs:
    """Compare keys with keys."""
    return (k, k),


def both(q: Tensor, k: Tensor) -> Pairs:
    """Compare queries with queries, and keys with keys: Correlative Self-Attention."""
    return (q, q), (k, k)


def identity(q: Tensor, k: Tensor) -> Pairs:
    """Compare nothing: each token is like itself alone."""
    return ()


def gaussian(grid: Grid, v: Tensor) -> Tensor:
    """
    Return what NACLIP adds to the similarity of patches that lie close to each other.

    It is `exp(-d^2 / (2 std^2))` for patches d patches apart, and 0 for the tokens before them.
    `grid` is (rows, columns), `v` the values that are to be mixed; the result, (tokens, tokens),
    has their device and type.
    """
    rows, columns = (_closeness(count, v.device) for count in grid)
    patches = (rows[:, None, :, None] * columns[None, :, None, :]).flatten(2).flatten(0, 1)
    before = v.shape[2] - len(patches)
    return F.pad(patches, (before, 0, before, 0)).to(v.dtype)


def attend(pairs: Pairs, v: Tensor, prior: Tensor | None = None,
           scale: float | None = None) -> Tensor:
    """
    Mix values by similarity: the sum over pairs of `softmax(scale * a b^T + prior) v`.

    Without pairs the values stay as they are. `v` and the result are (N, heads, tokens,
    head_dim), `prior` (tokens, tokens); `scale` is `head_dim ** -0.5` unless given.
    """
    # Softmaxes are not averaged: the rows of the paper's map for CSA add up to 2. A sum is linear
    # in v, so that fused calls give it without ever holding the map.
    mixed = [_attend(a, b, v, prior, scale) for a, b in pairs]
    return sum(mixed[1:], mixed[0]) if mixed else v


def _attend(a: Tensor, b: Tensor, v: Tensor, prior: Tensor | None, scale: float | None) -> Tensor:
    cancellation.check()
    if v.shape[2] < LONG or v.device.type != 'cpu':
        return F.scaled_dot_product_attention(a, b, v, attn_mask=prior, scale=scale)
    lots = []
    for start in range(0, v.shape[2], LOT):
        cancellation.check()
        lot = slice(start, start + LOT)
        lots.append(F.scaled_dot_product_attention(
            a[:, :, lot], b, v, attn_mask=None if prior is None else prior[lot], scale=scale))
    return torch.cat(lots, dim=2)


def in_lots(mix: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """
    Return `mix(rows)`, where each row (..., rows, D) is mixed by itself.

    On a CPU many rows are given lot by lot: what compares them with all others would else take
    memory by their square, and a cancellation would come late.
    """
    cancellation.check()
    if rows.shape[-2] < LONG or rows.device.type != 'cpu':
        return mix(rows)
    mixed = []
    for lot in rows.split(LOT, dim=-2):
        cancellation.check()
        mixed.append(mix(lot))
    return torch.cat(mixed, dim=-2)


def finish(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    """
    Return the output of a block from its mixed values.

    `x` (N, tokens, width) is the input of the block, `mixed` (N, heads, tokens, head_dim).
    """
    y = x + block.out(mixed)
    return y + block.feed_forward(y)


def as_trained(block: Block, x: Tensor) -> Tensor:
    """Run a block on tokens (N, tokens, width) with the attention that it was trained with."""
    q, k, v = block.qkv(block.normed(x))
    return finish(block, x, attend(query_key(q, k), v))


def all_as_trained(blocks: Sequence[Block], x: Tensor) -> Tensor:
    """Run blocks one after the other on tokens (N, tokens, width), each as it was trained."""
    for block in blocks:
        x = as_trained(block, x)
    return x


def _closeness(count: int, device: torch.device) -> Tensor:
    places = torch.arange(count, device=device, dtype=torch.float32)
    return torch.exp((places[:, None] - places).square() / (-2 * GAUSSIAN_STD ** 2))
