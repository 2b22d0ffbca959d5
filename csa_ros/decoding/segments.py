"""
The segments of windows compared with words, and laid over the frame: GroupViT's decoding.

Each pixel of a window is of the segment that has most of it, the shares of patches being enlarged
to pixels. With P the softmax over all queries of s times the cosines of a segment, and M the same
over those queries alone whose classes are among the five that the window as a whole is most like,
a query's probability is P M, and where windows overlap the mean of theirs (arXiv 2202.11094,
github.com/NVlabs/GroupViT, segmentation/evaluation).

So the probabilities of a frame are linear combinations of as many planes as it has segments, one
each that says which pixels are its. These are few, and it is they that are refined.
"""

from dataclasses import dataclass
from functools import cached_property
from functools import lru_cache

from csa_ros.decoding.layout import Layout
from csa_ros.decoding.patches import image_of
from csa_ros.decoding.patches import stacked
from csa_ros.labels.decide import decide
from csa_ros.labels.decide import Decision
from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.merge import merge_map
from csa_ros.labels.merge import MergeMap
from csa_ros.labels.refine import enlarged
from csa_ros.labels.refine import MixedLogits
from csa_ros.labels.refine import neighbours
from csa_ros.labels.refine import Passes
from csa_ros.labels.refine import passes_of
from csa_ros.labels.refine import refine_planes
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.segments import SegmentEncoder
from csa_ros.settings import ResolvedSettings
from csa_ros.vocabulary import UNKNOWN
import torch
from torch import Tensor
from torch.nn import functional as F

# Classes that a window is taken to show.
MOST_CLASSES = 5
# What stands for all segments that a byte cannot count.
LAST_SEGMENT = 255
# Pixels whose segments are compared at a time.
_BAND_PIXELS = 2 ** 16


class SegmentDecoder:
    """
    Decodes what an encoder keeps of segments, as `csa_ros.decoding.decoder.Decoder`.

    `patch_size` is the side of a patch in pixels.
    """

    whole = False

    def __init__(self, encoder: SegmentEncoder, patch_size: int, device: torch.device) -> None:
        self.segments = encoder.segments
        self._encoder = encoder
        self._patch_size = patch_size
        self._device = device

    def parts(self, kept: Tensor, layout: Layout, settings: ResolvedSettings) -> 'Segments':
        """
        Return the segments of frames.

        `kept` (B * windows, segments + 1, patches + D) are of the encoder.
        """
        rows, columns = self._encoder.grid(layout.plan.crop_height, layout.plan.crop_width)
        return Segments(kept[..., rows * columns:],
                        kept[:, :-1, :rows * columns].unflatten(-1, (rows, columns)),
                        self, layout, settings)

    def enlarge(self, layout: Layout) -> MergeMap | None:
        """Return the map from frames as they are seen to labels; None if these are as large."""
        if layout.frame_size == layout.output_size:
            return None
        return merge_map(plan_whole(*layout.frame_size), layout.frame_size, layout.output_size,
                         self._device)

    def passes(self, settings: ResolvedSettings) -> Passes:
        """Return what refines the labels."""
        return passes_of(settings.refine, self._patch_size)

    def constants(self, layout: Layout, settings: ResolvedSettings) -> tuple:
        """Return the tensors of a layout that are computed once and kept in caches."""
        plan = layout.plan
        size = layout.output_size if settings.refine == 'pamr-output' else layout.frame_size
        around = [neighbours(size, dilations, self._device)
                  for dilations, _ in self.passes(settings)]
        return (self._encoder.positions(*self._encoder.grid(plan.crop_height, plan.crop_width)),
                covering(plan, self._device), self.enlarge(layout), around)


