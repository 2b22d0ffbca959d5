"""Tr, the transformer of CLIP-FSAR (arXiv 2303.02982) over the frames of a clip and its word."""

import itertools

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional as F

HEADS = 8
# Width of the feed-forward network, and shares that are left out while it learns.
WIDTH, DROPOUT, ATTENTION_DROPOUT = 2048, 0.05, 0.2


class _Attention(nn.Module):
    """Attention after a layer norm; what it returns is added to what it was given."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        # By the authors' names.
        self.fn = nn.ModuleDict({
            **{name: nn.Linear(dim, dim, bias=False) for name in ('to_q', 'to_k', 'to_v')},
            'to_out': nn.Sequential(nn.Linear(dim, dim), nn.Dropout(ATTENTION_DROPOUT))})

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (self.fn[name](h).unflatten(-1, (HEADS, -1)).transpose(1, 2)
                   for name in ('to_q', 'to_k', 'to_v'))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.fn['to_out'](mixed.transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    """A feed-forward network, without a norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, WIDTH), nn.GELU(), nn.Dropout(DROPOUT),
                                 nn.Linear(WIDTH, dim), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class FrameTransformer(nn.Module):
    """
    Lets the frames of a clip, and the word for it, know of one another: of (N, T, D) the same.

    There are no positions: order is a matter of what is done with the frames. Weights have the
    authors' names. At first it changes nothing, so that a training goes on from what CLIP sees.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        attention, network = _Attention(dim), _FeedForward(dim)
        for name, last in itertools.chain(attention.named_parameters(),
                                          network.named_parameters()):
            if 'to_out' in name or 'net.3' in name:
                nn.init.zeros_(last)
        self.layers = nn.ModuleList([nn.ModuleList([attention, network])])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            for part in layer.children():
                x = x + part(x)
        return x

    def shown(self, frames: Tensor, text: Tensor) -> Tensor:
        """
        Return frames (N, T, D) of clips that are shown, each beside the feature of its word.

        `text` (N, D) is of any length. Frames ask, frames and word answer.
        """
        return self(torch.cat([frames, text[:, None]], 1))[:, :-1]
