"""Images and a vocabulary to labels: the one way into the ROS-free core."""

from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from csa_ros.labels.decide import decide
from csa_ros.labels.merge import merge_map
from csa_ros.labels.windows import cut
from csa_ros.labels.windows import plan_whole
from csa_ros.labels.windows import plan_windows
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import DEFAULT_MODEL
from csa_ros.model.backbone import load_backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.text import templates
from csa_ros.model.text import TextEncoder
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
import torch
from torch import Tensor

INFERENCE = ('slide', 'whole')
# The authors' limit for panoramas: the long side is never resized beyond this.
LONG_SIDE = 2048
# Bounds the memory of the encoder; a 640 x 480 frame has 6 windows at the default settings.
WINDOWS_PER_BATCH = 32


@dataclass(frozen=True)
class Settings:
    """
    How a frame is segmented; None means the model's own value.

    `inference` is `slide` (square windows of side `crop` every `stride` pixels) or `whole` (one
    pass over the frame). The frame is first resized to `short_side` pixels. `logit_scale` is the
    sharpness of the softmax over all queries; pixels whose class is less probable than
    `unknown_threshold` become unknown; with class 0 as the background, a class that wins at most
    the share `min_area` of the foreground loses its pixels to what is left. The last three are
    SCLIP's `logit_scale`, `prob_thd` and `area_thd`.

    Raises ValueError for values out of range; `Segmenter.resolve` checks against the model.
    """

    inference: str = 'slide'
    short_side: int | None = None
    crop: int | None = None
    stride: int | None = None
    logit_scale: float = 40.0
    unknown_threshold: float = 0.0
    min_area: float = 0.0

    def __post_init__(self) -> None:
        if self.inference not in INFERENCE:
            raise ValueError(f"inference is {self.inference!r}: use 'slide' or 'whole'")
        for name in ('short_side', 'crop', 'stride'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} is {value} pixels: it must be at least 1')
        if not 0 < self.logit_scale < float('inf'):
            raise ValueError(f'logit_scale is {self.logit_scale}: it must be above 0 and finite')
        for name in ('unknown_threshold', 'min_area'):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f'{name} is {value}: it must be from 0 to 1')


@dataclass(frozen=True)
class Words:
    """
    A vocabulary ready for use.

    `features` (Q, D) float32 of length 1 and `query_class` (Q,) int64 are on the segmenter's
    device, one row a query; `prompts` are the templates that they were made with.
    """

    vocabulary: Vocabulary
    features: Tensor
    query_class: Tensor
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """
    One segmented frame, both arrays (H, W) uint8 of the input's size.

    `labels` are class ids in the order of the vocabulary, 255 where unknown; `confidence` is the
    probability of the winning class times 255.
    """

    labels: np.ndarray
    confidence: np.ndarray


