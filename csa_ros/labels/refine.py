"""
Pixel-Adaptive Mask Refinement: labels that follow the edges of the image.

PAMR (Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels",
arXiv 2005.08104, section 3.3) replaces the logits of a pixel, some times over, by a mean of those
of its neighbours, in which a neighbour counts the more the more it looks like the pixel. With
x(i) the image and N(i) the 8 neighbours of pixel i at each of several distances,

    k(i, j) = -mean over channels of |x(i) - x(j)| / (0.1 * std(i) + 1e-8)
    logits(i) <- sum over j in N(i) of softmax over j of k(i, j) * logits(j)

where std(i) is that of the channel over N(i) and, once for each distance, i itself. Beyond the
border the image goes on as it is at the border. The weights depend on the image alone, and are the
same for all queries and steps.

Each step is linear and the same for every query. So the queries are refined a few at a time, and
many queries by the few linear combinations that nearly all of them consist of. The weights are not
negative and add up to 1, as do those of interpolation, so that no logit is off afterwards by more
than the greatest error of those that went in. Queries that win nowhere cannot be left out: labels
would hardly change, but confidences would, as the softmax is over all queries.
"""

from collections.abc import Callable
from collections.abc import Sequence
from functools import lru_cache
import itertools
import math

from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.merge import MergeMap
from csa_ros.process import cancellation
import torch
from torch import Tensor
from torch.nn import functional

# Passes of some steps each, and how many pixels away their neighbours are.
Passes = Sequence[tuple[Sequence[int], int]]
# Those of the published results, in pixels of the output.
PUBLISHED_PASSES = (((8, 16), 10),)
# Planes that are refined together. More would not be faster on a CPU, where the rows of pixels
# that are being read would no longer stay in its caches, and would need more memory.
_TOGETHER = 32
# Pixels that are compared with their neighbours at a time on a CPU, for the same reason.
_BAND_PIXELS = 2 ** 14


