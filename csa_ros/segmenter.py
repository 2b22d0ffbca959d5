"""Images and a vocabulary to labels: the one way into the ROS-free core."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import cached_property
from functools import lru_cache
import json
from pathlib import Path
from typing import TypeAlias

from csa_ros import cost
from csa_ros import draw
from csa_ros.choices import AUTO
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.choices import FIND_THRESHOLD
from csa_ros.choices import MAX_PHRASES
from csa_ros.decoding.decoder import Parts
from csa_ros.decoding.layout import lay_out
from csa_ros.decoding.layout import Layout
from csa_ros.decoding.layout import plan_of
from csa_ros.decoding.making import make_decoder
from csa_ros.finding.regions import found_regions
from csa_ros.finding.regions import Region as FoundRegion
from csa_ros.finding.relevancy import CANONICAL
from csa_ros.finding.relevancy import levels
from csa_ros.finding.relevancy import own_queries
from csa_ros.finding.relevancy import relevancy
from csa_ros.finding.relevancy import SHARPNESS
from csa_ros.finding.relevancy import Sought
from csa_ros.gpu import GraphRunner
from csa_ros.labels.decide import Decision
from csa_ros.labels.merge import FrameLogits
from csa_ros.labels.refine import MixedLogits
from csa_ros.labels.windows import cut
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.pixels import Normalization
from csa_ros.model.pixels import resize
from csa_ros.model.pixels import resize_on_device
from csa_ros.model.pixels import taps
from csa_ros.model.reuse import WindowMemory
from csa_ros.model.text import templates
from csa_ros.model.text import TextEncoder
from csa_ros.process import cancellation
from csa_ros.settings import ResolvedSettings
from csa_ros.settings import Settings
from csa_ros.teaching.cache import Cache
from csa_ros.teaching.cache import make
from csa_ros.teaching.choice import choose
from csa_ros.teaching.choice import Taught
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.looking import Sight
from csa_ros.teaching.region import mask_of
from csa_ros.teaching.region import Region
from csa_ros.teaching.tuning import learn
from csa_ros.vocabulary import UNKNOWN
from csa_ros.vocabulary import Vocabulary
import numpy as np
import torch
from torch import Tensor

# Bounds the memory of the encoder; four cameras of 1280 x 720 have 40 windows by default.
WINDOWS_PER_BATCH = 64
# Of padding, which must never win: far below any cosine, and finite, as it is merged with them.
_NEVER = -1e4
# What refining fewer planes than queries may change a query's share of the softmax by, in e-folds.
_REFINE_TOLERANCE = 0.04


@dataclass(frozen=True)
class Words:
    """
    A vocabulary ready for use.

    `features` (Q, D) float32 of length 1 and `query_class` (Q,) int64 are on the segmenter's
    device, one row a query; `prompts` are the templates that they were made with. `cache` is what
    examples add, and `taught` says of each class that was shown, by its name, what they are worth.
    """

    vocabulary: Vocabulary
    features: Tensor
    query_class: Tensor
    prompts: tuple[str, ...]
    cache: Cache | None = None
    taught: Mapping[str, Taught] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """
    One segmented frame, arrays of the input's height and width.

    `labels` (H, W) uint8 are class ids in the order of the vocabulary, 255 where unknown;
    `confidence` (H, W) uint8 is the probability of the winning class times 255; `overlay`
    (H, W, 3) uint8 is the frame under the class colours, `relevancy` (P, H, W) uint8 that of each
    phrase times 255, and `segments` (H, W) uint8 says which segment of the model's a pixel is of,
    see `csa_ros.decoding.segments`; all three are None unless asked for.
    """

    labels: np.ndarray
    confidence: np.ndarray
    overlay: np.ndarray | None = None
    relevancy: np.ndarray | None = None
    segments: np.ndarray | None = None


# What words are given as: ready for use, parsed, or as `Vocabulary.parse` takes them.
WordsLike: TypeAlias = Words | Vocabulary | str | Sequence[str]


class Pending:
    """Frames that have been submitted; a GPU may still be at work on them."""

    def __init__(self, wait: Callable[[], list[Result]]) -> None:
        self._wait = wait

    def result(self) -> list[Result]:
        """Wait for the frames and return them, in the order in which they were submitted."""
        return self._wait()


class Segmenter:
    """
    Segments RGB images by words.

    `load` is the usual way to make one. `encode` may run in another thread than what segments.
    On a GPU the work on frames of one size is captured, which takes as long as several frames;
    with `capture=False` it is not, for pictures that are each of another size.
    """

    def __init__(self, backbone: Backbone, attention: str = AUTO,
                 settings: Settings = Settings(), cache_dir: Path | None = None,
                 residual: str = 'auto', capture: bool = True) -> None:
        self.backbone = backbone
        self.encoder, self._decoder = make_decoder(backbone, attention, residual, cache_dir)
        self._text = TextEncoder(backbone, cache_dir)
        # Whoever gives the same words with every frame has them encoded once.
        self._encoded = lru_cache(maxsize=8)(lambda vocabulary: self.encode(vocabulary))
        self._parsed = lru_cache(maxsize=8)(Vocabulary.parse)
        # Cameras come in few sizes.
        self._affordable = lru_cache(maxsize=64)(self._check_cost)
        self._normalize = Normalization(backbone.mean, backbone.std, backbone.device)
        self._graphs: GraphRunner | None = None
        if backbone.device.type == 'cuda' and capture:
            self._graphs = GraphRunner(self.compute, self._constants, backbone.device)
        self.settings = self.resolve(settings)

    @classmethod
    def load(cls, model: str = DEFAULT_MODEL, device: str = 'auto', precision: str = 'auto',
             attention: str = AUTO, settings: Settings = Settings(),
             cache_dir: Path | None = None, residual: str = 'auto', measure: bool = False
             ) -> 'Segmenter':
        """
        Load a model and wrap it.

        `model`, `device`, `precision` and `measure` as for `csa_ros.model.backbone.load_backbone`,
        `attention` and `residual` as for `csa_ros.model.attention.methods.choose`; `settings` are
        used when `segment` is given none; `cache_dir` holds text features and, for `int8`, the
        exported tower (None: the user's cache). Raises `csa_ros.model.errors.ModelError`, and
        ValueError for settings that do not fit the model.
        """
        backbone = load_backbone(model, device, precision, measure)
        return cls(backbone, attention, settings, cache_dir, residual)

    @property
    def name(self) -> str:
        """Name of the model, as it was asked for."""
        return self.backbone.name

    @property
    def attention(self) -> str:
        """Attention of the model in words, and whether it differs from the method's own."""
        return self.encoder.description

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.backbone.device

    @property
    def segments(self) -> int:
        """Into how many segments the model gathers a window; 0 for a model of patches."""
        return self._decoder.segments

    def resolve(self, settings: Settings) -> ResolvedSettings:
        """
        Return settings with the model's values filled in.

        By default `crop` is the model's native image size, `stride` the same share of `crop` as
        for the native size, and `short_side` the backbone's: 224, 112 and 336 for ViT-B/16, as in
        SCLIP. `logit_scale` is the backbone's too, and `denoise` the attention's.
        Raises ValueError if `crop` is not a multiple of the patch size, `stride` is larger than
        `crop` or `short_side` is less than a patch, and ModelError if windows of a frame as high
        as wide are too small for the attention.
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
        if self._decoder.whole and settings.inference == 'slide' and stride % patch:
            raise ValueError(f'stride is {stride} pixels: with attention '
                             f'{self.encoder.attention!r} windows are averaged patch by patch, '
                             f'make it a multiple of the patch size, {patch}, such as '
                             f'{max(round(stride / patch), 1) * patch}')
        if short_side < patch:
            raise ValueError(f'short_side is {short_side} pixels: it must be at least one patch '
                             f'of {self.name}, {patch}')
        logit_scale = (self.backbone.logit_scale if settings.logit_scale is None
                       else settings.logit_scale)
        denoise = self.encoder.denoise if settings.denoise is None else settings.denoise
        resolved = ResolvedSettings(
            **{**vars(settings), 'crop': crop, 'stride': stride, 'short_side': short_side,
               'logit_scale': logit_scale, 'denoise': denoise})
        plan = self._layout((short_side, short_side), resolved).plan
        self.encoder.check(plan.crop_height, plan.crop_width)
        return resolved

    def check_frame(self, size: Sequence[int], settings: Settings, queries: int,
                    frames: int = 1) -> None:
        """
        Raise `csa_ros.cost.CostError` if a frame of a size (H, W) would cost too much.

        `queries` is the number of the vocabulary's, and `frames` of those in a batch.
        """
        height, width = size
        self._affordable((height, width), self.resolve(settings), queries, frames)

    def check(self, vocabulary: Vocabulary | str | Sequence[str],
              prompts: str | tuple[str, ...] = 'imagenet80', phrases: Sequence[str] = ()
              ) -> None:
        """Raise what `encode` would, and `seek` for `phrases`."""
        self._text.check((*self._vocabulary(vocabulary).queries, *phrases), prompts)

    def encode(self, vocabulary: Vocabulary | str | Sequence[str],
               prompts: str | tuple[str, ...] = 'imagenet80', examples: Examples = Examples()
               ) -> Words:
        """
        Return a vocabulary with its text features; what was encoded before is not encoded again.

        `vocabulary` may be what `Vocabulary.parse` takes, `prompts` is as for
        `csa_ros.model.text.templates`. Of `examples`, those of its names are used; they must be
        what `look` of this model has seen, see `fingerprint`. Raises
        `csa_ros.model.text.PromptError`, `csa_ros.vocabulary.VocabularyError`, and ValueError for
        what is no vocabulary.
        """
        vocabulary = self._vocabulary(vocabulary)
        features = self._text.encode(vocabulary.queries, prompts)
        query_class = torch.tensor(vocabulary.query_class, device=self.device)
        self._await_text()
        words = Words(vocabulary, features, query_class, templates(prompts))
        return self._taught(words, examples) if examples else words

    def look(self, rgb: np.ndarray, region: Region = None, settings: Settings | None = None,
             camera: str = '', stamp: int = 0) -> Look:
        """
        Return a region of a picture as this model sees it, for `Examples.add`.

        `rgb` is (H, W, 3) uint8, `region` a box (x, y, width, height), a polygon or a mask, see
        `csa_ros.teaching.region`; None is all of the picture. Of a box, what looks like its
        surroundings is left out. `camera` and `stamp`, nanoseconds, are kept for people to know.
        Raises `csa_ros.teaching.errors.TeachingError` for a region that cannot be used, and what
        `segment` raises.
        """
        _check_image(rgb)
        # What is no region is told before the tower is at work.
        mask_of(region, rgb.shape[:2])
        return self.see(rgb, settings).look(region, camera, stamp)

    def see(self, rgb: np.ndarray, settings: Settings | None = None) -> Sight:
        """
        Return a picture, (H, W, 3) uint8, as this model sees it, to look at several regions of it.

        Raises what `segment` raises.
        """
        _check_image(rgb)
        settings = self.settings if settings is None else self.resolve(settings)
        self._affordable(rgb.shape[:2], settings, 1, 1)
        pixels = self.pixels([rgb], settings)
        parts = self._parts(self.features(pixels, settings), rgb.shape[:2], settings)
        return Sight(rgb, parts.patches, plan_of(pixels.shape[-2:], settings),
                     self._decoder.whole, self.fingerprint(settings), self.name)

    def fingerprint(self, settings: Settings | None = None) -> str:
        """
        Return what tells apart what this model sees, with these settings, from all others.

        It is JSON, see `csa_ros.teaching.fingerprint`. Whether weights are in fp32, bf16 or fp16
        makes no difference that matters to examples.
        """
        settings = self.settings if settings is None else self.resolve(settings)
        windows = {name: getattr(settings, name) for name in (
            'inference', 'short_side', 'crop', 'stride')}
        return json.dumps({
            'weights': self.backbone.weights or self.backbone.identity,
            'int8': self.backbone.quantized, 'attention': self.encoder.attention,
            'residual': self.encoder.residual, **windows})

    def tune(self, words: Words, examples: Examples, seed: int = 0) -> Words:
        """
        Return words that have learned from examples (APE-T), in some seconds.

        `words` come from `encode`, with these `examples` or others. Features and keys of the
        result are no longer of length 1. Raises TeachingError if none of the names was shown.
        """
        taught = self._taught(words, examples)
        if taught.cache is None:
            raise TeachingError('nothing was shown of any word in the vocabulary, '
                                f'{", ".join(words.vocabulary.names)}: teach one of them first')
        chosen, key_class = examples.of(words.vocabulary.names)
        features, cache = learn(words.features, words.query_class, chosen, key_class,
                                taught.taught.values(), self.backbone.logit_scale, seed)
        return replace(taught, features=features, cache=cache)

    @torch.inference_mode()
    def _taught(self, words: Words, examples: Examples) -> Words:
        """Return words with the examples of their names."""
        chosen, key_class = examples.of(words.vocabulary.names)
        if not chosen:
            return words
        text, query_class = words.features, words.query_class
        taught = choose(text, query_class, chosen, key_class)
        keys = torch.stack([example.look.key for example in chosen]).to(self.device)
        cache = make(text, query_class, keys, key_class.to(self.device),
                     {c: each.strength for c, each in taught.items()})
        if self.device.type == 'cuda':
            torch.cuda.current_stream(self.device).synchronize()
        return replace(words, cache=cache, taught={
            words.vocabulary.names[c]: each for c, each in taught.items()})

    def seek(self, phrases: str | Sequence[str], words: Words | None = None,
             prompts: str | tuple[str, ...] = 'imagenet80') -> Sought:
        """
        Return phrases ready to be looked for beside words, in frames that are given both.

        `phrases` are one to `csa_ros.choices.MAX_PHRASES`; those of `words` that say something
        else are compared with them, see `csa_ros.finding.relevancy`. What was encoded before is
        not encoded again. Raises `csa_ros.model.text.PromptError`, and ValueError for another
        number of phrases.
        """
        phrases = (phrases,) if isinstance(phrases, str) else tuple(phrases)
        if not 1 <= len(phrases) <= MAX_PHRASES:
            raise ValueError(f'{len(phrases)} phrases: give one to {MAX_PHRASES}')
        features = self._text.encode((*phrases, *CANONICAL), prompts)
        own = own_queries(phrases, words.vocabulary if words else None)
        own = None if own is None else own.to(self.device)
        self._await_text()
        return Sought(phrases, features[:len(phrases)], features[len(phrases):], own)

    def find(self, rgb: np.ndarray, phrases: str | Sequence[str] | Sought,
             words: WordsLike | None = None, threshold: float = FIND_THRESHOLD,
             settings: Settings | None = None) -> list[FoundRegion]:
        """
        Return where phrases are found in an image, those of each from the highest score down.

        `rgb` is (H, W, 3) uint8; `phrases` are as for `seek`, or what it returns for `words`, and
        `words` as for `segment`: without them phrases are compared with the canonical ones alone.
        Regions are where the relevancy is at least `threshold`, 0 to 1. Raises what `seek` and
        `segment` do. Where labels are wanted too, give `segment` what `seek` returns.
        """
        _check_image(rgb)
        settings = self.settings if settings is None else self.resolve(settings)
        ready = None if words is None else self._ready(words)
        sought = phrases if isinstance(phrases, Sought) else self.seek(phrases, ready)
        queries = 0 if ready is None else len(ready.query_class)
        self._affordable(rgb.shape[:2], settings, queries + len(sought.phrases), 1)
        features = self.features(self.pixels([rgb], settings), settings)
        planes, = self.relevancy(features, ready, sought, rgb.shape[:2], settings)
        return found_regions(sought.phrases, levels(planes).cpu().numpy(), threshold)

    def segment(self, rgb: np.ndarray, words: WordsLike,
                settings: Settings | None = None, overlay_alpha: float | None = None,
                memory: WindowMemory | None = None, sought: Sought | None = None,
                segments: bool = False) -> Result:
        """
        Label every pixel of an image.

        `rgb` is (H, W, 3) uint8 of any size; `words` come from `encode`, or are a vocabulary or
        what `Vocabulary.parse` takes, which is then encoded with the default prompts, once.
        `overlay_alpha`, 0 to 1, asks for the overlay, with class colours of that opacity. `memory`
        is that of the camera, for settings with a `reuse_threshold`. `sought` asks for the
        relevancy of phrases, and comes from `seek` with the same vocabulary; `segments` asks for
        the segments of a model that has any. Raises ValueError for another kind of array or of
        words, or what does not fit the model, as `csa_ros.cost.CostError` if settings make too
        much of a frame of that size.

        Between windows and blocks it asks whether to go on: see `csa_ros.process.cancellation`.
        """
        _check_image(rgb)
        self._check_segments(segments)
        settings = self.settings if settings is None else self.resolve(settings)
        if memory is not None and settings.reuse_threshold:
            words = self._ready(words)
            self._affordable(rgb.shape[:2], settings, _planes(words, sought), 1)
            pixels, features = self._remembered(rgb, settings, memory)
            return self._finish([rgb], pixels, features, words, settings, overlay_alpha, sought,
                                segments)[0]
        if memory is not None:
            # It does not see this frame, and could not tell the age of what it holds.
            memory.clear()
        return self.submit([rgb], words, settings, overlay_alpha, sought, segments).result()[0]

    def submit(self, images: Sequence[np.ndarray], words: WordsLike,
               settings: Settings | None = None, overlay_alpha: float | None = None,
               sought: Sought | None = None, segments: bool = False) -> Pending:
        """
        Begin to label images of one size, of several cameras for instance, as one batch.

        Arguments and errors are those of `segment`; the images may be overwritten as soon as this
        returns. On a GPU the next images can be submitted before the result of these is asked
        for: their copies and the host's work then go on beside the GPU's. On a CPU the work is
        done when this returns.
        """
        _check_images(images)
        self._check_segments(segments)
        settings = self.settings if settings is None else self.resolve(settings)
        words = self._ready(words)
        self._affordable(images[0].shape[:2], settings, _planes(words, sought), len(images))
        if self._graphs is None:
            pixels = self.pixels(images, settings)
            features = self.features(pixels, settings)
            results = self._finish(
                images, pixels, features, words, settings, overlay_alpha, sought, segments)
            return Pending(lambda: results)
        colors = None if overlay_alpha is None else words.vocabulary.colors
        arrays = self._graphs.submit(
            images, words.features, words.query_class, settings, colors, overlay_alpha,
            () if words.cache is None else words.cache.tensors,
            () if sought is None else sought.tensors, segments)
        return Pending(lambda: [Result(*frame) for frame in arrays.wait()])

    @torch.inference_mode()
    def pixels(self, images: Sequence[np.ndarray], settings: ResolvedSettings) -> Tensor:
        """
        Return what the tower sees of images of one size.

        `images` are (H, W, 3) uint8; `settings` resolved. Returns (B, 3, h, w) float32,
        normalised, on the device.
        """
        if self.device.type == 'cuda':
            # The resized image is smaller, but resizing takes a CPU longer than the upload.
            frames = torch.from_numpy(np.stack(images)).to(self.device)
            return self._resized_on_device(frames, settings)
        size = self._layout(images[0].shape[:2], settings).frame_size
        return self._normalize(
            torch.from_numpy(np.stack([resize(image, size) for image in images])))

    @torch.inference_mode()
    def features(self, pixels: Tensor, settings: ResolvedSettings) -> Tensor:
        """
        Run the tower over the windows of frames.

        `pixels` (B, 3, h, w) from `pixels`; `settings` resolved. Returns (B * windows, gh, gw, D)
        float32, what the encoder keeps of each patch, which is most often a feature of length 1:
        all windows of the first frame row by row, then those of the next.
        """
        plan = plan_of(pixels.shape[-2:], settings)
        return self._encode_windows(pixels, plan, range(len(pixels) * len(plan)))

    def logits(self, features: Tensor, text: Tensor, frame_size: Sequence[int],
               output_size: Sequence[int], settings: ResolvedSettings
               ) -> FrameLogits | MixedLogits:
        """
        Return the cosine of every pixel of one frame with every query, before any refinement.

        `features` (windows, gh, gw, D) as from `features`, for pixels of `frame_size` (h, w);
        `text` (Q, D); `settings` resolved. The result is (Q, H, W) for `output_size` (H, W), and
        is computed when it is indexed.
        """
        height, width = frame_size
        layout = replace(self._layout(output_size, settings), frame_size=(height, width),
                         plan=plan_of(frame_size, settings))
        parts = self._decoder.parts(features, layout, settings)
        frame, = parts.spread(parts.features @ text.T)
        return frame

    @torch.inference_mode()
    def relevancy(self, features: Tensor, words: Words | None, sought: Sought,
                  output_size: Sequence[int], settings: ResolvedSettings
                  ) -> Sequence[FrameLogits | MixedLogits]:
        """
        Return the relevancy of phrases at every pixel, of each frame.

        `features` (B * windows, gh, gw, D) as from `features`; `settings` resolved; `sought` from
        `seek` for these `words`. It is that of the patches, merged as logits are, and not refined:
        (P, H, W) float32 for `output_size` (H, W), computed when it is indexed.
        """
        parts = self._parts(features, output_size, settings)
        cosines = (parts.features.new_empty(*parts.features.shape[:-1], 0) if words is None
                   else _cosines(parts.features, words.features, words.cache))
        return _relevancy(parts, cosines, sought.tensors, settings)

    @torch.inference_mode()
    def decide(self, features: Tensor, words: WordsLike, output_size: Sequence[int],
               settings: ResolvedSettings, pixels: Tensor | None = None,
               sought: Sought | None = None, segments: bool = False) -> Decision:
        """
        Label frames by the features of their windows.

        `features` (B * windows, gh, gw, D) as from `features`; `settings` resolved; `pixels`
        (B, 3, h, w), as from `pixels`, are what `settings.refine` goes by; `sought` and `segments`
        as for `segment`. Returns labels and confidences (B, H, W) for `output_size` (H, W), the
        relevancy of phrases (B, P, H, W) and segments (B, H, W). Raises ValueError if pixels are
        missing.
        """
        # The host of a GPU need not wait for it here, but for how many planes would do.
        tolerance = _REFINE_TOLERANCE / settings.logit_scale if self.device.type == 'cpu' else 0.0
        words = self._ready(words)
        parts = self._parts(features, output_size, settings)
        cosines = _cosines(parts.features, words.features, words.cache)
        return _decide(parts, cosines, words.query_class, settings, pixels, tolerance,
                       () if sought is None else sought.tensors, segments)

    @torch.inference_mode()
    def compute(self, frames: Tensor, text: Tensor, query_class: Tensor,
                settings: ResolvedSettings, cache: Sequence[Tensor] = (),
                sought: Sequence[Tensor] = (), segments: bool = False) -> Decision:
        """
        Do all of the work where the frames are; nothing here waits for the device.

        `frames` (B, H, W, 3) uint8; `text` (Q, D) float32; `query_class` (Q,) int64, where a query
        of the class UNKNOWN is padding, which never wins and changes nothing; `settings`
        resolved; `cache` the tensors of a Cache, if there is one, and `sought` those of Sought.
        Returns labels and confidences (B, H, W), the relevancy of phrases (B, P, H, W) and, if
        asked for, `segments` (B, H, W).
        """
        pixels = self._resized_on_device(frames, settings)
        size = frames.shape[1:3]
        parts = self._parts(self.features(pixels, settings), size, settings)
        cosines = _cosines(parts.features, text, Cache(*cache) if cache else None)
        cosines = cosines.masked_fill(query_class == UNKNOWN, _NEVER)
        return _decide(parts, cosines, query_class, settings, pixels, 0.0, sought, segments)

    def _check_segments(self, asked: bool) -> None:
        if asked and not self.segments:
            raise ValueError(f'{self.name} has patches and no segments: ask for none, or take a '
                             'model that has, such as groupvit-gcc-yfcc')

    def _await_text(self) -> None:
        """Wait for what was encoded: frames run on a stream of their own, and would not."""
        if self.device.type == 'cuda':
            torch.cuda.current_stream(self.device).synchronize()

    def _ready(self, words: WordsLike) -> Words:
        return words if isinstance(words, Words) else self._encoded(self._vocabulary(words))

    def _vocabulary(self, words: Vocabulary | str | Sequence[str]) -> Vocabulary:
        if isinstance(words, Vocabulary):
            return words
        if isinstance(words, str):
            return self._parsed(words)
        if isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words):
            return self._parsed(tuple(words))
        raise ValueError(f'words are {words!r:.60}, of type {type(words).__name__}: give a list '
                         "of strings such as ['sky', 'road'], one string with commas between the "
                         'words, a Vocabulary, or what Segmenter.encode returns')

    def _remembered(self, rgb: np.ndarray, settings: ResolvedSettings, memory: WindowMemory
                    ) -> tuple[Tensor | None, Tensor]:
        """
        Return the pixels of a frame and the features of its windows.

        Windows are encoded that the memory lacks; the pixels are None where nothing needs them.
        """
        # On the host, whatever the device: which windows are encoded is decided there.
        frame = resize(rgb, self._layout(rgb.shape[:2], settings).frame_size)
        plan = plan_of(frame.shape[:2], settings)

        def pixels() -> Tensor:
            return self._normalize(torch.from_numpy(frame).to(self.device)[None])

        def encode(indices: list[int]) -> Tensor:
            return self._encode_windows(pixels(), plan, indices)

        with torch.inference_mode():
            features = memory.features(
                frame, plan, encode, settings.reuse_threshold, settings.reuse_frames,
                self.encoder.grid(plan.crop_height, plan.crop_width))
            return None if settings.refine == 'off' else pixels(), features

    def _finish(self, images: Sequence[np.ndarray], pixels: Tensor | None, features: Tensor,
                words: Words, settings: ResolvedSettings, overlay_alpha: float | None,
                sought: Sought | None, segments: bool) -> list[Result]:
        decision = self.decide(
            features, words, images[0].shape[:2], settings, pixels, sought, segments)
        labels, confidences = decision.labels.cpu().numpy(), decision.confidence.cpu().numpy()
        overlays = ([None] * len(labels) if overlay_alpha is None else
                    [draw.overlay(image, mask, words.vocabulary.colors, overlay_alpha)
                     for image, mask in zip(images, labels)])
        found, parts = ([None] * len(labels) if tensor is None else tensor.cpu().numpy()
                        for tensor in (decision.relevancy, decision.segments))
        return [Result(*frame) for frame in zip(labels, confidences, overlays, found, parts)]

    def _resized_on_device(self, frames: Tensor, settings: ResolvedSettings) -> Tensor:
        size = self._layout(frames.shape[1:3], settings).frame_size
        return self._normalize(resize_on_device(frames, size))

    def _encode_windows(self, pixels: Tensor, plan: WindowPlan, chosen: Sequence[int]) -> Tensor:
        """Return the features of chosen windows, of which only a batch is cut out at a time."""
        if len(chosen) <= WINDOWS_PER_BATCH:
            return self.encoder(cut(pixels, plan, chosen))
        features = None
        for start in range(0, len(chosen), WINDOWS_PER_BATCH):
            cancellation.check()
            batch = self.encoder(cut(pixels, plan, chosen[start:start + WINDOWS_PER_BATCH]))
            if features is None:
                features = batch.new_empty(len(chosen), *batch.shape[1:])
            features[start:start + len(batch)] = batch
        assert features is not None
        return features

    @cached_property
    def _cost(self) -> cost.Model:
        backbone = self.backbone
        return cost.Model(self.encoder.attention, backbone.tower.width, backbone.tower.heads,
                          backbone.embed_dim, WINDOWS_PER_BATCH,
                          cost.memory_of(backbone.device), str(backbone.device), self.segments)

    def _check_cost(self, size: tuple[int, int], settings: ResolvedSettings, queries: int,
                    frames: int) -> None:
        plan = self._layout(size, settings).plan
        grid = self.encoder.grid(plan.crop_height, plan.crop_width)
        cost.check(self._cost, plan, grid, size, settings, queries, frames)

    def _layout(self, size: Sequence[int], settings: ResolvedSettings) -> Layout:
        return lay_out(size, settings, self.backbone.patch_size, self._decoder.whole)

    def _parts(self, features: Tensor, output_size: Sequence[int], settings: ResolvedSettings
               ) -> Parts:
        """Return what is compared with words of frames of a size."""
        return self._decoder.parts(features, self._layout(output_size, settings), settings)

    def _constants(self, output_size: tuple[int, int], settings: ResolvedSettings) -> tuple:
        """Return the tensors of a frame size that are computed once and kept in caches."""
        layout = self._layout(output_size, settings)
        return (*self._decoder.constants(layout, settings),
                taps(output_size, layout.frame_size, self.device))


def _planes(words: Words, sought: Sought | None) -> int:
    """Return how many maps of a frame are made."""
    return len(words.query_class) + (len(sought.phrases) if sought else 0)


def _cosines(features: Tensor, text: Tensor, cache: Cache | None) -> Tensor:
    """Return the cosines of patches that were joined and queries, and what examples add."""
    cosines = features @ text.T
    return cosines if cache is None else cosines + cache.bonus(features)


def _decide(parts: Parts, cosines: Tensor, query_class: Tensor, settings: ResolvedSettings,
            pixels: Tensor | None, tolerance: float, sought: Sequence[Tensor], segments: bool
            ) -> Decision:
    decision = parts.decide(cosines, query_class, pixels, tolerance)
    if segments:
        decision = replace(decision, segments=parts.segments())
    if not sought:
        return decision
    frames = _relevancy(parts, cosines, sought, settings)
    return replace(decision, relevancy=torch.stack([levels(frame) for frame in frames]))


def _relevancy(parts: Parts, cosines: Tensor, sought: Sequence[Tensor],
               settings: ResolvedSettings) -> Sequence[FrameLogits | MixedLogits]:
    """Return the relevancy of each frame."""
    return parts.spread(
        relevancy(parts.features, cosines, SHARPNESS * settings.logit_scale, *sought))


def _check_images(images: Sequence[np.ndarray]) -> None:
    if not len(images):
        raise ValueError('no images: give at least one')
    for image in images:
        _check_image(image)
        if image.shape != images[0].shape:
            raise ValueError(f'images have the shapes {images[0].shape} and {image.shape}: those '
                             'of a batch must be of one size')


def _check_image(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ValueError(f'image is {type(rgb).__name__}: it must be a NumPy array')
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f'image has shape {rgb.shape} and type {rgb.dtype}: it must be '
                         '(height, width, 3) and uint8')
    if not rgb.size:
        raise ValueError(f'image has shape {rgb.shape}: it is empty')