class Segmenter:
    """
    Segments RGB images by words.

    `load` is the usual way to make one. `encode` and `segment` may run in different threads.
    """

    def __init__(self, backbone: Backbone, attention: str = 'csa',
                 settings: Settings = Settings(), cache_dir: Path | None = None) -> None:
        self.backbone = backbone
        self._encoder = DenseEncoder(backbone, attention)
        self._text = TextEncoder(backbone, cache_dir)
        self._mean = torch.tensor(backbone.mean, device=backbone.device).view(3, 1, 1)
        self._std = torch.tensor(backbone.std, device=backbone.device).view(3, 1, 1)
        self.settings = self.resolve(settings)

    @classmethod
    def load(cls, model: str = DEFAULT_MODEL, device: str = 'auto', precision: str = 'auto',
             attention: str = 'csa', settings: Settings = Settings(),
             cache_dir: Path | None = None) -> 'Segmenter':
        """
        Load a model and wrap it.

        `model`, `device` and `precision` as for `csa_ros.model.backbone.load_backbone`,
        `attention` a key of `csa_ros.model.attention.ATTENTION`; `settings` are used when
        `segment` is given none; `cache_dir` holds text features (None: the user's cache). Raises
        `csa_ros.model.backbone.ModelError`, and ValueError for settings that do not fit the model.
        """
        return cls(load_backbone(model, device, precision), attention, settings, cache_dir)

    @property
    def name(self) -> str:
        """Name of the model, as it was asked for."""
        return self.backbone.name

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.backbone.device

    def resolve(self, settings: Settings) -> Settings:
        """
        Return settings with the model's values filled in.

        By default `crop` is the model's native image size, `stride` the same share of `crop` as
        for the native size, and `short_side` the backbone's: 224, 112 and 336 for ViT-B/16, as in
        SCLIP.
        Raises ValueError if `crop` is not a multiple of the patch size, `stride` is larger than
        `crop` or `short_side` is less than a patch.
        """
        native, patch = self.backbone.image_size, self.backbone.patch_size
        crop = settings.crop or native
        stride = settings.stride or max(crop * self.backbone.stride // native, 1)
        short_side = settings.short_side or self.backbone.short_side
        if crop % patch:
            raise ValueError(f'crop is {crop} pixels: {self.name} needs a multiple of its patch '
                             f'size, {patch}, such as {max(round(crop / patch), 1) * patch}')
        if stride > crop:
            raise ValueError(f'stride is {stride} pixels and crop {crop}: windows would leave '
                             'gaps, make stride at most crop')
        if short_side < patch:
            raise ValueError(f'short_side is {short_side} pixels: it must be at least one patch '
                             f'of {self.name}, {patch}')
        return replace(settings, crop=crop, stride=stride, short_side=short_side)

    def check(self, vocabulary: Vocabulary, prompts: str | tuple[str, ...] = 'imagenet80') -> None:
        """Raise `csa_ros.model.text.PromptError` if `encode` would."""
        self._text.check(vocabulary.queries, prompts)

    def encode(self, vocabulary: Vocabulary, prompts: str | tuple[str, ...] = 'imagenet80'
               ) -> Words:
        """
        Return a vocabulary with its text features; what was encoded before is not encoded again.

        `prompts` as for `csa_ros.model.text.templates`. Raises
        `csa_ros.model.text.PromptError`.
        """
        features = self._text.encode(vocabulary.queries, prompts)
        query_class = torch.tensor(vocabulary.query_class, device=self.device)
        return Words(vocabulary, features, query_class, templates(prompts))

    def segment(self, rgb: np.ndarray, words: Words | Vocabulary,
                settings: Settings | None = None) -> Result:
        """
        Label every pixel of an image.

        `rgb` is (H, W, 3) uint8 of any size; `words` come from `encode`, or are a vocabulary,
        which is then encoded with the default prompts. Raises ValueError for another kind of
        array, or settings that do not fit the model.
        """
        _check_image(rgb)
        settings = self.settings if settings is None else self.resolve(settings)
        if isinstance(words, Vocabulary):
            words = self.encode(words)
        logits = self.logits(self._pixels(rgb, settings), words.features, rgb.shape[:2], settings)
        decision = decide(logits, words.query_class, len(words.vocabulary), settings.logit_scale,
                          settings.unknown_threshold, settings.min_area)
        return Result(decision.labels.cpu().numpy(), decision.confidence.cpu().numpy())

    @torch.inference_mode()
    def logits(self, pixels: Tensor, features: Tensor, output_size: tuple[int, int],
               settings: Settings) -> Tensor:
        """
        Return the cosine of every pixel with every query.

        `pixels` (1, 3, h, w) float32, normalised; `features` (Q, D); `settings` resolved. Returns
        (Q, H, W) float32 for `output_size` (H, W).
        """
        if settings.inference == 'whole':
            # One window needs no merging: the authors' code interpolates its patches straight to
            # the output size.
            plan = plan_whole(*output_size)
            windows = pixels
        else:
            plan = plan_windows(*pixels.shape[-2:], settings.crop, settings.stride)
            windows = cut(pixels, plan)
        window_logits = torch.cat([self._encoder(batch) @ features.T
                                   for batch in windows.split(WINDOWS_PER_BATCH)])
        grid = tuple(window_logits.shape[1:3])
        return merge_map(plan, grid, tuple(output_size), self.device)(window_logits)

    def _pixels(self, rgb: np.ndarray, settings: Settings) -> Tensor:
        height, width = self._working_size(*rgb.shape[:2], settings)
        # OpenCV on uint8, as in the authors' pipeline: results in floating point differ.
        resized = cv2.resize(
            np.ascontiguousarray(rgb), (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(resized).to(self.device).permute(2, 0, 1).float() / 255
        return ((pixels - self._mean) / self._std)[None]

    def _working_size(self, height: int, width: int, settings: Settings) -> tuple[int, int]:
        scale = min(settings.short_side / min(height, width), LONG_SIDE / max(height, width))
        patch = self.backbone.patch_size

        def fit(side: int) -> int:
            side = int(side * scale + 0.5)
            if settings.inference == 'slide' and side >= settings.crop:
                return side
            # The tower drops what does not fill a patch, which would shift the labels of a window
            # that is as large as the frame.
            return max(round(side / patch), 1) * patch

        return fit(height), fit(width)


def _check_image(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ValueError(f'image is {type(rgb).__name__}: it must be a NumPy array')
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f'image has shape {rgb.shape} and type {rgb.dtype}: it must be '
                         '(height, width, 3) and uint8')
    if not rgb.size:
        raise ValueError(f'image has shape {rgb.shape}: it is empty')
