"""
How much the examples of each class are to count, told by what was shown: leave one out.

Of the pictures that a class was shown in, each is labelled without the key that was made of it.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from csa_ros.teaching.cache import KNOWN
from csa_ros.teaching.cache import make
from csa_ros.teaching.cache import Strength
from csa_ros.teaching.cache import STRENGTHS
from csa_ros.teaching.cache import UNHEARD
from csa_ros.teaching.examples import Example
import torch
from torch import Tensor

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


def choose(text: Tensor, query_class: Tensor, examples: Sequence[Example], key_class: Tensor
           ) -> dict[int, Taught]:
    """
    Return for each class that was shown how much its examples are to count.

    `text` (Q, D) and `query_class` (Q,) are the words, `key_class` (K,) the classes of the
    examples, by their order.
    """
    keys = torch.stack([example.look.key for example in examples]).to(text.device)
    shown = sorted(set(key_class.tolist()))
    word_iou = {c: _iou(text, query_class, examples, key_class, c, None, keys) for c in shown}
    strengths = {c: KNOWN if word_iou[c] >= FOUND else UNHEARD for c in shown}
    counts = torch.bincount(key_class).tolist()
    taught = {}
    for c in shown:
        iou = None
        if counts[c] > 1:
            found = {
                strength: _iou(text, query_class, examples, key_class, c,
                               {**strengths, c: strength}, keys)
                for strength in STRENGTHS}
            best = max(found, key=found.__getitem__)
            if found[best] > found[strengths[c]] + NOTICED:
                strengths[c] = best
            iou = found[strengths[c]]
        taught[c] = Taught(counts[c], strengths[c], word_iou[c], iou)
    return taught


def _iou(text: Tensor, query_class: Tensor, examples: Sequence[Example], key_class: Tensor,
         chosen: int, strengths: Mapping[int, Strength] | None, keys: Tensor) -> float:
    """Return the IoU of a class over its examples; without `strengths` that of the word."""
    key_class = key_class.to(text.device)
    both = either = 0.0
    for index, example in enumerate(examples):
        if int(key_class[index]) != chosen:
            continue
        patches = example.look.patches.to(text.device).float()
        cosines = patches @ text.T
        if strengths is not None:
            others = torch.arange(len(keys), device=text.device) != index
            cache = make(text, query_class, keys[others], key_class[others], strengths)
            cosines = cosines + cache.bonus(patches)
        found = query_class[cosines.argmax(1)].cpu() == chosen
        there = example.look.inside >= 0.5
        weight = example.look.stands_for
        both += float(weight[found & there].sum())
        either += float(weight[found | there].sum())
    return both / either if either else 0.0
