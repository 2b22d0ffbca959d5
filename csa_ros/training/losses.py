"""
What models learn by: functions of features, or of what a model says and of what is true.

Features are of length 1, unless it is said that they need not be. All of it can be differentiated
but for `mine_positives`, which decides.
"""

from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

# How sharply the best patches of a crop stand for it, and where their cosine with a caption turns
# from no to yes: at 6 / 20.
POOLED_SCALE, POOLED_BIAS = 20.0, -6.0


def sigmoid_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """
    Compare every image with every caption, each pair for itself (SigLIP, arXiv 2303.15343).

    `logits` (N, M) are scaled cosines plus a bias; `positive` (N, M) bool says which captions are
    true of which images. Returns the sum over all pairs divided by N. With the captions of an
    image alone as positives it is SigLIP's loss, with those of `mine_positives` that of FFF
    (arXiv 2405.10286).
    """
    return F.softplus(torch.where(positive, -logits, logits)).sum() / len(logits)


class Thresholds(NamedTuple):
    """
    From which cosines on `mine_positives` believes a pair.

    `sure` is for an image and a caption alone, `likely` for those with another reason, `images`
    for two images and `texts` for two captions; in FFF they are p1, p1', p2 and p3.
    """

    sure: Tensor | float
    likely: Tensor | float
    images: Tensor | float
    texts: Tensor | float


@torch.no_grad()
def mine_positives(image: Tensor, text: Tensor, own: Tensor, thresholds: Thresholds) -> Tensor:
    """
    Tell which captions are true of which images, (N, M) bool, by likeness (FFF, arXiv 2405.10286).

    `image` (N, D) and `text` (M, D) are features; `own` (N, M) bool says which captions were
    written for which images. Those are true, and so are captions that are surely like the image,
    and captions that are likely to be and that were written for an image like it, or are like a
    caption of it.
    """
    cosines = image @ text.T
    like_image = (image @ image.T > thresholds.images).float()
    like_text = (text @ text.T > thresholds.texts).float()
    written = own.float()
    # Of each pair: is there an image, or a caption, that leads from one to the other?
    led = (like_image @ written > 0) | (written @ like_text > 0)
    return own | (cosines > thresholds.sure) | (led & (cosines > thresholds.likely))


def info_nce(image: Tensor, text: Tensor, scale: Tensor | float, same: Tensor | None = None
             ) -> Tensor:
    """
    Let each image find its caption among all, and each caption its image (CLIP, arXiv 2103.00020).

    `image` and `text` are (N, D), pair by pair. Where `same` (N, N) bool is true off the diagonal,
    two captions say the same, and neither is a wrong answer for the other.
    """
    logits = scale * image @ text.T
    if same is not None:
        others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(others, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def subcaption_loss(image: Tensor, text: Tensor, scale: Tensor | float,
                    same: Tensor | None = None) -> Tensor:
    """
    Return the mean of `info_nce` over the captions of images (DreamLIP, arXiv 2403.17007).

    `image` is (N, D), `text` (N, K, D): K captions of each. `same` (K, N, N) bool is as for
    `info_nce`, for each of the K.
    """
    losses = [info_nce(image, text[:, k], scale, None if same is None else same[k])
              for k in range(text.shape[1])]
    return torch.stack(losses).mean()


def group_patches(text: Tensor, patches: Tensor, sigma: float | None = None) -> Tensor:
    """
    Return what captions find in their image, (N, K, D) of length 1 (DreamLIP, arXiv 2403.17007).

    `text` (N, K, D) and `patches` (N, P, D) need not be of length 1. The cosines of a caption with
    the patches of its image are brought to 0..1, those below `sigma` (1 / P if it is None) become
    0, and the patches are averaged with what is left as weights.
    """
    sigma = 1 / patches.shape[1] if sigma is None else sigma
    patches = F.normalize(patches, dim=-1)
    cosines = F.normalize(text, dim=-1) @ patches.transpose(1, 2)
    low, high = cosines.amin(-1, keepdim=True), cosines.amax(-1, keepdim=True)
    # All patches may be equally like it.
    weights = (cosines - low) / (high - low).clamp(min=1e-6)
    weights = torch.where(weights < sigma, 0, weights)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)
    return F.normalize(weights @ patches, dim=-1)


def grouping_loss(text: Tensor, patches: Tensor, scale: Tensor | float,
                  sigma: float | None = None, same: Tensor | None = None) -> Tensor:
    """
    Compare every caption with what every caption finds (DreamLIP, arXiv 2403.17007).

    `text`, `patches` and `sigma` are as for `group_patches`; `same` (N K, N K) bool is as for
    `info_nce`, the captions of an image together.
    """
    groups = group_patches(text, patches, sigma)
    return info_nce(groups.flatten(0, 1), F.normalize(text, dim=-1).flatten(0, 1), scale, same)


def balanced_sigmoid_loss(logits: Tensor, target: Tensor, prior: float = 0.0) -> Tensor:
    """
    Compare as `sigmoid_loss` does, with as much weight for what is true as for what is false.

    `logits` and `target` are (crops, captions). In the target 1 is true, 0 is false, and undecided
    pairs (NaN) count nothing. For each caption, the crops that it is true of weigh as much as
    those that it is false of, times (true / false) ** `prior`. With all of it (1) common words win
    everywhere; the less it is, and it may be below 0, the more often are rare words said.
    """
    losses = F.softplus(torch.where(target == 1, -logits, logits))
    true, false = target == 1, target == 0

    def mean(chosen: Tensor) -> Tensor:
        return (losses * chosen).sum(0) / chosen.sum(0).clamp(min=1)

    # One more of each, so that none is no exception.
    odds = (true.sum(0) + 1) / (false.sum(0) + 1)
    return (mean(true) * odds.clamp(max=1) ** prior + mean(false)).mean()


def pool_cosines(patches: Tensor, text: Tensor, sharpness: Tensor | float) -> Tensor:
    """
    Return how like captions are to the patches of crops that show them best.

    `patches` (crops, patches, D) and `text` (captions, D). Returns (crops, captions): the mean of
    a crop's cosines S with a caption, weighted by softmax(sharpness * S) over its patches. This is
    multiple-instance learning with attention for pooling (arXiv 1802.04712), where the caption is
    what asks: that it is true of a crop means that some patches show it, that it is false that
    none does.
    """
    cosines = text @ patches.transpose(1, 2)
    weights = (sharpness * cosines).softmax(dim=-1)
    return (weights * cosines).sum(dim=-1)


def pooled_logits(patches: Tensor, text: Tensor) -> Tensor:
    """
    Compare captions with the patches of crops that show them best, for `balanced_sigmoid_loss`.

    `patches` and `text` are as for `pool_cosines`. Returns (crops, captions): 20 z - 6, with z its
    result at a sharpness of 20; this is for the demo model, whose cosines spread widely.
    """
    return POOLED_SCALE * pool_cosines(patches, text, POOLED_SCALE) + POOLED_BIAS
