"""
How often actions are told right after having been seen once.

Every clip is compared with every other before; an episode only looks up which is nearest.
"""

from collections.abc import Sequence
from typing import NamedTuple

from csa_ros.actions.episodes import draw
import numpy as np

# Of clips that have none in common, for an interval that holds whichever clips there are.
GROUPS = 10
EPISODES = 200
# Quantile 0.975 of Student's t with GROUPS - 1 degrees of freedom.
_T = 2.262


class Accuracy(NamedTuple):
    """Share of clips that are told right, and half the width of its 95 % interval."""

    share: float
    margin: float


def few_shot(distances: np.ndarray, labels: Sequence[int], way: int, seed: int = 0,
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
        random = np.random.default_rng((seed, number))
        right = []
        for _ in range(EPISODES):
            episode = draw(found[clips], way, 1, 1, random)
            asked, shown = clips[episode.asked], clips[episode.shown[:, 0]]
            nearest = distances[np.ix_(asked, shown)].argmin(1)
            right.append((nearest == episode.answers.numpy()).mean())
        shares.append(np.mean(right))
    return Accuracy(float(np.mean(shares)),
                    float(_T * np.std(shares, ddof=1) / GROUPS ** 0.5))
