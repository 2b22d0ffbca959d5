"""
The parts of frames that are compared with words, whatever they are.

Most towers give features of patches, of windows or of whole frames. Others give features of
segments, which may have any shape. What comes of the comparison is laid back over the frame by
those who know where the parts lie.
"""

from collections.abc import Sequence
from typing import Protocol

from csa_ros.decoding.layout import Layout
from csa_ros.labels.decide import Decision
from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.refine import MixedLogits
from csa_ros.settings import ResolvedSettings
from torch import Tensor


class Parts(Protocol):
    """The parts of frames of one size."""

    @property
    def features(self) -> Tensor:
        """Return what is compared with words, (..., D) float32 of length 1."""

    @property
    def patches(self) -> Tensor:
        """Return what each patch shows, (windows, rows, columns, D) float32 of length 1."""

    def decide(self, cosines: Tensor, query_class: Tensor, pixels: Tensor | None,
               tolerance: float) -> Decision:
        """
        Return labels and confidences of the frames, (B, H, W).

        `cosines` (..., Q) are those of `features` and queries, and `query_class` (Q,) their
        classes. `pixels` (B, 3, h, w) are what the settings' `refine` goes by; ValueError if they
        are missing. By no more than the `tolerance` may cosines be off afterwards.
        """

    def spread(self, values: Tensor) -> Sequence[FrameLogits | MixedLogits]:
        """Return values (..., P) of `features` at every pixel of each frame, (P, H, W)."""

    def segments(self) -> Tensor | None:
        """Return which segment each pixel is of, (B, H, W) uint8; None where there are none."""


class Decoder(Protocol):
    """Knows where the parts of frames lie; `segments` is their number in a window, 0: patches."""

    segments: int

    @property
    def whole(self) -> bool:
        """Whether the patches of a frame are compared with words, not those of its windows."""

    def parts(self, kept: Tensor, layout: Layout, settings: ResolvedSettings) -> Parts:
        """Return the parts of frames, of what the encoder has kept of all their windows."""

    def constants(self, layout: Layout, settings: ResolvedSettings) -> tuple:
        """Return the tensors of a layout that are computed once and kept in caches."""
