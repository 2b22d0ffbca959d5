"""What of a model learns, and how fast."""

from collections.abc import Iterable
import math
import re
from typing import Any

from csa_ros.training.choices import LAST_BLOCKS
from torch import nn

# Share of a training in which the learning rate rises, before it falls to zero along a cosine.
WARM_UP = 0.05
DECAY = 0.05


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate at a share of the stage (arXiv 1708.07120)."""
    if progress < WARM_UP:
        return (progress + 0.04 * WARM_UP) / (1.04 * WARM_UP)
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def groups(named: Iterable[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Return parameters in groups for an optimizer; as in CLIP's training matrices alone decay."""
    named = list(named)
    matrices = [p for n, p in named if p.ndim > 1 and 'embedding' not in n]
    rest = [p for n, p in named if p.ndim <= 1 or 'embedding' in n]
    return [{'params': matrices, 'weight_decay': decay}, {'params': rest, 'weight_decay': 0.0}]


def learning(model: nn.Module, part: str) -> dict[str, nn.Parameter]:
    """Return the parameters of a CLIP model that learn in one of `choices.PARTS`, by name."""
    named = {name: parameter for name, parameter in model.named_parameters()
             # Features are compared at a scale of their own: `csa_ros.training.objective`.
             if name not in ('logit_scale', 'logit_bias')}
    if part == 'all':
        return named
    blocks = 1 + max(block for block in map(_block, named) if block is not None)
    return {name: parameter for name, parameter in named.items()
            if not name.startswith('visual.')
            or part == 'last-blocks' and _is_from(name, blocks - LAST_BLOCKS)}


def _block(name: str) -> int | None:
    """Return the number of the block of the image tower that a parameter belongs to."""
    match = re.match(r'visual\..*?blocks\.(\d+)\.', name)
    return int(match[1]) if match else None


def _is_from(name: str, first: int) -> bool:
    """Tell whether a parameter of the image tower comes with block `first`, or after it."""
    block = _block(name)
    if block is not None:
        return block >= first
    # What comes after the blocks, by open_clip's names and by timm's.
    return re.match(r'visual\.(ln_post\.|proj$|trunk\.(norm|head)\.)', name) is not None
