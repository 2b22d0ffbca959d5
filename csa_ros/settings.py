"""How frames are segmented: what may change from one to the next."""

from dataclasses import dataclass
from dataclasses import field

INFERENCE = ('slide', 'whole')
REFINE = ('off', 'pamr', 'pamr-output')


@dataclass(frozen=True)
class Settings:
    """
    How a frame is segmented; None means the model's own value.

    `inference` is `slide` (square windows of side `crop` every `stride` pixels) or `whole` (one
    pass over the frame). The frame is first resized to `short_side` pixels. `logit_scale` is the
    sharpness of the softmax over all queries; pixels whose class is less probable than
    `unknown_threshold` become unknown; with class 0 as the background, a class that wins at most
    the share `min_area` of the foreground loses its pixels to what is left. These three are
    SCLIP's `logit_scale`, `prob_thd` and `area_thd`. A class that is nowhere in the frame as
    probable as `denoise` loses all its pixels likewise, which RADSeg calls prompt denoising; 0
    switches that off. With a memory of the camera's last frames, a window whose patches have
    changed by at most `reuse_threshold` grey levels is not encoded again (0: all are), save after
    `reuse_frames` frames; see `csa_ros.model.reuse`.

    `refine` makes labels follow the edges of the image, see `csa_ros.labels.refine`: `pamr` does
    so at the size that the frame is resized to; `pamr-output` at the size of the labels, as in the
    published results, which takes longer by as much as the labels are larger; `off` does not.

    Raises ValueError for values out of range; `csa_ros.segmenter.Segmenter.resolve` checks against
    the model.
    """

    inference: str = 'slide'
    short_side: int | None = None
    crop: int | None = None
    stride: int | None = None
    logit_scale: float | None = None
    denoise: float | None = None
    unknown_threshold: float = 0.0
    min_area: float = 0.0
    refine: str = 'off'
    reuse_threshold: float = 0.0
    reuse_frames: int = 30

    def __post_init__(self) -> None:
        if self.inference not in INFERENCE:
            raise ValueError(f"inference is {self.inference!r}: use 'slide' or 'whole'")
        if self.refine not in REFINE:
            raise ValueError(f"refine is {self.refine!r}: use {', '.join(map(repr, REFINE))}")
        for name in ('short_side', 'crop', 'stride'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} is {value} pixels: it must be at least 1')
        if self.logit_scale is not None and not 0 < self.logit_scale < float('inf'):
            raise ValueError(f'logit_scale is {self.logit_scale}: it must be above 0 and finite')
        for name in ('denoise', 'unknown_threshold', 'min_area'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name} is {value}: it must be from 0 to 1')
        if not 0 <= self.reuse_threshold <= 255:
            raise ValueError(f'reuse_threshold is {self.reuse_threshold} grey levels: it must be '
                             'from 0 to 255')
        if self.reuse_frames < 1:
            raise ValueError(f'reuse_frames is {self.reuse_frames}: it must be at least 1')


@dataclass(frozen=True)
class ResolvedSettings(Settings):
    """Settings of which the model's own values are known, as from `Segmenter.resolve`."""

    short_side: int = field(kw_only=True)
    crop: int = field(kw_only=True)
    stride: int = field(kw_only=True)
    logit_scale: float = field(kw_only=True)
    denoise: float = field(kw_only=True)