@dataclass(frozen=True, eq=False)
class Segments:
    """
    The segments of frames, as `csa_ros.decoding.decoder.Parts`.

    `features` (B * windows, segments + 1, D) are those of segments and, last, of the window as a
    whole; `shares` (B * windows, segments, rows, columns) say which share of each patch is which
    one's.
    """

    features: Tensor
    shares: Tensor
    decoder: SegmentDecoder
    layout: Layout
    settings: ResolvedSettings

    @property
    def patches(self) -> Tensor:
        """Return for each patch the feature of the segment that has most of it."""
        which = self.shares.argmax(1)
        features = self.features[:, :-1].gather(
            1, which.flatten(1)[..., None].expand(-1, -1, self.features.shape[-1]))
        return features.unflatten(1, which.shape[1:])

    def decide(self, cosines: Tensor, query_class: Tensor, pixels: Tensor | None,
               tolerance: float) -> Decision:
        """
        Return labels and confidences of the frames; see `csa_ros.decoding.decoder.Parts`.

        `unknown_threshold` is that of the authors' background: segments whose most probable class
        is below it are unknown, unless none of the window reaches it; there those are known that
        are as probable as its most probable one.
        """
        settings = self.settings
        likely = probabilities(cosines, query_class, settings.logit_scale)
        largest = likely.amax(-1)
        least = largest.amax(1, keepdim=True).clamp(max=settings.unknown_threshold)
        unknown = (largest < least).float()
        frames = []
        for index, (axes, none) in enumerate(zip(self._by_frame(likely), self._by_frame(unknown))):
            planes = self._spread[index]
            if settings.refine != 'off':
                planes = self._refined(index, image_of(pixels, index, settings))
            threshold: float | Tensor = 0.0
            if settings.unknown_threshold:
                threshold = MixedLogits(none[None], planes)[:, :][0]
            frames.append(decide(MixedLogits(axes.T, planes), query_class, None, threshold,
                                 settings.min_area, settings.denoise))
        return stacked(frames)

    def spread(self, values: Tensor) -> list[MixedLogits]:
        """Return values (..., P) of segments at every pixel of each frame, (P, H, W)."""
        return [MixedLogits(axes.T, planes)
                for axes, planes in zip(self._by_frame(values[:, :-1]), self._spread)]

    def segments(self) -> Tensor:
        """
        Return which segment each pixel is of, (B, H, W) uint8.

        They are counted window by window; all from LAST_SEGMENT on are that one. Where windows
        overlap it is that of the first.
        """
        found = []
        for planes in self._spread:
            _, height, width = planes.shape
            step = max(_BAND_PIXELS // width, 1)
            found.append(torch.cat([
                planes[:, top:top + step].argmax(0).clamp(max=LAST_SEGMENT).to(torch.uint8)
                for top in range(0, height, step)]))
        return torch.stack(found)

    @cached_property
    def _planes(self) -> list[Tensor]:
        """Return what part of each pixel is which segment's, (windows * segments, h, w) each."""
        plan = self.layout.plan
        return [planes_of(shares, plan) for shares in self.shares.split(len(plan))]

    @cached_property
    def _spread(self) -> list[Tensor | FrameLogits]:
        """Return the planes at the size of the labels, not refined."""
        enlarge = self.decoder.enlarge(self.layout)
        return [planes if enlarge is None else enlarged(planes, enlarge)
                for planes in self._planes]

    def _refined(self, index: int, image: Tensor) -> Tensor | FrameLogits:
        planes, enlarge = self._planes[index], self.decoder.enlarge(self.layout)
        if self.settings.refine == 'pamr-output':
            planes, enlarge = F.interpolate(planes[None], size=self.layout.output_size,
                                            mode='bilinear', align_corners=False)[0], None
        return refine_planes(planes, image, enlarge, self.decoder.passes(self.settings))

    def _by_frame(self, values: Tensor) -> list[Tensor]:
        """Return values (B * windows, segments, ...) of each frame, (windows * segments, ...)."""
        return [windows.flatten(0, 1) for windows in values.split(len(self.layout.plan))]


def probabilities(cosines: Tensor, query_class: Tensor, logit_scale: float) -> Tensor:
    """
    Return the probability of each query in each segment, (windows, segments, Q).

    `cosines` (windows, segments + 1, Q) are those of segments and, last, of the window as a whole;
    `query_class` (Q,) are the classes of the queries.
    """
    logits, whole = logit_scale * cosines[:, :-1], cosines[:, -1]
    classes = query_class.expand(len(whole), -1)
    likeness = whole.new_full((len(whole), UNKNOWN + 1), -torch.inf)
    likeness.scatter_reduce_(1, classes, whole, 'amax')
    least = likeness.topk(MOST_CLASSES).values[:, -1:]
    left_out = likeness.gather(1, classes) < least
    return logits.softmax(-1) * logits.masked_fill(left_out[:, None], -torch.inf).softmax(-1)


def planes_of(shares: Tensor, plan: WindowPlan) -> Tensor:
    """
    Return what part of each pixel of a frame is which segment's, (windows * segments, h, w).

    `shares` (windows, segments, rows, columns) are those of patches. Where windows overlap, each
    has the same part of a pixel.
    """
    enlarged = F.interpolate(shares, size=(plan.crop_height, plan.crop_width), mode='bilinear',
                             align_corners=False)
    count = torch.arange(shares.shape[1], device=shares.device)[:, None, None]
    planes = shares.new_zeros(*shares.shape[:2], plan.height, plan.width)
    places = [(top, left) for top in plan.tops for left in plan.lefts]
    for plane, window, (top, left) in zip(planes, enlarged.argmax(1, keepdim=True), places):
        plane[:, top:top + plan.crop_height, left:left + plan.crop_width] = window == count
    return planes.flatten(0, 1).div_(covering(plan, shares.device))


@lru_cache(maxsize=16)
def covering(plan: WindowPlan, device: torch.device) -> Tensor:
    """Return how many windows cover each pixel, (height, width) float32."""
    rows, columns = torch.zeros(plan.height), torch.zeros(plan.width)
    for top in plan.tops:
        rows[top:top + plan.crop_height] += 1
    for left in plan.lefts:
        columns[left:left + plan.crop_width] += 1
    return (rows[:, None] * columns).to(device)
