"""
How much the examples of each class are to count, told by what was shown: leave one out.

Of the pictures that a class was shown in, each is labelled without the key that was made of it.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.teaching.cache import Cache
from csa_ros.teaching.cache import KNOWN
from csa_ros.teaching.cache import make
from csa_ros.teaching.cache import Strength
from csa_ros.teaching.cache import STRENGTHS
from csa_ros.teaching.cache import UNHEARD
from csa_ros.teaching.collection import Example
import torch
from torch import Tensor
from torch.nn import functional as F

# A word that finds so much of what was shown means something to the model: an IoU.
FOUND = 0.2
# Where another strength finds but little more, that is chance.
NOTICED = 0.03


@dataclass(frozen=True)
class Taught:
    """
    What is known of a class that was shown.

    `word_iou` is the IoU of the region and what the word alone finds, over the patches of the
    pictures that it was shown in; `iou` is that with the other examples, None if there is none.
    """

    count: int
    strength: Strength
    word_iou: float
    iou: float | None


@dataclass(frozen=True)
class _Shown:
    """
    The patches of an example, and what the other examples add to them.

    `cosines` (N, Q) are those of patches and words; `bonus` (N, Q), by beta, is what is added for
    an alpha of 1. `inside` (N,) bool says which patches are of the class, `stands_for` (N,) for
    how many each is there.
    """

    cosines: Tensor
    bonus: Mapping[float, Tensor]
    inside: Tensor
    stands_for: Tensor

    def found(self, strengths: Tensor) -> Tensor:
        """Return the query of each patch, (N,), with strengths (Q, 2) of the queries."""
        alpha, beta = strengths.unbind(1)
        logits = self.cosines
        for each, bonus in self.bonus.items():
            logits = logits + bonus * (alpha * (beta == each))
        return logits.argmax(1)


def choose(text: Tensor, query_class: Tensor, examples: Sequence[Example], key_class: Tensor
           ) -> dict[int, Taught]:
    """
    Return for each class that was shown how much its examples are to count.

    `text` (Q, D) and `query_class` (Q,) are the words, `key_class` (K,) the classes of the
    examples, by their order.
    """
    key_class = key_class.to(text.device)
    keys = torch.stack([example.look.key for example in examples]).to(text.device)
    counts = torch.bincount(key_class, minlength=int(query_class.max()) + 1)
    shown = key_class.unique().tolist()
    # Whatever the strength, keys and patches have to be compared but once.
    caches = {beta: make(text, query_class, keys, key_class,
                         dict.fromkeys(shown, Strength(1.0, beta)))
              for beta in {strength.beta for strength in STRENGTHS}}

    def looked_at(c: int, caches: Mapping[float, Cache]) -> list[_Shown]:
        return [_shown(text, examples[index], index, caches, counts[c] * (query_class == c))
                for index in (key_class == c).nonzero()[:, 0].tolist()]

    def iou(c: int, shown: Sequence[_Shown], strengths: Mapping[int, Strength]) -> float:
        by_class = text.new_zeros(len(counts), 2)
        for each, strength in strengths.items():
            by_class[each] = text.new_tensor(strength)
        return _iou(shown, by_class[query_class], query_class == c)

    word_iou = {c: iou(c, looked_at(c, {}), {}) for c in shown}
    strengths = {c: KNOWN if word_iou[c] >= FOUND else UNHEARD for c in shown}
    taught = {}
    for c in shown:
        best_iou, count = None, int(counts[c])
        if count > 1:
            looks = looked_at(c, caches)
            found = {strength: iou(c, looks, {**strengths, c: strength})
                     for strength in STRENGTHS}
            best = max(found, key=found.__getitem__)
            if found[best] > found[strengths[c]] + NOTICED:
                strengths[c] = best
            best_iou = found[strengths[c]]
        taught[c] = Taught(count, strengths[c], word_iou[c], best_iou)
    return taught


def _shown(text: Tensor, example: Example, own: int, caches: Mapping[float, Cache],
           fellows: Tensor) -> _Shown:
    """
    Return an example without what the key that was made of it adds, which is the one at `own`.

    `fellows` (Q,) is the number of keys of its class for the queries of that, 0 for all others.
    """
    look = example.look
    patches = look.patches.to(text.device).float()
    features = F.normalize(patches, dim=-1)
    # The mean is that of the others.
    share = torch.where(fellows > 1, fellows / (fellows - 1).clamp_min(1), 1.0)
    bonus = {}
    for beta, cache in caches.items():
        likeness = cache.likeness(features)
        likeness[:, own] = 0
        bonus[beta] = likeness @ cache.values * share
    return _Shown(patches @ text.T, bonus, look.inside.to(text.device) >= 0.5,
                  look.stands_for.to(text.device))


def _iou(shown: Sequence[_Shown], strengths: Tensor, of_class: Tensor) -> float:
    """Return the IoU of a class over its examples, with strengths (Q, 2) of the queries."""
    both = either = 0.0
    for each in shown:
        found = of_class[each.found(strengths)]
        both += float(each.stands_for[found & each.inside].sum())
        either += float(each.stands_for[found | each.inside].sum())
    return both / either if either else 0.0
