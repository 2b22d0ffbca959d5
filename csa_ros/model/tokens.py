"""
Prompts to tokens: each template and each query is read once, instead of once a prompt.

CLIP's tokenizer cleans and splits a text by some dozens of rules, which takes a tenth of a
millisecond. Of 80 templates and 20 words that is longer than a GPU takes to encode them all.
"""

from collections.abc import Hashable
from collections.abc import Sequence
from functools import lru_cache
import re
from typing import Protocol

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

# What cleaning leaves alone. Where a space or a sign follows a letter or a digit, words end.
_PLAIN_QUERY = re.compile(r'[A-Za-z0-9](?:[A-Za-z0-9 -]*[A-Za-z0-9])?')
_PLAIN_TEMPLATE = re.compile(r'((?:[A-Za-z0-9 ,.-]* )?)\{\}((?:[ ,.!?-][A-Za-z0-9 ,.!?-]*)?)')


class Tokenizer(Hashable, Protocol):
    """What turns texts into tokens, as those of open_clip's models do."""

    context_length: int

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without those of its start and end."""

    def __call__(self, texts: list[str]) -> Tensor:
        """Return (N, context_length) int64, start and end added, 0 after the end."""


def tokenize(tokenizer: Tokenizer, templates: Sequence[str], queries: Sequence[str]) -> Tensor:
    """
    Return what the tokenizer makes of every query in every template, those of a query together.

    Each template holds `{}` once. Returns (queries * templates, context_length) int64.
    """
    if not isinstance(tokenizer, open_clip.SimpleTokenizer):
        return tokenizer([template.replace('{}', query)
                          for query in queries for template in templates])
    rows = [encode(tokenizer, template, query) for query in queries for template in templates]
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    most = tokenizer.context_length - 2
    longest = min(max(map(len, rows)), most)
    padded = torch.tensor([
        [start, *row[:most], end, *[0] * (longest - len(row))] for row in rows])
    return F.pad(padded, (0, most - longest))


def encode(tokenizer: Tokenizer, template: str, query: str) -> list[int]:
    """Return what `tokenizer.encode` makes of a query in a template, which holds `{}` once."""
    around = _around(tokenizer, template)
    within = None if around is None else _within(tokenizer, query)
    if around is None or within is None:
        return tokenizer.encode(template.replace('{}', query))
    return [*around[0], *within, *around[1]]


# Room for the templates of all ensembles ...
@lru_cache(maxsize=256)
def _around(tokenizer: Tokenizer, template: str) -> tuple[list[int], list[int]] | None:
    """Return the tokens before and after a query; None where they depend on it."""
    match = _PLAIN_TEMPLATE.fullmatch(template)
    if not match or not isinstance(tokenizer, open_clip.SimpleTokenizer):
        return None
    before, after = match.groups()
    return tokenizer.encode(before), tokenizer.encode(after)


# ... and for the words of a vocabulary.
@lru_cache(maxsize=1024)
def _within(tokenizer: Tokenizer, query: str) -> list[int] | None:
    """Return the tokens of a query; None where they depend on what is around it."""
    return tokenizer.encode(query) if _PLAIN_QUERY.fullmatch(query) else None
