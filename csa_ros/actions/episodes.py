"""Episodes: some actions, some clips of each that are shown, and others that are asked about."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Episode(NamedTuple):
    """
    What is shown and what is asked about in an episode of C actions.

    `actions` (C,) int64 are the actions' own numbers; `shown` (C, K) and `asked` (Q,) int64 are
    clips, and `answers` (Q,) int64 say which of the C actions these are.
    """

    actions: Tensor
    shown: Tensor
    asked: Tensor
    answers: Tensor


def draw(labels: np.ndarray, way: int, shot: int, queries: int, random: np.random.Generator
         ) -> Episode:
    """
    Draw an episode of `way` actions, `shot` clips of each that are shown and `queries` others.

    `labels` (N,) are the actions of clips, each of which has `shot + queries` at least.
    """
    actions = random.permutation(np.unique(labels))[:way]
    chosen = np.stack([random.permutation(np.flatnonzero(labels == action))[:shot + queries]
                       for action in actions])
    return Episode(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (
        actions, chosen[:, :shot], chosen[:, shot:].ravel(), np.arange(way).repeat(queries))))
