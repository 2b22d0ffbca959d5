"""
What examples add to words, ready to be compared with the patches of frames.

APE was made for whole pictures. Over patches a key is the mean feature of a region, and the bonus
of a class is the mean over its keys, since classes are shown unequally often:

    L_q = f w_q + alpha_c / 100 * mean_k exp(gamma * KL_k - beta_c (1 - f' F'_k))

in units of cosines, for every query q of the class c. A class that was never shown gets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from csa_ros.teaching import ape
import torch
from torch import Tensor
from torch.nn import functional as F


class Strength(NamedTuple):
    """How much the examples of a class count, and how like them a patch must be: APE's."""

    alpha: float
    beta: float


# From a word that the model knows to one that means nothing to it.
STRENGTHS = KNOWN, HALF_KNOWN, UNHEARD = (
    Strength(50.0, 10.0), Strength(200.0, 10.0), Strength(500.0, 10.0))
# Share of the weight that how the words would class a key has: the authors'.
GAMMA = 0.1


@dataclass(frozen=True, eq=False)
class Cache:
    """
    Keys as tensors on one device.

    `keys` (K, D) have length 1 unless they were tuned, `sharpness` (K,) is beta, `values` (K, Q)
    what each key is worth for each query.
    """

    keys: Tensor
    sharpness: Tensor
    values: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return its fields, of which a cache is made again."""
        return self.keys, self.sharpness, self.values

    def bonus(self, features: Tensor) -> Tensor:
        """Return what is added to the cosines (..., Q) of features (..., D) of length 1."""
        return self.likeness(features) @ self.values

    def likeness(self, features: Tensor) -> Tensor:
        """Return how like each key features (..., D) of length 1 are, (..., K), at most 1."""
        return torch.exp(self.sharpness * (features @ self.keys.T - 1))


def make(text: Tensor, query_class: Tensor, keys: Tensor, key_class: Tensor,
         strengths: Mapping[int, Strength]) -> Cache:
    """
    Return the cache of keys (K, D) for words.

    `text` (Q, D) and `query_class` (Q,) are the words' features and classes, `key_class` (K,) the
    class of each key. `strengths` has one for each class that has a key. Of the dimensions all are
    compared: APE's choice of those that tell classes apart is for whole pictures, and gains
    nothing over patches.
    """
    classes = int(query_class.max()) + 1
    # The classes' words, each the mean of its queries.
    words = F.normalize(text.new_zeros(classes, text.shape[1]).index_add(
        0, query_class, text), dim=-1)
    keys = F.normalize(keys, dim=-1)
    bits = ape.divergence(words, keys, key_class)
    counts = torch.bincount(key_class, minlength=classes)
    alpha, beta = (torch.tensor([getattr(strengths[c], name) for c in key_class.tolist()],
                                device=text.device) for name in Strength._fields)
    weights = alpha / ape.SCALE / counts[key_class] * torch.exp(GAMMA * bits)
    values = weights[:, None] * (key_class[:, None] == query_class)
    return Cache(keys, beta, values)
