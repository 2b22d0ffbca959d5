"""
How often actions are told right after having been seen once.

Every clip is compared with every other before; an episode only looks up which is nearest.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

from csa_ros.actions import matching
from csa_ros.actions.episodes import draw
from csa_ros.actions.frames import FrameEncoder
from csa_ros.actions.model import ActionModel
import numpy as np
import torch
from torch import Tensor

# Of clips that have none in common, for an interval that holds whichever clips there are.
GROUPS = 10
EPISODES = 200
# Quantile 0.975 of Student's t with GROUPS - 1 degrees of freedom.
_T = 2.262
# Clips that are looked at, or compared with all others, at a time.
_CLIPS = 16


class Accuracy(NamedTuple):
    """Share of clips that are told right, and half the width of its 95 % interval."""

    share: float
    margin: float


def few_shot(distances: np.ndarray, labels: Sequence[int] | np.ndarray, way: int, seed: int = 0,
             actions: Sequence[int] | None = None) -> Accuracy:
    """
    Return the accuracy of episodes in which one clip of each of `way` actions is shown.

    `distances` (N, N) are how unlike each clip that is asked about (rows) is to each that is
    shown (columns), `labels` (N,) the actions. Only some `actions` are drawn if they are given.
    Clips are dealt out to GROUPS, of which each has at least 2 of each action, and the interval
    is that of the mean over the groups.
    """
    found = np.asarray(labels)
    wanted = np.unique(found) if actions is None else np.asarray(actions)
    groups: list[list[np.ndarray]] = [[] for _ in range(GROUPS)]
    for action in wanted:
        for group, part in zip(groups, np.array_split(np.flatnonzero(found == action), GROUPS)):
            group.append(part)
    shares = []
    for number, parts in enumerate(groups):
        clips = np.concatenate(parts)
        shares.append(accuracy(distances[np.ix_(clips, clips)], found[clips], way, EPISODES,
                               np.random.default_rng((seed, number))))
    return Accuracy(float(np.mean(shares)),
                    float(_T * np.std(shares, ddof=1) / GROUPS ** 0.5))


def accuracy(distances: np.ndarray, labels: np.ndarray, way: int, episodes: int,
             random: np.random.Generator) -> float:
    """Return the share of clips told right in episodes, arguments as for `few_shot`."""
    right = []
    for _ in range(episodes):
        episode = draw(labels, way, 1, 1, random)
        asked, shown = episode.asked.numpy(), episode.shown[:, 0].numpy()
        nearest = distances[asked[:, None], shown].argmin(1)
        right.append(np.mean(nearest == episode.answers.numpy()))
    return float(np.mean(right))


@torch.no_grad()
def distances_by(model: ActionModel, encoder: FrameEncoder, pixels: Tensor, features: Tensor,
                 text: Tensor) -> np.ndarray:
    """
    Return how unlike a model finds each clip that is asked about to each that is shown, (N, N).

    `pixels` (N, frames, 3, size, size) uint8 are the clips and `features` (N, frames, feature
    length) CLIP's of them, which a model with a tower of its own makes anew; `text` (N, D) is the
    word for the action of each.
    """
    asked = shown = features
    if model.tower is not None:
        asked, shown = (torch.cat([
            model.look(encoder, part, None if words is None else own)
            for part, own in zip(pixels.split(_CLIPS), text.split(_CLIPS))])
            for words in (None, text))
    return compare_all(model.queries(asked), model.prototypes(shown[:, None], text),
                       matching.ordered_distances)


@torch.no_grad()
def compare_all(asked: Tensor, shown: Tensor, compare: Callable[[Tensor, Tensor], Tensor]
                ) -> np.ndarray:
    """Return the distances (N, M) of clips (N, T, ...) to others (M, T, ...), some at a time."""
    return torch.cat([compare(part, shown) for part in asked.split(_CLIPS)]).cpu().numpy()
