"""
From logits to labels and confidences, by SCLIP's rule, without an array of probabilities.

SCLIP takes the softmax over all queries, the largest probability within each class, and the
largest of those. Softmax keeps the order of logits, so the winning query's class is the label and
its probability is 1 / sum(exp(scale * (logits - largest))): two reductions over the queries,
done for a band of rows at a time, in the way that is fastest where they are. The logits of a band
may come from `FrameLogits`, which makes them when they are asked for, so that no array of queries
x pixels exists either.

Where the softmax was taken before, over patches (RADSeg), the values are probabilities already.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import math

from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.refine import MixedLogits
from csa_ros.process import cancellation
from csa_ros.vocabulary import UNKNOWN
import torch
from torch import Tensor

# Logits that a band holds at most: on a CPU, few enough to stay in a core's second-level cache.
_BAND_LOGITS = {'cpu': 2 ** 18}
_BAND_LOGITS_ELSEWHERE = 2 ** 25
# Of queries that are left out: below any logit, and finite.
_LEFT_OUT = -1e30
# A power of two of which even the sum over all queries is within the range of float32.
_SAFE_EXPONENT = 100.0


@dataclass(frozen=True)
class Decision:
    """
    What every pixel shows: (H, W) uint8 tensors on the device of the logits.

    `labels` holds class ids, or UNKNOWN (255) where the winner's probability is below the
    threshold. `confidence` is round(255 * probability of the winning class), also where unknown.
    `relevancy` (P, H, W), likewise, is that of phrases, if there are any, and `segments` (H, W)
    says which segment a pixel is of, if it was asked for.
    """

    labels: Tensor
    confidence: Tensor
    relevancy: Tensor | None = None
    segments: Tensor | None = None


def decide(
    logits: Tensor | FrameLogits | MixedLogits,
    query_class: Tensor,
    logit_scale: float | None,
    unknown_threshold: float | Tensor = 0.0,
    min_area: float = 0.0,
    denoise: float = 0.0,
) -> Decision:
    """
    Decide the class of every pixel; nothing here waits for the device.

    `logits` (Q, H, W) are the cosines of pixels and queries, of any float dtype and memory layout.
    `query_class` (Q,) int64 is the class id of each query, 0 to 254, in any order, on the same
    device; the first of equal classes wins, whatever the order of the queries.

    `logit_scale`, above 0, is what cosines are multiplied by before the softmax; None says that
    `logits` are probabilities. A class that is nowhere as probable as `denoise` is dropped, and
    its pixels go to the most probable class that is left (at the probability it had); where none
    is left, they become UNKNOWN. `min_area` is SCLIP's `area_thd`: with class 0 the background, a
    class that wins at most this share of all foreground pixels is dropped likewise. 0 switches
    either rule off. Pixels whose winner is less probable than `unknown_threshold`, a number or one
    for each pixel (H, W), become UNKNOWN; where SCLIP's `prob_thd` writes class 0, this does not.

    Raises ValueError if the shapes do not fit.
    """
    _check(logits, query_class)
    sharpness = None if logit_scale is None else logit_scale * math.log2(math.e)
    labels = torch.empty(logits.shape[1:], dtype=torch.uint8, device=logits.device)
    probability = torch.empty(logits.shape[1:], device=logits.device)
    find_winners = _FIND_WINNERS.get(logits.device.type, _winners_by_index)
    if find_winners is _winners_by_index:
        logits, query_class = _in_order_of_classes(logits, query_class)
    peaks = []
    for rows, band in _bands(logits):
        labels[rows], probability[rows] = find_winners(band, query_class, sharpness)
        if denoise > 0:
            peaks.append(_peaks(band, sharpness))
    winners, dropped = probability, None
    if denoise > 0:
        highest = torch.zeros(UNKNOWN + 1, device=logits.device)
        highest.scatter_reduce_(0, query_class, torch.stack(peaks).amax(0), 'amax')
        dropped = (highest < denoise)[query_class]
        labels, probability = _without(dropped, logits, query_class, sharpness, winners)
    if min_area > 0:
        small = _too_small(labels, min_area)[query_class]
        dropped = small if dropped is None else dropped | small
        labels, probability = _without(dropped, logits, query_class, sharpness, winners)
    if dropped is not None:
        labels.masked_fill_(dropped.all(), UNKNOWN)
    # Not `probability < threshold`: logits that are no numbers must become unknown as well.
    labels.masked_fill_(~(probability >= unknown_threshold), UNKNOWN)
    confidence = probability.nan_to_num_(0).mul_(255).round_().to(torch.uint8)
    return Decision(labels, confidence)


def _bands(logits: Tensor | FrameLogits | MixedLogits) -> Iterator[tuple[slice, Tensor]]:
    """Yield bands of rows, and their logits in float32."""
    queries, height, width = logits.shape
    budget = _BAND_LOGITS.get(logits.device.type, _BAND_LOGITS_ELSEWHERE)
    step = max(budget // (queries * width), 1)
    for top in range(0, height, step):
        cancellation.check()
        rows = slice(top, top + step)
        yield rows, logits[:, rows].float()


def _without(dropped: Tensor, logits: Tensor | FrameLogits | MixedLogits, query_class: Tensor,
             sharpness: float | None, probability: Tensor) -> tuple[Tensor, Tensor]:
    """
    Decide again, without some queries: return labels and probabilities, (H, W) each.

    `dropped` is (Q,) bool; `probability` (H, W) is that of the winners of all queries.
    """
    class_ids = query_class.float()[:, None, None]
    labels = torch.empty(probability.shape, dtype=torch.uint8, device=probability.device)
    left = torch.empty_like(probability)
    for rows, band in _bands(logits):
        largest = band.amax(0)
        band = band.masked_fill(dropped[:, None, None], _LEFT_OUT)
        largest_left = band.amax(0)
        labels[rows] = _winning_class(band - largest_left, class_ids)
        left[rows] = (largest_left.clamp_(min=0) if sharpness is None else
                      probability[rows] * _exp2(largest_left - largest, sharpness))
    return labels, left


def _peaks(band: Tensor, sharpness: float | None) -> Tensor:
    """Return the largest probability of each query in a band (Q, rows, W) of logits."""
    if sharpness is not None:
        below = _exp2(band - band.amax(0), sharpness)
        band = below / below.sum(0)
    # One pixel that is no number says nothing of the others.
    return band.nan_to_num(0).flatten(1).amax(1)


def _winners_by_distance(band: Tensor, query_class: Tensor, sharpness: float | None
                         ) -> tuple[Tensor, Tensor]:
    """
    Return the class and the probability of the winning query of every pixel, (rows, W) each.

    `band` (Q, rows, W) are logits, `query_class` (Q,) their classes, in any order; without a
    `sharpness` they are probabilities.
    """
    largest = band.amax(0)
    below = band - largest
    winners = _winning_class(below, query_class.float()[:, None, None])
    return winners, largest if sharpness is None else 1 / _exp2(below, sharpness).sum(0)


def _winners_by_index(band: Tensor, query_class: Tensor, sharpness: float | None
                      ) -> tuple[Tensor, Tensor]:
    """
    Do so for queries in the order of their classes.

    What a GPU does here takes the time that it takes to read and write the logits: this does it 6
    times, and the other 12.
    """
    # The first of equal logits.
    largest, winner = band.max(0)
    if sharpness is None:
        return query_class[winner], largest
    exponents, largest = band * sharpness, largest * sharpness
    if sharpness > _SAFE_EXPONENT:
        exponents -= largest
        largest = torch.zeros_like(largest)
    return query_class[winner], largest.exp2_() / exponents.exp2_().sum(0)


_FIND_WINNERS = {'cpu': _winners_by_distance}


def _in_order_of_classes(logits: Tensor | FrameLogits | MixedLogits, query_class: Tensor
                         ) -> tuple[Tensor | FrameLogits | MixedLogits, Tensor]:
    order = query_class.argsort(stable=True)
    return logits.index_select(0, order), query_class[order]


def _winning_class(below: Tensor, class_ids: Tensor) -> Tensor:
    """
    Return the smallest class among the queries whose distance to the largest logit is 0.

    Moving every other query's class up by 256 makes that a minimum, which torch finds 4 times
    faster on a CPU than a maximum with its index (60 queries, 640 x 480 pixels).

    `below` is (Q, H, W), the logits less the largest of their pixel; `class_ids` is (Q, 1, 1)
    float32. Returns (H, W) float32.
    """
    return torch.sub(class_ids, below.sign(), alpha=256).amin(0)


def _exp2(exponents: Tensor, factor: float) -> Tensor:
    """Return 2 ** (factor * exponents), in place; on a CPU exp2 is 3 times faster than exp."""
    return exponents.mul_(factor).exp2_()


def _too_small(labels: Tensor, min_area: float) -> Tensor:
    """Return which class ids win at most `min_area` of the foreground: (256,) bool."""
    # Counted by scatter_add_ because bincount waits for a GPU.
    winners = labels.flatten().long()
    areas = torch.zeros(UNKNOWN + 1, dtype=torch.int64, device=labels.device)
    areas.scatter_add_(0, winners, torch.ones_like(winners))
    small = areas <= min_area * areas[1:].sum()
    small[0] = False
    return small


def _check(logits: Tensor | FrameLogits | MixedLogits, query_class: Tensor) -> None:
    """Raise ValueError for shapes that do not fit."""
    shape = tuple(logits.shape)
    if len(shape) != 3 or 0 in shape or query_class.shape != shape[:1]:
        raise ValueError(
            f'logits have the shape {shape} and query_class {tuple(query_class.shape)}; '
            'expected (Q, H, W) and (Q,), none of them 0')