class Affinity:
    """How much each pixel of an image takes of each of its neighbours."""

    def __init__(self, image: Tensor, dilations: Sequence[int]) -> None:
        """
        Compare the pixels of `image` (3, h, w) float32 with those `dilations` pixels away.

        The scale and offset of a channel do not matter. Needs 64 bytes for each pixel and
        dilation, half of them shared by all images of a size.
        """
        self._size = tuple(image.shape[-2:])
        self._neighbours = neighbours(self._size, tuple(dilations), image.device)
        border = max(dilations)
        padded = functional.pad(image[None], [border] * 4, mode='replicate')[0]
        height, width = self._size
        self._weights = image.new_empty(height * width, self._neighbours.shape[1])
        step = max(_BAND_PIXELS // width, 1) if image.device.type == 'cpu' else height
        for top in range(0, height, step):
            cancellation.check()
            bottom = min(top + step, height)
            compared = _compare(padded[:, top:bottom + 2 * border], dilations)
            self._weights[top * width:bottom * width] = compared.flatten(1).T.softmax(1)

    def smooth(self, logits: Tensor, steps: int) -> Tensor:
        """Return `logits` (Q, h, w) float32 after some steps, in the same shape."""
        pixels = logits.flatten(1).T.contiguous()
        for _ in range(steps):
            cancellation.check()
            # A weighted sum of rows of a table, for many lists of rows, is what this is made for:
            # 3 times faster on a CPU than sums of shifted planes, and without any copy of them.
            pixels = functional.embedding_bag(
                self._neighbours, pixels, per_sample_weights=self._weights, mode='sum')
        return pixels.T.unflatten(1, self._size)


@lru_cache(maxsize=8)
def neighbours(size: tuple[int, int], dilations: tuple[int, ...], device: torch.device) -> Tensor:
    """
    Return the pixels around each pixel, (h * w, neighbours) int32, counted row by row.

    Beyond the border it is the nearest one within.
    """
    rows, columns = (torch.arange(side, device=device) for side in size)
    indices = [(rows + down).clamp(0, size[0] - 1)[:, None] * size[1]
               + (columns + right).clamp(0, size[1] - 1) for down, right in _shifts(dilations)]
    return torch.stack(indices, -1).flatten(0, 1).int()


def _shifts(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many pixels down and to the right each neighbour is."""
    return [(down * dilation, right * dilation) for dilation in dilations
            for down, right in itertools.product((-1, 0, 1), repeat=2) if down or right]


def _compare(padded: Tensor, dilations: Sequence[int]) -> Tensor:
    """
    Return k of all neighbours of some rows of an image, (neighbours, rows, w).

    `padded` has more around them, on every side as much as the greatest of the dilations.
    """
    border = max(dilations)
    image = padded[:, border:-border, border:-border]
    height, width = image.shape[-2:]
    shifts = _shifts(dilations)

    def difference(shift: tuple[int, int]) -> Tensor:
        down, right = (start + border for start in shift)
        return padded[:, down:down + height, right:right + width] - image

    # The variance of differences to the pixel is that of the values, and exactly 0 on flat ground;
    # to the pixel itself, which counts once for each dilation, the difference is 0.
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for shift in shifts:
        away = difference(shift)
        total += away
        squares.addcmul_(away, away)
    count = len(shifts) + len(dilations)
    variance = squares.addcmul_(total, total, value=-1 / count).div_(count - 1)
    scale = -1 / (0.1 * variance.clamp_(min=0).sqrt_() + 1e-8) / len(image)
    compared = image.new_empty(len(shifts), height, width)
    for shift, plane in zip(shifts, compared):
        torch.sum(difference(shift).abs_().mul_(scale), 0, out=plane)
    return compared


class MixedLogits:
    """
    Logits that are linear combinations of a few planes, made for the rows that are asked for.

    They are indexed as `csa_ros.labels.merge.FrameLogits`. `planes` are (R, H, W), `axes` (Q, R).
    """

    def __init__(self, axes: Tensor, planes: Tensor | FrameLogits) -> None:
        self._axes = axes
        self._planes = planes
        self.shape = (len(axes), *planes.shape[1:])
        self.device = planes.device

    def index_select(self, dim: int, index: Tensor) -> 'MixedLogits':
        """Return the logits of some queries, (Q,) int64; `dim` is 0, as for a tensor."""
        if dim != 0:
            raise IndexError(f'mixed logits are selected by query, dimension 0, not {dim}')
        return MixedLogits(self._axes.index_select(0, index), self._planes)

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        band = self._planes[key]
        return (self._axes @ band.flatten(1)).unflatten(1, band.shape[1:])


def passes_for(patch_size: int) -> Passes:
    """
    Return passes for a frame at the size at which a tower sees it, in patches of that many pixels.

    A pixel there has about the size of one of the output in the published results, where
    neighbours are half a patch and a patch of ViT-B/16 away. Pixels between which there is no path
    of such steps know nothing of each other, which leaves combs where classes are close: the last
    two of the ten steps, to near neighbours, close them.
    """
    return (((max(patch_size // 2, 1), patch_size), 8), ((1, max(patch_size // 4, 2)), 2))


def passes_of(refine: str, patch_size: int) -> Passes:
    """Return the passes of a choice of `csa_ros.settings.REFINE`, for patches of a size."""
    if refine == 'off':
        return ()
    return PUBLISHED_PASSES if refine == 'pamr-output' else passes_for(patch_size)


def refine(window_logits: Tensor, image: Tensor, merge: MergeMap, enlarge: MergeMap | None,
           passes: Passes, tolerance: float = 0.0) -> Tensor | FrameLogits | MixedLogits:
    """
    Merge the windows of a frame and refine the result by its image.

    `window_logits` (windows, gh, gw, Q) float32 is what `merge` takes, and the output size of
    that the one at which PAMR runs, in one or more `passes`; `image` (3, h, w) float32 is resized
    to it if need be. `enlarge` leads from there to the size of the labels, taking every pixel for
    a patch of one window; None where they have the same size.

    With a `tolerance` above 0, no logit is off by more than that, and fewer planes than queries
    are refined where they suffice; how many depends on the values, which makes the host wait for
    a GPU. Returns logits (Q, H, W) for `csa_ros.labels.decide.decide`.
    """
    size = len(merge.vertical), len(merge.horizontal)
    axes, window_logits = _reduce(window_logits, tolerance) if tolerance else (
        None, window_logits)
    planes = _refined(lambda some: merge(window_logits[..., some])[:, :],
                      window_logits.shape[-1], size, image, passes, enlarge)
    return planes if axes is None else MixedLogits(axes, planes)


def refine_planes(planes: Tensor, image: Tensor, enlarge: MergeMap | None, passes: Passes
                  ) -> Tensor | FrameLogits:
    """Do so with planes (R, h, w) float32 of the size at which PAMR runs."""
    count, height, width = planes.shape
    return _refined(lambda some: planes[some], count, (height, width), image, passes, enlarge)


def enlarged(planes: Tensor, enlarge: MergeMap) -> FrameLogits:
    """Return planes (R, h, w) float32 at the size of the labels, not refined."""
    # `enlarge` as a whole would multiply by zeros mostly; `FrameLogits` does its vertical half.
    return FrameLogits(enlarge, _widened(planes, len(enlarge.horizontal)).transpose(0, 1))


def _refined(make: Callable[[slice], Tensor], count: int, size: tuple[int, int], image: Tensor,
             passes: Passes, enlarge: MergeMap | None) -> Tensor | FrameLogits:
    """Return the `count` planes (R, h, w) of a `size`, refined, some of which `make` returns."""
    if image.shape[-2:] != size:
        image = functional.interpolate(
            image[None], size=size, mode='bilinear', align_corners=False)[0]
    affinities = [(Affinity(image, dilations), steps) for dilations, steps in passes]
    height, width = size
    columns = width if enlarge is None else len(enlarge.horizontal)
    chunks = math.ceil(count / _TOGETHER)
    chunk = math.ceil(count / chunks)
    # Rows first, as `FrameLogits` has them.
    planes = image.new_empty(height, count, columns)
    for first in range(0, count, chunk):
        some = slice(first, first + chunk)
        logits = make(some)
        for affinity, steps in affinities:
            logits = affinity.smooth(logits, steps)
        planes[:, some] = (logits if columns == width else _widened(logits, columns)
                           ).transpose(0, 1)
    return planes.transpose(0, 1) if enlarge is None else FrameLogits(enlarge, planes)


def _widened(logits: Tensor, columns: int) -> Tensor:
    """Resize the rows of `logits` (Q, h, w) to so many columns."""
    if logits.device.type == 'cpu':
        return functional.interpolate(logits.transpose(0, 1), size=columns, mode='linear',
                                      align_corners=False).transpose(0, 1)
    # To the last bit the same. A GPU resizes lines in as many threads as a line has pixels, and
    # half of a frame's time went by in that; pictures it resizes in one a pixel.
    return functional.interpolate(logits[None], size=(logits.shape[1], columns), mode='bilinear',
                                  align_corners=False)[0]


def _reduce(window_logits: Tensor, tolerance: float) -> tuple[Tensor | None, Tensor]:
    """
    Express the logits of all queries by as few planes as the tolerance lets it.

    These are projections onto the principal axes of the patches' logits. Returns `axes` (Q, R) and
    projections (windows, gh, gw, R), of which the product is within `tolerance` of the logits;
    None and the logits themselves where that would hardly save anything.
    """
    logits = window_logits.flatten(0, -2)
    if not logits.isfinite().all():
        return None, window_logits
    _, axes = torch.linalg.eigh((logits.T @ logits).double())
    axes = axes.flip(1).to(logits.dtype)
    projections = logits @ axes
    # More planes are not always closer in every entry, but nearly so; the last is one that is.
    low, enough = 0, logits.shape[1]
    while low < enough:
        count = (low + enough) // 2
        error = logits - projections[:, :count] @ axes[:, :count].T
        if error.abs().max() <= tolerance:
            enough = count
        else:
            low = count + 1
    if enough > 0.8 * logits.shape[1]:
        return None, window_logits
    enough = max(enough, 1)
    return axes[:, :enough], projections[:, :enough].unflatten(0, window_logits.shape[:-1])
