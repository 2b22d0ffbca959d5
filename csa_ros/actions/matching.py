"""
How unlike two clips are, frame by frame and in their order.

OTAM (Ordered Temporal Alignment Module, arXiv 1906.11415) as CLIP-FSAR (arXiv 2303.02982) uses
it: the frames of a clip are aligned with those of another, each with one that comes no earlier
than the one before it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# How soft the least of several costs is: OTAM's lambda.
SMOOTHING = 0.5
# Keeps the cosine of features that are zero finite. The authors', where it lowers all of them.
_EPSILON = 0.01


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Return about the cosines of features (N, D) and (M, D) of any length, (N, M)."""
    return x @ y.T / (x.norm(dim=-1)[:, None] * y.norm(dim=-1) + _EPSILON)


def frame_distances(queries: Tensor, prototypes: Tensor) -> Tensor:
    """
    Return how unlike the frames of clips are, about 1 - cosine, (Q, C, T, S).

    `queries` (Q, T, D) and `prototypes` (C, S, D) need not be of length 1.
    """
    alike = cosines(queries.flatten(0, 1), prototypes.flatten(0, 1))
    return 1 - alike.unflatten(0, queries.shape[:2]).unflatten(2, prototypes.shape[:2]).transpose(
        1, 2)


def align(distances: Tensor) -> Tensor:
    """
    Return what the cheapest alignment of frames costs, (...); it may be below 0, being soft.

    `distances` (..., T, S) are those of T frames and of S frames of another clip. A frame of the
    T may be passed over at the ends of the S alone.
    """
    # Columns without cost before and after the S frames.
    rows = F.pad(distances, (1, 1)).unbind(-2)
    cells = [rows[0][..., 0]]
    for cost in rows[0][..., 1:].unbind(-1):
        cells.append(cells[-1] + cost)
    for row in rows[1:]:
        above, cells = cells, [torch.zeros_like(cells[0])]
        for column, cost in enumerate(row.unbind(-1)[1:], 1):
            before = [above[column - 1], cells[-1]]
            if column in (1, row.shape[-1] - 1):
                before.append(above[column])
            cells.append(cost + _soft_least(before))
    return cells[-1]


def ordered_distances(queries: Tensor, prototypes: Tensor) -> Tensor:
    """
    Return how unlike clips are as sequences, aligned both ways, (Q, C).

    `queries` (Q, T, D), `prototypes` (C, S, D).
    """
    distances = frame_distances(queries, prototypes)
    return align(distances) + align(distances.transpose(-1, -2))


def mean_distances(queries: Tensor, prototypes: Tensor) -> Tensor:
    """Return the same of clips whose frames have no order: of their means, for all T frames."""
    cosines = F.normalize(queries.mean(1), dim=-1) @ F.normalize(prototypes.mean(1), dim=-1).T
    return queries.shape[1] * (1 - cosines)


def word_logits(queries: Tensor, text: Tensor, scale: float | Tensor) -> Tensor:
    """
    Return how well words fit clips by the mean of their frames, (Q, C).

    `queries` (Q, T, D), `text` (C, D), `scale` is that of the cosines.
    """
    return scale * F.normalize(queries.mean(1), dim=-1) @ F.normalize(text, dim=-1).T


def combine(words: Tensor, distances: Tensor, frames: int, share: float, scale: float = 1.0
            ) -> Tensor:
    """
    Return the geometric mean of what words say and of what was shown, (Q, C); it adds up to less.

    `words` (Q, C) are probabilities, which count `share`; `distances` (Q, C) are those of clips
    of so many `frames`. With a share of 0.9 and a `scale` of 1 this is CLIP-FSAR's COMBINE.
    """
    shown = (scale * (frames - distances) / frames).softmax(-1)
    return words ** share * shown ** (1 - share)


def _soft_least(values: list[Tensor]) -> Tensor:
    stacked = torch.stack(values)
    return -SMOOTHING * torch.logsumexp(-stacked / SMOOTHING, 0)
