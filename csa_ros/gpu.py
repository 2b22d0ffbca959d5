"""
Frames through a GPU: pinned buffers, copies beside the computing, one CUDA graph a shape.

A tower is some hundred short kernels, which take Python longer to launch than a GPU to run. So
for each shape of frames the whole computation, from grey levels to labels, is captured once and
then replayed with one launch. The words are inputs of the graph: others need no new capture.

Three streams take part. Uploads of the next frames and downloads of the last ones run beside the
computing, which has priority over whatever else the process does on the GPU, as encoding words.
"""

from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import lru_cache
import operator
from typing import Any
from typing import NamedTuple
import warnings

from csa_ros.choices import MAX_PHRASES
from csa_ros.labels.decide import Decision
from csa_ros.process.cancellation import cancellable
from csa_ros.settings import ResolvedSettings
from csa_ros.vocabulary import UNKNOWN
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Queries are padded to a multiple of this, so that a few words more or less need no new capture.
QUERY_BUCKET = 32
# And the keys of examples.
KEY_BUCKET = 64
# Graphs that are kept, each with a tower's activations; a camera or a batch of them needs one.
MAX_GRAPHS = 8
_WARM_UP_RUNS = 3

Compute = Callable[
    [Tensor, Tensor, Tensor, ResolvedSettings, Sequence[Tensor], Sequence[Tensor], bool], Decision]
Frame = tuple[
    np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]


class Arrays:
    """Results on their way to the host's memory."""

    def __init__(self, decision: Decision, overlay: Tensor | None, done: torch.cuda.Event
                 ) -> None:
        self._decision = decision
        self._overlay = overlay
        self._done = done

    def wait(self) -> list[Frame]:
        """Return labels, confidence, overlay, relevancy and segments of each frame, once there."""
        self._done.synchronize()
        labels, confidence = self._decision.labels.numpy(), self._decision.confidence.numpy()
        overlays, relevancy, segments = (
            [None] * len(labels) if tensor is None else tensor.numpy()
            for tensor in (self._overlay, self._decision.relevancy, self._decision.segments))
        return list(zip(labels, confidence, overlays, relevancy, segments))


