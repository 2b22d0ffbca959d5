"""What has been shown in pictures: regions, as a model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from csa_ros.teaching.collection import Collection
from csa_ros.teaching.collection import Example
import torch
from torch import Tensor

# More say nothing new, and the search among all of them takes its share of each frame.
MAX_PER_NAME = 64
MAX_EXAMPLES = 1024


@dataclass(frozen=True, eq=False)
class Look:
    """
    A region as a model sees it.

    `key` (D,) float32 of length 1 is the mean of its patches. `patches` (N, D) float16 are some of
    all patches of the picture, `inside` (N,) float32 says which share of each lies in the region,
    and `stands_for` (N,) float32 for how many patches each is there. All are on the host.
    `fingerprint` is that of model, attention and windows: keys of another cannot be compared.
    `camera`, `stamp` (nanoseconds) and `thumbnail` (JPEG) tell people what was shown, and `model`
    what that model is called.
    """

    key: Tensor
    patches: Tensor
    inside: Tensor
    stands_for: Tensor
    fingerprint: str
    camera: str = ''
    stamp: int = 0
    thumbnail: bytes = b''
    model: str = ''


@dataclass(frozen=True, eq=False)
class Examples(Collection[Look]):
    """What was shown in pictures, in the order in which it was."""

    most_per_name: ClassVar[int] = MAX_PER_NAME
    most: ClassVar[int] = MAX_EXAMPLES
    others: ClassVar[str] = 'by another model, with another attention or in other windows'

    def of(self, names: Sequence[str]) -> tuple[list[Example[Look]], Tensor]:
        """Return the examples of any of some names, and the index of the name of each, (K,)."""
        index = {name: place for place, name in enumerate(names)}
        chosen = [item for item in self.items if item.name in index]
        return chosen, torch.tensor([index[item.name] for item in chosen], dtype=torch.int64)
