"""
Between windows and words: what is kept of a window, and what is compared with words.

With most methods each window is compared by itself, and what comes of it is merged afterwards, by
`csa_ros.labels.merge`. RADSeg makes one map of patches of all windows of a frame before.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

from csa_ros.labels.merge import merge_map
from csa_ros.labels.merge import MergeMap
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.towers.tower import Tower
import torch
from torch import Tensor
from torch.nn import functional as F


class Joining(Protocol):
    """
    How the patches of windows come to be compared with words.

    `whole` tells that the patches of a frame are compared, not those of its windows, and that
    what comes of it are probabilities, not cosines.
    """

    whole: bool

    def keep(self, tokens: Tensor, patches: int) -> Tensor:
        """
        Return what is kept of windows, (N, patches, ...) float32.

        `tokens` (N, tokens, width) are what a method makes of them, the `patches` last.
        """

    def maps(self, plan: WindowPlan) -> Sequence[MergeMap]:
        """Return what `join` takes from a cache for a plan."""

    def join(self, kept: Tensor, plan: WindowPlan) -> Tensor:
        """
        Return what is compared with words, of length 1.

        `kept` (frames * windows, rows, columns, ...) are all windows of a `plan`, those of the
        first frame first. Returns (frames or all windows, rows, columns, embed_dim) float32.
        """

    def scores(self, cosines: Tensor, logit_scale: float) -> Tensor:
        """Return what is merged, (..., queries), of the cosines of patches and queries."""


class PerWindow:
    """Compares the patches of each window, as SCLIP does."""

    whole = False

    def __init__(self, tower: Tower) -> None:
        self._tower = tower

    def keep(self, tokens: Tensor, patches: int) -> Tensor:
        """Return features (N, patches, embed_dim) of length 1."""
        return F.normalize(self._tower.project(tokens).float()[:, -patches:], dim=-1)

    def maps(self, plan: WindowPlan) -> Sequence[MergeMap]:
        """Return nothing."""
        return ()

    def join(self, kept: Tensor, plan: WindowPlan) -> Tensor:
        """Return the same."""
        return kept

    def scores(self, cosines: Tensor, logit_scale: float) -> Tensor:
        """Return the same."""
        return cosines


class PerFrame:
    """
    Compares the patches of each frame, as RADSeg does.

    `aggregate` is what becomes of these, (frames, patches, width) float32, before the tower's
    projection.
    """

    whole = True

    def __init__(self, tower: Tower, aggregate: Callable[[Tensor], Tensor]) -> None:
        self._tower = tower
        self._aggregate = aggregate

    def keep(self, tokens: Tensor, patches: int) -> Tensor:
        """Return the tokens of the patches, (N, patches, width), which are not projected yet."""
        return tokens[:, -patches:].float()

    def maps(self, plan: WindowPlan) -> Sequence[MergeMap]:
        """Return the map that averages windows."""
        height, width = self._tower.patch_size
        patches = WindowPlan(
            plan.height // height, plan.width // width, plan.crop_height // height,
            plan.crop_width // width, tuple(top // height for top in plan.tops),
            tuple(left // width for left in plan.lefts))
        # Windows, and what they are merged to, are of patches: nothing is interpolated.
        return [merge_map(patches, (patches.crop_height, patches.crop_width),
                          (patches.height, patches.width), self._tower.device)]

    def join(self, kept: Tensor, plan: WindowPlan) -> Tensor:
        """Return features (frames, rows, columns, embed_dim) of length 1."""
        merge, = self.maps(plan)
        frames = torch.stack([merge(windows)[:, :].permute(1, 2, 0)
                              for windows in kept.split(len(plan))])
        patches = self._aggregate(frames.flatten(1, 2))
        features = self._tower.project(patches.to(self._tower.dtype)).float()
        return F.normalize(features, dim=-1).unflatten(1, frames.shape[1:3])

    def scores(self, cosines: Tensor, logit_scale: float) -> Tensor:
        """Return the probability of each query, at each patch."""
        return (logit_scale * cosines).softmax(dim=-1)
