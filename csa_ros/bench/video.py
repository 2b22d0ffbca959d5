"""
Reuse of windows that do not change, on the video of the demo: what it saves and what it costs.

Streets are rendered without the noise of a sensor, and a camera that stands still would see the
same bytes again and again; so noise is added.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
import time

from csa_ros.bench import inputs
from csa_ros.bench.options import RECOMMENDED
from csa_ros.bench.options import TITLES
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import table
from csa_ros.bench.timing import Timing
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.pixels import resize
from csa_ros.model.reuse import WindowMemory
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
from csa_ros.vocabulary import Vocabulary
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

TITLE = TITLES['video']
# Frames a second and their (width, height), as of the demo's camera.
RATE, SIZE = 10.0, (320, 240)
# Standard deviation in grey levels: a small camera in daylight.
NOISE = 1.5
# What the camera and the street do, and when the camera stands: shares of the video.
CASES = {
    'driving': ('the camera drives', None),
    'stop': ('the camera drives, stands for half of the video while traffic moves, and drives on',
             (0.25, 0.75)),
    'parked': ('the camera stands, and traffic moves', (0, 1)),
    'still': ('nothing moves', (0, 1)),
}
# What the check for changes is timed on by itself.
CHECK_MODELS = ('demo', inputs.RANDOM)
CHECK_SIZES = ((640, 480), (1280, 720))
CHECK_ROUNDS = 20


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """
    Measure what reuse changes and saves in every case, and the look for changes by itself.

    The lists of rows, for JSON, are those of `measure_agreement`, `measure_times` and
    `measure_check`; `exposures_equal` is from `compare_exposures`.
    """
    with inputs.loaded('demo', options.video_device) as segmenter:
        words = segmenter.encode(Vocabulary.parse(CLASSES))
        # First, because it also warms up what is timed.
        exposures = compare_exposures(segmenter, words, options.video_seeds)
        return {
            'device': segmenter.device.type, 'threads': torch.get_num_threads(),
            'width': SIZE[0], 'height': SIZE[1], 'rate': RATE, 'noise': NOISE,
            'streets': len(options.video_seeds), 'frames': options.video_frames,
            'reuse_frames': segmenter.settings.reuse_frames, 'exposures_equal': exposures,
            'times': measure_times(segmenter, words, options, progress),
            'agreement': measure_agreement(segmenter, words, options, progress),
            'check': measure_check(options.video_device, progress)}


def describe(result: dict) -> str:
    """Return the tables and how to read them, in markdown."""
    return '\n\n'.join([
        f'The demo model (on {result["device"]}, {result["threads"]} threads) looks at '
        f'{result["streets"]} rendered streets of {result["frames"]} frames each, '
        f'{result["width"]} x {result["height"]} at {result["rate"]:g} Hz, with a noise of '
        f'{result["noise"]:g} grey levels (standard deviation). A window is encoded again when '
        'one of its patches has changed by more than the threshold since it was last encoded '
        '(mean absolute difference in grey levels), and in any case once in '
        f'{result["reuse_frames"]} frames. Equal labels are those of the same frame without '
        'reuse; the mIoU is against the truth.',
        '\n'.join(f'- {case}: {meaning}' for case, (meaning, _) in CASES.items()),
        table(['case', 'threshold', 'windows encoded', 'equal labels', 'worst frame', 'mIoU'],
              [[row['case'], f'{row["threshold"]:g}' if row['threshold'] else 'off',
                f'{row["encoded"]:.0%}', f'{row["equal"]:.2%}', f'{row["equal_worst"]:.2%}',
                f'{row["miou"]:.3f}'] for row in result['agreement']]),
        f'Noise by itself changes labels: two exposures of one view agree on '
        f'{result["exposures_equal"]:.2%} of the pixels, without any reuse. Reuse is off by '
        f'default; to switch it on, {RECOMMENDED:g} grey levels are recommended, or twice the '
        "camera's noise if that is more. What a frame then takes, one street, in turn with "
        'and without reuse:',
        table(['case', 'off, mean ms', 'reuse, mean ms', 'off, p95', 'reuse, p95', 'time left'],
              [[row['case'], f'{row["off"]["mean_ms"]:.1f}', f'{row["reuse"]["mean_ms"]:.1f}',
                f'{row["off"]["p95_ms"]:.1f}', f'{row["reuse"]["p95_ms"]:.1f}',
                f'{row["reuse"]["mean_ms"] / row["off"]["mean_ms"]:.0%}']
               for row in result['times']]),
        'What looking for changes takes by itself, for all windows of a frame, beside the '
        'encoding of a single one:',
        table(['model', 'frame', 'windows', 'look at all, ms', 'encode one, ms'],
              [[row['model'], f'{row["width"]}x{row["height"]}', row['windows'],
                f'{row["check"]["median_ms"]:.2f}', f'{row["encode"]["median_ms"]:.2f}']
               for row in result['check']])])


def video(case: str, seed: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pictures (H, W, 3) of a case with sensor noise, and their labels (H, W), uint8."""
    random = np.random.default_rng(seed)
    street = Scene(seed)
    _, stands = CASES[case]
    driven = 0
    for number in range(frames):
        frame = street.render(driven / RATE, SIZE, 0 if case == 'still' else number / RATE)
        noisy = frame.rgb + random.normal(0, NOISE, frame.rgb.shape)
        yield noisy.round().clip(0, 255).astype(np.uint8), frame.labels
        if not stands or not stands[0] <= number / frames < stands[1]:
            driven += 1


