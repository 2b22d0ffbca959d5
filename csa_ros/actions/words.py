"""The words for actions, and what CLIP makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.actions.choices import PROMPTS
from csa_ros.actions.errors import ActionError
from csa_ros.model.text import TextEncoder
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Words:
    """Names of actions, and their features (C, D) float32 of length 1."""

    names: tuple[str, ...]
    features: Tensor


def encode(text: TextEncoder, names: Sequence[str], prompts: str | Sequence[str],
           dim: int, device: torch.device) -> Words:
    """
    Return words ready for use; what was encoded before is not encoded again.

    `prompts` as for `csa_ros.model.text.templates`, PROMPTS where it is empty. Features have
    `dim` numbers. Raises ActionError for names that are empty or there twice, and
    `csa_ros.model.text.PromptError`.
    """
    named = _read(names)
    if not named:
        return Words((), torch.zeros(0, dim, device=device))
    return Words(named, text.encode(named, prompts or PROMPTS))


def check(text: TextEncoder, names: Sequence[str], prompts: str | Sequence[str]) -> None:
    """Raise what `encode` would."""
    text.check(_read(names), prompts or PROMPTS)


def _read(names: Sequence[str]) -> tuple[str, ...]:
    named = tuple(name.strip() for name in names)
    if not all(named):
        raise ActionError(f'action {named.index("") + 1} of {len(named)} has no name: give a word '
                          'or a few for it')
    twice = [name for name in named if named.count(name) > 1]
    if twice:
        raise ActionError(f'the action {twice[0]!r} is there {named.count(twice[0])} times: name '
                          'it once')
    return named