class _Words(NamedTuple):
    """
    Queries padded to a multiple of QUERY_BUCKET, as the inputs of a computation.

    `cache` is nothing, or what examples add to them, with keys padded to one of KEY_BUCKET, and
    `sought` nothing, or phrases padded to MAX_PHRASES.
    """

    text: Tensor
    query_class: Tensor
    cache: tuple[Tensor, ...]
    sought: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Return all of them."""
        return self.text, self.query_class, *self.cache, *self.sought


@dataclass
class _Graph:
    """
    A captured computation: what it reads, what it writes, and what must stay in memory.

    `loaded` are the words that lie in its inputs.
    """

    frames: Tensor
    words: _Words
    replay: Callable[[], None]
    outputs: Decision
    constants: Any
    loaded: _Words


class GraphRunner:
    """
    Runs frames on one GPU.

    `compute(frames, text, query_class, settings, cache, sought, segments)` does the work, `frames`
    (B, H, W, 3) uint8, `text` (Q, D) float32 and `query_class` (Q,) int64 on the device, without
    waiting for it; queries of the class UNKNOWN are padding, as keys of `cache` are that are worth
    nothing: see `csa_ros.teaching.cache.Cache`. `sought` is nothing, or MAX_PHRASES phrases of
    `csa_ros.finding.relevancy.Sought`, those that are padding last. `constants((H, W), settings)`
    returns the tensors that it takes from caches, which a graph knows by their addresses alone.
    Use from one thread.
    """

    def __init__(self, compute: Compute,
                 constants: Callable[[tuple[int, int], ResolvedSettings], Any],
                 device: torch.device) -> None:
        self._compute = compute
        self._constants = constants
        self._device = device
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._uploads = torch.cuda.Stream(device)
        self._downloads = torch.cuda.Stream(device)
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()
        self._padded: tuple[tuple[Tensor, ...], _Words] | None = None

    @torch.inference_mode()
    def submit(self, images: Sequence[np.ndarray], text: Tensor, query_class: Tensor,
               settings: ResolvedSettings, colors: np.ndarray | None = None,
               alpha: float | None = None, cache: tuple[Tensor, ...] = (),
               sought: tuple[Tensor, ...] = (), segments: bool = False) -> Arrays:
        """
        Begin with images of one size, (H, W, 3) uint8; they may be overwritten afterwards.

        `cache` are keys (K, D), their sharpness (K,) and values (K, Q), or nothing, and `sought`
        the features of phrases (P, D) and of their negatives (N, D), perhaps with their own
        queries (P, Q), or nothing. With an `alpha`, overlays are made too, of the class colours
        (C, 3) uint8.
        """
        frames = self._upload(images)
        with torch.cuda.stream(self._stream):
            self._stream.wait_stream(self._uploads)
            frames.record_stream(self._stream)
            decision = self._run(frames, self._pad(text, query_class, cache, sought), settings,
                                 segments)
            overlay = (None if colors is None or alpha is None
                       else blend(frames, decision.labels, colors, alpha))
            if decision.relevancy is not None:
                # Contiguous, without those of the padding.
                decision = replace(
                    decision, relevancy=decision.relevancy[:, :len(sought[0])].contiguous())
        return self._download(decision, overlay)

    def _upload(self, images: Sequence[np.ndarray]) -> Tensor:
        pinned = _pinned((len(images), *images[0].shape))
        np.stack(images, out=pinned.numpy())
        with torch.cuda.stream(self._uploads):
            return pinned.to(self._device, non_blocking=True)

    def _pad(self, text: Tensor, query_class: Tensor, cache: tuple[Tensor, ...],
             sought: tuple[Tensor, ...]) -> _Words:
        """Return the padded inputs; as long as they are the same tensors, the same ones again."""
        tensors = text, query_class, *cache, *sought
        if self._padded is None or not _are_same(self._padded[0], tensors):
            for tensor in tensors:
                tensor.record_stream(self._stream)
            missing = -len(text) % QUERY_BUCKET
            if cache:
                keys, sharpness, values = cache
                few = -len(keys) % KEY_BUCKET
                cache = (F.pad(keys, (0, 0, 0, few)), F.pad(sharpness, (0, few)),
                         F.pad(values, (0, missing, 0, few)))
            if sought:
                phrases, negatives, *own = sought
                few = MAX_PHRASES - len(phrases)
                sought = (F.pad(phrases, (0, 0, 0, few)), negatives,
                          *(F.pad(each, (0, missing, 0, few)) for each in own))
            words = _Words(F.pad(text, (0, 0, 0, missing)),
                           F.pad(query_class, (0, missing), value=UNKNOWN), cache, sought)
            self._padded = tensors, words
        return self._padded[1]

    def _run(self, frames: Tensor, words: _Words, settings: ResolvedSettings, segments: bool
             ) -> Decision:
        """Return what the next run leaves alone."""
        key = (frames.shape, *(tensor.shape for tensor in words.tensors), len(words.sought),
               settings, segments)
        if key not in self._graphs:
            self._graphs[key] = self._try_to_capture(frames, words, settings, segments)
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        if graph is None:
            return self._compute(
                frames, words.text, words.query_class, settings, words.cache, words.sought,
                segments)
        graph.frames.copy_(frames)
        # Few frames come with new words, and each copy takes Python longer than it takes the GPU.
        if graph.loaded is not words:
            for static, tensor in zip(graph.words.tensors, words.tensors):
                static.copy_(tensor)
            graph.loaded = words
        graph.replay()
        return _each(graph.outputs, Tensor.clone)

    def _try_to_capture(self, frames: Tensor, words: _Words, settings: ResolvedSettings,
                        segments: bool) -> _Graph | None:
        try:
            return self._capture(frames, words, settings, segments)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Drivers and layers differ in what they let be captured; all of it runs uncaptured.
            warnings.warn(f'no CUDA graph for frames {tuple(frames.shape)}, which will take '
                          f'longer: {error}', stacklevel=2)
            return None

    def _capture(self, frames: Tensor, words: _Words, settings: ResolvedSettings, segments: bool
                 ) -> _Graph:
        frames = frames.clone()
        inputs = _Words(words.text.clone(), words.query_class.clone(),
                        tuple(tensor.clone() for tensor in words.cache),
                        tuple(tensor.clone() for tensor in words.sought))

        def run() -> Decision:
            return self._compute(frames, inputs.text, inputs.query_class, settings, inputs.cache,
                                 inputs.sought, segments)

        # Fills the caches of constants, and lets libraries allocate and choose what they use.
        # Work that is given up half way could not be captured any more.
        with cancellable(None):
            for _ in range(_WARM_UP_RUNS):
                run()
            height, width = frames.shape[1:3]
            constants = self._constants((height, width), settings)
            return _Graph(frames, inputs, *_capture(run, self._stream), constants, words)

    def _download(self, decision: Decision, overlay: Tensor | None) -> Arrays:
        self._downloads.wait_stream(self._stream)
        with torch.cuda.stream(self._downloads):
            decision = _each(decision, lambda tensor: _to_host(tensor, self._downloads))
            overlay = None if overlay is None else _to_host(overlay, self._downloads)
        # Blocking: a thread that waits would otherwise keep a core busy.
        done = torch.cuda.Event(blocking=True)
        done.record(self._downloads)
        return Arrays(decision, overlay, done)


def blend(frames: Tensor, labels: Tensor, colors: np.ndarray, alpha: float) -> Tensor:
    """
    Do as `csa_ros.draw.overlay` for a batch, wherever it lies, to within one grey level.

    `frames` (B, H, W, 3) uint8; `labels` (B, H, W) uint8; `colors` (C, 3) uint8; `alpha` 0 to 1.
    Returns (B, H, W, 3) uint8.
    """
    paint = _paint_table(colors.tobytes(), alpha, labels.device)
    paint = paint.index_select(0, labels.flatten().int()).unflatten(0, labels.shape)
    return frames.float().mul_(paint[..., :1]).add_(paint[..., 1:]).round_().to(torch.uint8)


# Uploading from memory that is not pinned waits for the GPU: done once a vocabulary.
@lru_cache(maxsize=8)
def _paint_table(colors: bytes, alpha: float, device: torch.device) -> Tensor:
    """Return for each label the share of the frame that is kept, and the colour that is added."""
    table = np.zeros((256, 4), np.float32)
    table[:, 0] = 1
    added = alpha * np.frombuffer(colors, np.uint8).reshape(-1, 3).astype(np.float32)
    table[:len(added), 0] = 1 - alpha
    table[:len(added), 1:] = added
    return torch.from_numpy(table).to(device)


def _each(decision: Decision, function: Callable[[Tensor], Tensor]) -> Decision:
    """Return a decision with what a function makes of each of its tensors."""
    relevancy, segments = (None if tensor is None else function(tensor)
                           for tensor in (decision.relevancy, decision.segments))
    return Decision(function(decision.labels), function(decision.confidence), relevancy, segments)


def _are_same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _capture(run: Callable[[], Decision], stream: torch.cuda.Stream
             ) -> tuple[Callable[[], None], Decision]:
    """Return a launch of all that `run` does, and the outputs that it writes to."""
    graph = torch.cuda.CUDAGraph()
    # Another thread may be encoding words meanwhile: what that allocates is no concern here.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
        outputs = run()
    return graph.replay, outputs


def _pinned(shape: Sequence[int]) -> Tensor:
    """Return host memory that a GPU copies from and to by itself; torch keeps it for reuse."""
    return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=True)


def _to_host(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    tensor.record_stream(stream)
    return _pinned(tensor.shape).copy_(tensor, non_blocking=True)