def compare_exposures(segmenter: Segmenter, words: Words, seeds: Sequence[int]) -> float:
    """Return the share of labels that two exposures of one view agree on, without reuse."""
    shares = []
    for seed in seeds:
        first, second = (segmenter.segment(rgb, words).labels
                         for rgb, _ in video('still', seed, frames=2))
        shares.append(np.mean(first == second))
    return float(np.mean(shares))


class Score:
    """How labels with reuse, frame after frame, compare with those without and with the truth."""

    def __init__(self) -> None:
        self._equal: list[float] = []
        self._confusion = np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64)

    def add(self, labels: np.ndarray, exact: np.ndarray, truth: np.ndarray) -> None:
        """Count a frame; all are (H, W) uint8."""
        self._equal.append(np.mean(labels == exact))
        self._confusion += confusion(truth, labels, len(CLASSES))

    def to_dict(self) -> dict:
        """Return the share of equal labels, in all and in the worst frame, and the mIoU."""
        return {'equal': float(np.mean(self._equal)), 'equal_worst': float(np.min(self._equal)),
                'miou': float(np.nanmean(iou(self._confusion)))}


def measure_agreement(segmenter: Segmenter, words: Words, options: argparse.Namespace,
                      progress: tqdm) -> list[dict]:
    """
    Compare labels with and without reuse on all streets.

    Returns a row for each case and threshold, 0 for no reuse: `encoded`, the share of windows,
    and what `Score` tells. Every frame is encoded once; at each threshold a memory takes from
    that what it asks for.
    """
    expect(progress, len(CASES) * len(options.video_seeds) * options.video_frames)
    settings = segmenter.settings
    rows = []
    for case in CASES:
        scores = {threshold: Score() for threshold in (0, *options.video_thresholds)}
        # Of each threshold; without reuse every window is encoded.
        seen, encoded = Counter({0: 1}), Counter({0: 1})
        for seed in options.video_seeds:
            memories = {threshold: WindowMemory() for threshold in options.video_thresholds}
            for rgb, truth in video(case, seed, options.video_frames):
                pixels = segmenter.pixels([rgb], settings)
                features = segmenter.features(pixels, settings)
                exact = _labels(segmenter, features, words)
                scores[0].add(exact, exact, truth)
                frame, plan = _frame(rgb, pixels.shape[-2:], settings)
                for threshold, memory in memories.items():
                    kept = memory.features(frame, plan, lambda stale: features[stale], threshold,
                                           settings.reuse_frames)
                    scores[threshold].add(_labels(segmenter, kept, words), exact, truth)
                progress.update()
            for threshold, memory in memories.items():
                seen[threshold] += memory.windows_seen
                encoded[threshold] += memory.windows_encoded
        rows += [{'case': case, 'threshold': threshold,
                  'encoded': encoded[threshold] / seen[threshold], **score.to_dict()}
                 for threshold, score in scores.items()]
    return rows


