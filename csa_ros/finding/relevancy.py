"""
How much rather a patch shows what a phrase says than anything else: LERF's relevancy.

LERF (arXiv 2303.09553, section 3.3) compares the feature f of a place with a phrase q and, one by
one, with canonical phrases c that could be said of anything:

    relevancy = min_c exp(s f q) / (exp(s f q) + exp(s f c))

Here the words of the vocabulary are among the c, but not those that say the same as the phrase.
The softmax of two is the logistic function of their difference, so that the least of them is that
of the most likely other phrase, and needs no softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.refine import MixedLogits
from csa_ros.vocabulary import Vocabulary
import torch
from torch import Tensor
from torch.nn import functional as F

# LERF's.
CANONICAL = ('object', 'things', 'stuff', 'texture')
# Of the logit scale of labels: LERF's 10 where that is SCLIP's 40. Sharper ones find as much, but
# leave next to nothing for a threshold to choose by: csa_ros.evaluation.pointing.
SHARPNESS = 0.25
# Of pixels, at a time.
_ROWS = 32
_ARTICLES = ('a', 'an', 'the')


@dataclass(frozen=True, eq=False)
class Sought:
    """
    Phrases ready to be looked for, as tensors on one device.

    `features` (P, D) are those of the `phrases` and `negatives` (N, D) of CANONICAL, of length 1.
    `own` (P, Q) bool tells which queries of the vocabulary say what a phrase says; None where no
    phrase is a word of it.
    """

    phrases: tuple[str, ...]
    features: Tensor
    negatives: Tensor
    own: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Return what `relevancy` takes."""
        both = self.features, self.negatives
        return both if self.own is None else (*both, self.own)


def own_queries(phrases: Sequence[str], vocabulary: Vocabulary | None) -> Tensor | None:
    """
    Return which queries of a vocabulary say what phrases say, (P, Q) bool, None if there is none.

    They are all those of a class of which the name or a query is the phrase, but for case and an
    article before it.
    """
    if vocabulary is None:
        return None
    own = torch.zeros(len(phrases), len(vocabulary.queries), dtype=torch.bool)
    query_class = torch.tensor(vocabulary.query_class)
    for row, phrase in zip(own, map(_bare, phrases)):
        for class_id, entry in enumerate(vocabulary.entries):
            if phrase in map(_bare, (entry.name, *entry.queries)):
                row |= query_class == class_id
    return own if own.any() else None


def relevancy(features: Tensor, cosines: Tensor, scale: float, phrases: Tensor,
              negatives: Tensor, own: Tensor | None = None) -> Tensor:
    """
    Return the relevancy of each phrase at each patch, (..., P) float32 from 0 to 1.

    `features` (..., D) are those of patches, and `cosines` (..., Q) what they have in common with
    the words, with what examples add. `scale` is s of the formula. `phrases` (P, D), `negatives`
    (N, D) and `own` (P, Q) are those of Sought. A phrase that is a word is found by all queries
    and examples of its class. It is above 0.5 where nothing else is as likely.
    """
    found = features @ phrases.T
    others = torch.cat([features @ negatives.T, cosines], -1)
    if own is None:
        return torch.sigmoid(scale * (found - others.amax(-1, keepdim=True)))
    own = F.pad(own, (len(negatives), 0))
    # One after the other: all of them at once would be phrases x queries x patches.
    differences = [
        torch.maximum(found[..., index], others.masked_fill(~same, -torch.inf).amax(-1))
        - others.masked_fill(same, -torch.inf).amax(-1) for index, same in enumerate(own)]
    return torch.sigmoid(scale * torch.stack(differences, -1))


def levels(relevancy: FrameLogits | MixedLogits) -> Tensor:
    """Return relevancy (P, H, W) times 255, uint8; it never is in memory as float32."""
    made = torch.empty(relevancy.shape, dtype=torch.uint8, device=relevancy.device)
    for top in range(0, relevancy.shape[1], _ROWS):
        rows = slice(top, top + _ROWS)
        made[:, rows] = relevancy[:, rows].mul_(255).round_()
    return made


def _bare(text: str) -> str:
    """Return a phrase without case, and without an article before it."""
    first, _, rest = text.casefold().partition(' ')
    return rest if rest and first in _ARTICLES else text.casefold()
