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
from functools import lru_cache
from typing import Any
from typing import NamedTuple
import warnings

from csa_ros.labels.decide import Decision
from csa_ros.settings import ResolvedSettings
from csa_ros.vocabulary import UNKNOWN
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Queries are padded to a multiple of this, so that a few words more or less need no new capture.
QUERY_BUCKET = 32
# Graphs that are kept, each with a tower's activations; a camera or a batch of them needs one.
MAX_GRAPHS = 8
_WARM_UP_RUNS = 3

Compute = Callable[[Tensor, Tensor, Tensor, ResolvedSettings], Decision]
# The tensors among what `Compute` takes: frames, text and query_class.
_Inputs = tuple[Tensor, Tensor, Tensor]


class Arrays:
    """Results on their way to the host's memory."""

    def __init__(self, labels: Tensor, confidence: Tensor, overlay: Tensor | None,
                 done: torch.cuda.Event) -> None:
        self._labels = labels
        self._confidence = confidence
        self._overlay = overlay
        self._done = done

    def wait(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Return labels, confidence and overlay of each frame, once they are there."""
        self._done.synchronize()
        overlays = ([None] * len(self._labels) if self._overlay is None
                    else self._overlay.numpy())
        return list(zip(self._labels.numpy(), self._confidence.numpy(), overlays))


class _Graph(NamedTuple):
    """A captured computation: what it reads, what it writes, and what must stay in memory."""

    inputs: Sequence[Tensor]
    replay: Callable[[], None]
    outputs: Decision
    constants: Any


class GraphRunner:
    """
    Runs frames on one GPU.

    `compute(frames, text, query_class, settings)` does the work, for `frames` (B, H, W, 3) uint8,
    `text` (Q, D) float32 and `query_class` (Q,) int64 on the device, without waiting for it;
    queries of the class UNKNOWN are padding. `constants((H, W), settings)` returns the tensors
    that it takes from caches, which a graph knows by their addresses alone. Use from one thread.
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

    @torch.inference_mode()
    def submit(self, images: Sequence[np.ndarray], text: Tensor, query_class: Tensor,
               settings: ResolvedSettings, colors: np.ndarray | None = None,
               alpha: float | None = None) -> Arrays:
        """
        Begin with images of one size, (H, W, 3) uint8; they may be overwritten afterwards.

        With an `alpha`, overlays are made too, of the class colours (C, 3) uint8.
        """
        frames = self._upload(images)
        with torch.cuda.stream(self._stream):
            self._stream.wait_stream(self._uploads)
            for tensor in (frames, text, query_class):
                tensor.record_stream(self._stream)
            missing = -len(text) % QUERY_BUCKET
            padded = (frames, F.pad(text, (0, 0, 0, missing)),
                      F.pad(query_class, (0, missing), value=UNKNOWN))
            labels, confidence = self._run(padded, settings)
            overlay = (None if colors is None or alpha is None
                       else blend(frames, labels, colors, alpha))
        return self._download(labels, confidence, overlay)

    def _upload(self, images: Sequence[np.ndarray]) -> Tensor:
        pinned = _pinned((len(images), *images[0].shape))
        np.stack(images, out=pinned.numpy())
        with torch.cuda.stream(self._uploads):
            return pinned.to(self._device, non_blocking=True)

    def _run(self, tensors: _Inputs, settings: ResolvedSettings) -> tuple[Tensor, Tensor]:
        """Return labels and confidence, which the next run leaves alone."""
        key = (*(tensor.shape for tensor in tensors), settings)
        if key not in self._graphs:
            self._graphs[key] = self._try_to_capture(tensors, settings)
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        if graph is None:
            decision = self._compute(*tensors, settings)
            return decision.labels, decision.confidence
        for static, tensor in zip(graph.inputs, tensors):
            static.copy_(tensor)
        graph.replay()
        return graph.outputs.labels.clone(), graph.outputs.confidence.clone()

    def _try_to_capture(self, tensors: _Inputs, settings: ResolvedSettings) -> _Graph | None:
        try:
            return self._capture(tensors, settings)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Drivers and layers differ in what they let be captured; all of it runs uncaptured.
            warnings.warn(f'no CUDA graph for frames {tuple(tensors[0].shape)}, which will take '
                          f'longer: {error}', stacklevel=2)
            return None

    def _capture(self, tensors: _Inputs, settings: ResolvedSettings) -> _Graph:
        frames, text, query_class = inputs = [tensor.clone() for tensor in tensors]

        def run() -> Decision:
            return self._compute(frames, text, query_class, settings)

        # Fills the caches of constants, and lets libraries allocate and choose what they use.
        for _ in range(_WARM_UP_RUNS):
            run()
        height, width = frames.shape[1:3]
        constants = self._constants((height, width), settings)
        return _Graph(inputs, *_capture(run, self._stream), constants)

    def _download(self, labels: Tensor, confidence: Tensor, overlay: Tensor | None) -> Arrays:
        self._downloads.wait_stream(self._stream)
        with torch.cuda.stream(self._downloads):
            labels, confidence = (
                _to_host(tensor, self._downloads) for tensor in (labels, confidence))
            overlay = None if overlay is None else _to_host(overlay, self._downloads)
        # Blocking: a thread that waits would otherwise keep a core busy.
        done = torch.cuda.Event(blocking=True)
        done.record(self._downloads)
        return Arrays(labels, confidence, overlay, done)


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