def measure_times(segmenter: Segmenter, words: Words, options: argparse.Namespace,
                  progress: tqdm) -> list[dict]:
    """
    Time the frames of the first street, each without reuse and then with it.

    Returns a row for each case: `mean_ms` and Timing of `off` and `reuse`.
    """
    expect(progress, len(CASES) * options.video_frames)
    reuse = replace(segmenter.settings, reuse_threshold=RECOMMENDED)
    rows = []
    for case in CASES:
        memory = WindowMemory()
        calls: dict[str, Callable[[np.ndarray], Result]] = {
            'off': lambda rgb: segmenter.segment(rgb, words),
            'reuse': lambda rgb: segmenter.segment(rgb, words, reuse, memory=memory)}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for rgb, _ in video(case, options.video_seeds[0], options.video_frames):
            for name, segment in calls.items():
                start = time.perf_counter()
                # Labels come as arrays in host memory: a GPU is done by then.
                segment(rgb)
                seconds[name].append(time.perf_counter() - start)
            progress.update()
        rows.append({'case': case, **{
            name: {'mean_ms': 1e3 * float(np.mean(taken)), **Timing(taken).to_dict()}
            for name, taken in seconds.items()}})
    return rows


def measure_check(device: str, progress: tqdm) -> list[dict]:
    """Time the look for changes in a frame, and the encoding of one window beside it."""
    rows = []
    for model in CHECK_MODELS:
        with inputs.loaded(model, device) as segmenter:
            for width, height in CHECK_SIZES:
                rgb = inputs.street(0, (width, height)).rgb
                check, encode, windows = _check_calls(segmenter, rgb)
                timings = alternate({'check': check, 'encode': encode}, CHECK_ROUNDS, progress)
                rows.append({'model': model, 'width': width, 'height': height, 'windows': windows,
                             **{name: timing.to_dict() for name, timing in timings.items()}})
    return rows


def _check_calls(segmenter: Segmenter, rgb: np.ndarray
                 ) -> tuple[Callable[[], object], Callable[[], object], int]:
    """Return a call that finds no change, one that encodes one window, and how many there are."""
    settings = segmenter.settings
    pixels = segmenter.pixels([rgb], settings)
    frame, plan = _frame(rgb, pixels.shape[-2:], settings)
    features = segmenter.features(pixels, settings)
    window = pixels[:, :, :settings.crop, :settings.crop]
    memory = WindowMemory()

    def check() -> Tensor:
        # So many frames that no window's turn comes.
        return memory.features(frame, plan, lambda stale: features, RECOMMENDED, 10 ** 9)

    check()
    return check, lambda: segmenter.features(window, settings), len(features)


def _frame(rgb: np.ndarray, size: Sequence[int], settings: ResolvedSettings
           ) -> tuple[np.ndarray, WindowPlan]:
    """Return what a memory looks at: the resized frame (h, w, 3) uint8 and its windows."""
    height, width = size
    return (resize(rgb, (height, width)),
            plan_windows(height, width, settings.crop, settings.stride))


def _labels(segmenter: Segmenter, features: Tensor, words: Words) -> np.ndarray:
    decision = segmenter.decide(features, words, SIZE[::-1], segmenter.settings)
    return decision.labels[0].cpu().numpy()
