"""
Frames from host memory to labels in host memory: each method, and the plain path beside them.

Everything goes through `csa_ros.segmenter.Segmenter` as the node's frames do.
"""

import argparse
from dataclasses import dataclass
from functools import partial

from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.plain import PlainPath
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import table
from csa_ros.model.backbone import Backbone
from csa_ros.segmenter import Segmenter
from csa_ros.settings import Settings
import numpy as np
from tqdm import tqdm

TITLE = TITLES['gpu.frames']
NEEDS_GPU = True
SIZES = ((640, 480), (1280, 720))
CLASSES = (20, 171)
# What was asked of the node, for the first size and count of classes.
FRAME_MS, TAIL_RATIO, FRAME_RATIO = 4, 1.5, 15
AIMS = (f'H100 or H200, {SIZES[0][0]} x {SIZES[0][1]}, {CLASSES[0]} classes, host to host: at '
        f'most {FRAME_MS} ms, p99 at most {TAIL_RATIO} times the median',
        f'the same at least {FRAME_RATIO} times faster than the plain path in the same run')


@dataclass(frozen=True)
class Method:
    """One way to segment frames: its name, attention, precision and settings."""

    name: str
    attention: str = 'csa'
    precision: str = 'fp16'
    settings: Settings = Settings()


METHODS = (Method('csa'), Method('csa, fp32', precision='fp32'), Method('sc-clip', 'sc-clip'),
           Method('csa, pamr', settings=Settings(refine='pamr')))


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time frames of all sizes by all methods, and the plain path; the result is for JSON."""
    with inputs.text_cache() as cache, inputs.loadable(options.gpu_model) as name:
        backbones = {precision: Segmenter.load(name, 'cuda', precision, cache_dir=cache).backbone
                     for precision in ('fp16', 'fp32')}
        segmenters = {method: make_segmenter(backbones[method.precision], method)
                      for method in METHODS}
        rows = [row for size in SIZES for classes in CLASSES
                for row in measure_methods(segmenters, size, classes, options.gpu_rounds,
                                           progress)]
        paths = measure_paths(backbones['fp16'], SIZES[0], CLASSES[0], options.gpu_plain_rounds,
                              progress)
    return {'model': options.gpu_model, 'frames': rows, 'paths': paths}


def make_segmenter(backbone: Backbone, method: Method, capture: bool = True) -> Segmenter:
    """Return what segments by a method, with a backbone of its precision."""
    return Segmenter(backbone, method.attention, method.settings, capture=capture)


def measure_methods(segmenters: dict[Method, Segmenter], size: tuple[int, int], classes: int,
                    rounds: int, progress: tqdm | None = None) -> list[dict]:
    """
    Time frames of one size, (width, height), by all methods in turn; return a row for each.

    `frame` is the Timing from an image in host memory to labels and confidence there.
    """
    rgb = inputs.street(0, size).rgb
    timings = alternate({
        method: partial(segmenter.segment, rgb, inputs.encode(segmenter, classes))
        for method, segmenter in segmenters.items()}, rounds, progress)
    return [{'width': size[0], 'height': size[1], 'classes': classes, 'method': method.name,
             'frame': timing.to_dict()} for method, timing in timings.items()]


def measure_paths(backbone: Backbone, size: tuple[int, int], classes: int, rounds: int,
                  progress: tqdm | None = None) -> dict:
    """
    Time csa as one CUDA graph, launched kernel by kernel, and by the plain path, in turn.

    Returns the Timings of `graph`, `eager` and `plain`, and `equal`, the share of labels of
    `graph` that are those of `plain`, for words that win somewhere.
    """
    rgb = inputs.street(0, size).rgb
    graph, eager = (make_segmenter(backbone, METHODS[0], capture) for capture in (True, False))
    settings, plain = graph.settings, PlainPath(graph)
    features = graph.features(graph.pixels([rgb], settings), settings)
    words = inputs.spread(inputs.encode(graph, classes), features)
    timings = alternate({
        'graph': lambda: graph.segment(rgb, words), 'eager': lambda: eager.segment(rgb, words),
        'plain': lambda: plain.segment(rgb, words, settings)}, rounds, progress)
    equal = np.mean(graph.segment(rgb, words).labels == plain.segment(rgb, words, settings).labels)
    return {**{name: timing.to_dict() for name, timing in timings.items()}, 'equal': float(equal)}


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    paths = result['paths']
    rows = [[f"{row['width']} x {row['height']}", row['classes'], row['method'],
             *_columns(row['frame'])] for row in result['frames']]
    width, height = SIZES[0]
    return '\n\n'.join([
        f"Model `{result['model']}`, fp16 unless said, from an image in host memory to labels "
        'and confidence in host memory. Times are in ms.',
        table(['frame', 'classes', 'method', 'median', 'p95', 'p99', 'frames a second'], rows),
        f'A frame of {width} x {height} with {CLASSES[0]} classes by csa: as one CUDA graph, as '
        "the node does it; launched kernel by kernel; and with the structure of the authors' "
        f"code, whose labels {paths['equal']:.4%} of the graph's are equal to.",
        table(['path', 'median', 'p95', 'p99', 'frames a second', 'plain / this'], [
            [name, *_columns(paths[name]), f'{_ratio(paths, name):.1f}']
            for name in ('graph', 'eager', 'plain')])])


def _columns(timing: dict) -> list[str]:
    return [*(in_ms(timing[key]) for key in ('median_ms', 'p95_ms', 'p99_ms')),
            f"{1e3 / timing['median_ms']:.0f}"]


def _ratio(paths: dict, name: str) -> float:
    return paths['plain']['median_ms'] / paths[name]['median_ms']


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    frame = next(row['frame'] for row in result['frames'])
    ratio = _ratio(result['paths'], 'graph')
    median, p99 = frame['median_ms'], frame['p99_ms']
    speed, faster = AIMS
    return [Target(speed, f'{median:.2f} ms, p99 {p99:.2f} ms',
                   median <= FRAME_MS and p99 <= TAIL_RATIO * median),
            Target(faster, f'{ratio:.1f} times', ratio >= FRAME_RATIO)]
