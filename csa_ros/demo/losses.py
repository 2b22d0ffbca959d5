"""What the demo model learns by: functions of what it says and of what is true."""

import torch
from torch import Tensor
import torch.nn.functional as F

# How sharply the best patches of a crop stand for it, and where their cosine with a caption turns
# from no to yes: at 6 / 20.
POOLED_SCALE, POOLED_BIAS = 20.0, -6.0


def sigmoid_loss(logits: Tensor, target: Tensor, prior: float = 0.0) -> Tensor:
    """
    Compare every crop with every caption, each pair for itself (SigLIP, arXiv 2303.15343).

    `logits` and `target` are (crops, captions). Unlike SigLIP's, the target has more than the
    diagonal: every caption that is true of a crop counts as its caption (as in FFF, arXiv
    2405.10286), and undecided pairs (NaN) count nothing. For each caption, the crops that it is
    true of weigh as much as those that it is false of, times (true / false) ** `prior`. Without a
    prior (0) rare words are said too often, with all of it (1) common words win everywhere.
    """
    losses = F.softplus(torch.where(target == 1, -logits, logits))
    true, false = target == 1, target == 0

    def mean(chosen: Tensor) -> Tensor:
        return (losses * chosen).sum(0) / chosen.sum(0).clamp(min=1)

    # One more of each, so that none is no exception.
    odds = (true.sum(0) + 1) / (false.sum(0) + 1)
    return (mean(true) * odds.clamp(max=1) ** prior + mean(false)).mean()


def pooled_logits(patches: Tensor, text: Tensor) -> Tensor:
    """
    Compare captions with the patches of crops that show them best, for `sigmoid_loss`.

    `patches` (crops, patches, D) and `text` (captions, D) are of length 1. Returns (crops,
    captions): 20 z - 6 with z the mean of a crop's cosines S with a caption, weighted by
    softmax(20 S) over its patches. This is multiple-instance learning with attention for pooling
    (arXiv 1802.04712), where the caption is what asks: that it is true of a crop means that some
    patches show it, that it is false that none does.
    """
    cosines = text @ patches.transpose(1, 2)
    weights = (POOLED_SCALE * cosines).softmax(dim=-1)
    return POOLED_SCALE * (weights * cosines).sum(dim=-1) + POOLED_BIAS
