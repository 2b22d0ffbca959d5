"""The patches of windows, or of whole frames, compared with words and merged to labels."""

from collections.abc import Sequence
from dataclasses import dataclass
import math

from csa_ros.decoding.layout import Layout
from csa_ros.labels.decide import decide
from csa_ros.labels.decide import Decision
from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.merge import merge_map
from csa_ros.labels.merge import MergeMap
from csa_ros.labels.refine import MixedLogits
from csa_ros.labels.refine import neighbours
from csa_ros.labels.refine import Passes
from csa_ros.labels.refine import passes_of
from csa_ros.labels.refine import refine
from csa_ros.labels.windows import plan_whole
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.int8 import Int8Encoder
from csa_ros.settings import ResolvedSettings
import torch
from torch import Tensor


class PatchDecoder:
    """
    Decodes what an encoder keeps of patches, as `csa_ros.decoding.decoder.Decoder`.

    `patch_size` is the side of a patch in pixels.
    """

    segments = 0

    def __init__(self, encoder: DenseEncoder | Int8Encoder, patch_size: int, device: torch.device
                 ) -> None:
        self.joining = encoder.joining
        self._encoder = encoder
        self._patch_size = patch_size
        self._device = device

    @property
    def whole(self) -> bool:
        """Whether the patches of a frame are compared with words, not those of its windows."""
        return self.joining.whole

    def parts(self, kept: Tensor, layout: Layout, settings: ResolvedSettings) -> 'Patches':
        """Return the patches of frames; `kept` (B * windows, gh, gw, ...) are of the encoder."""
        return Patches(self.joining.join(kept, layout.plan), self, layout, settings)

    def maps(self, grid: Sequence[int], layout: Layout, settings: ResolvedSettings
             ) -> tuple[MergeMap, MergeMap | None]:
        """Return the map from patches to where they are refined, and from there to labels."""
        frame_size, output_size = layout.frame_size, layout.output_size
        if settings.refine != 'pamr' or frame_size == output_size:
            return self.merge(grid, layout, settings), None
        seen = Layout(frame_size, frame_size, layout.plan)
        return (self.merge(grid, seen, settings),
                merge_map(plan_whole(*frame_size), frame_size, output_size, self._device))

    def merge(self, grid: Sequence[int], layout: Layout, settings: ResolvedSettings) -> MergeMap:
        """Return the map from patches to labels."""
        # One window needs no merging: the authors' code interpolates its patches straight to the
        # output size.
        one = self.whole or settings.inference == 'whole'
        plan = plan_whole(*layout.output_size) if one else layout.plan
        rows, columns = grid
        return merge_map(plan, (rows, columns), layout.output_size, self._device)

    def passes(self, settings: ResolvedSettings) -> Passes:
        """Return what refines the labels."""
        return passes_of(settings.refine, self._patch_size)

    def constants(self, layout: Layout, settings: ResolvedSettings) -> tuple:
        """Return the tensors of a layout that are computed once and kept in caches."""
        plan = layout.plan
        grid = self._encoder.grid(plan.crop_height, plan.crop_width)
        maps = self.maps(self._encoder.grid(*layout.frame_size) if self.whole else grid, layout,
                         settings)
        size = len(maps[0].vertical), len(maps[0].horizontal)
        around = [neighbours(size, dilations, self._device)
                  for dilations, _ in self.passes(settings)]
        found = self.merge(maps[0].grid, layout, settings)
        return self._encoder.positions(*grid), self.joining.maps(plan), maps, around, found


@dataclass(frozen=True, eq=False)
class Patches:
    """
    The patches of frames, as `csa_ros.decoding.decoder.Parts`.

    `features` (B * windows, gh, gw, D) are those of windows, or (B, gh, gw, D) of frames.
    """

    features: Tensor
    decoder: PatchDecoder
    layout: Layout
    settings: ResolvedSettings

    @property
    def patches(self) -> Tensor:
        """Return the same."""
        return self.features

    def decide(self, cosines: Tensor, query_class: Tensor, pixels: Tensor | None,
               tolerance: float) -> Decision:
        """Return labels and confidences of the frames; see `csa_ros.decoding.decoder.Parts`."""
        settings, joining = self.settings, self.decoder.joining
        merge, enlarge = self.decoder.maps(cosines.shape[1:3], self.layout, settings)
        scores = joining.scores(cosines, settings.logit_scale)
        logit_scale = None if joining.whole else settings.logit_scale
        frames = []
        for index, windows in enumerate(scores.split(math.prod(merge.tiles))):
            logits: Tensor | FrameLogits | MixedLogits
            if settings.refine == 'off':
                logits = merge(windows)
            else:
                logits = refine(windows, image_of(pixels, index, settings), merge, enlarge,
                                self.decoder.passes(settings),
                                0.0 if joining.whole else tolerance)
            frames.append(decide(logits, query_class, logit_scale, settings.unknown_threshold,
                                 settings.min_area, settings.denoise))
        return stacked(frames)

    def spread(self, values: Tensor) -> list[FrameLogits]:
        """Return values (..., P) of patches at every pixel of each frame, (P, H, W)."""
        merge = self.decoder.merge(values.shape[1:3], self.layout, self.settings)
        return [merge(windows) for windows in values.split(math.prod(merge.tiles))]

    def segments(self) -> None:
        """Return nothing: there are none."""


def image_of(pixels: Tensor | None, index: int, settings: ResolvedSettings) -> Tensor:
    """Return the pixels of a frame that refining goes by; ValueError if they are missing."""
    if pixels is None:
        raise ValueError(f'refine is {settings.refine!r}, which goes by the pixels of the frames: '
                         'give pixels')
    return pixels[index]


def stacked(frames: Sequence[Decision]) -> Decision:
    """Return the decisions of frames as one."""
    return Decision(torch.stack([frame.labels for frame in frames]),
                    torch.stack([frame.confidence for frame in frames]))
