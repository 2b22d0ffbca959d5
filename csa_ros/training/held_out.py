"""How well a model tells which captions belong to pictures that it does not learn from."""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

from csa_ros.training.features import collect
from csa_ros.training.features import Encoder
from csa_ros.training.features import Features
from csa_ros.training.objective import Objective
from csa_ros.training.pictures import Batch
import numpy as np
import torch
from torch import Tensor

# More tell no more, and take their time after each epoch.
MOST = 1000
_TEXTS = 256


class Figures(NamedTuple):
    """
    The loss on held-out pictures, and how often captions are found among all, as shares of 1.

    `captions` is the share of the pictures for which the caption that is most like is one of
    theirs, `pictures` that of the captions for which the most like picture has it; those of
    `patches` are by the patches that show a caption best, which is how a word finds its pixels.
    """

    loss: float
    captions: float
    pictures: float
    patches_captions: float
    patches_pictures: float


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """
    Return which of `count` pictures are to be learnt from, and which are held out.

    A share above 0 holds out at least one and at most MOST.
    """
    held = min(max(round(share * count), 1), MOST) if share else 0
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


@torch.no_grad()
def measure(encoder: Encoder, objective: Objective, batches: Iterable[Batch],
            captions: Sequence[Sequence[str]]) -> Figures:
    """Return the figures of pictures, in batches; `captions` are as drawn in these, of all."""
    texts = collect(captions)
    places = {each: place for place, each in enumerate(texts.texts)}
    text = torch.cat([encoder.texts(texts.texts[i:i + _TEXTS])
                      for i in range(0, len(texts.texts), _TEXTS)])
    own = texts.own.to(text.device)
    cosines, pooled, losses, first = [], [], [], 0
    for batch in batches:
        image, patches = encoder.images(batch.frames)
        cosines.append(image @ text.T)
        pooled.append(objective.pooled(patches, text))
        of_batch = collect(batch.captions)
        features = Features(image, patches, text[[places[each] for each in of_batch.texts]],
                            of_batch.which.to(text.device), of_batch.own.to(text.device))
        losses.append(len(image) * objective(features).item())
        first += len(image)
    return Figures(sum(losses) / first, *_found(torch.cat(cosines), own),
                   *_found(torch.cat(pooled), own))


def _found(scores: Tensor, own: Tensor) -> tuple[float, float]:
    """Return the shares of pictures and of captions whose best score is with their own."""
    of_pictures = own.gather(1, scores.argmax(1, keepdim=True)).float().mean()
    of_texts = own.gather(0, scores.argmax(0, keepdim=True)).float().mean()
    return of_pictures.item(), of_texts.item()
