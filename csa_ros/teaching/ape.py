"""
APE, Adaptive Prior rEfinement (arXiv 2304.01195): a cache of shown features beside the words.

A key is the feature of something that was shown, of length 1, and stands for a class. What looks
like a key is given a bonus for the key's class, on top of how well it fits the word. A key counts
for more or less by how the words would class it. Of whole pictures, only the dimensions that tell
classes apart are compared.
"""

import torch
from torch import Tensor

# Of the cosines of features and words, and so of the bonus: the authors' logits are this times it.
SCALE = 100.0


def likeness(text: Tensor, keys: Tensor, key_class: Tensor) -> Tensor:
    """
    Return for every dimension how much samples of different classes have in common, (D,).

    It is the mean of `x_d * y_d` over all ordered pairs of samples of different classes, each
    class's samples being its word and its keys. `text` (C, D), `keys` (K, D), `key_class` (K,).
    """
    sums = text.index_add(0, key_class, keys)
    counts = torch.ones(len(text), device=text.device)
    counts = counts.index_add(0, key_class, counts.new_ones(len(keys)))
    pairs = counts.sum().square() - counts.square().sum()
    return (sums.sum(0).square() - sums.square().sum(0)) / pairs


def telling(text: Tensor, keys: Tensor, key_class: Tensor, count: int,
            weights: tuple[float, float]) -> Tensor:
    """
    Return the `count` dimensions that tell classes apart best, ascending, (count,) int64.

    `weights` are those of the likeness of different classes, which is to be small, and of the
    variance over the words, which is to be large. There must be 2 classes at least.
    """
    criterion = (weights[1] * text.var(dim=0)
                 - weights[0] * likeness(text, keys, key_class))
    return criterion.topk(count).indices.sort().values


def divergence(text: Tensor, keys: Tensor, key_class: Tensor) -> Tensor:
    """
    Return how far what the words make of each key is from its class, in bits, (K,).

    `text` (C, Q) and `keys` (K, Q) have length 1. It is the authors' Kullback-Leibler divergence
    of the key's class from `softmax(keys text^T)`, without a temperature.
    """
    shares = (keys @ text.T).softmax(dim=-1)
    share = shares.gather(1, key_class[:, None])[:, 0]
    # Of the other classes 0 log 0 is 0.
    return torch.log2((1 + 1e-6) / (share + 1e-6))


def bonus(features: Tensor, keys: Tensor, sharpness: Tensor | float, values: Tensor) -> Tensor:
    """
    Return what keys add for each column of `values`, (..., C), of the authors' logits.

    `features` (..., Q) and `keys` (K, Q) are compared as they are: of length 1 they are by their
    cosine. `sharpness` is beta, one or (K,); `values` (K, C) is the weight of each key for each
    column.
    """
    distances = 1 - features @ keys.T
    return torch.exp(-sharpness * distances) @ values
