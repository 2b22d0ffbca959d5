"""Several cameras on a GPU: one batch of their frames, and how often it can be done."""

import argparse
import time

from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.segmenter import Segmenter
from tqdm import tqdm

TITLE = TITLES['gpu.cameras']
NEEDS_GPU = True
CAMERAS, SIZE, CLASSES = 4, (1280, 720), 20
# What was asked of the node.
RATE = 30
AIMS = (f'{CAMERAS} cameras of {SIZE[0]} x {SIZE[1]} at {RATE} Hz sustained',)


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time batches of frames; the result is for JSON."""
    with inputs.loaded(options.cameras_model, 'cuda', 'fp16') as segmenter:
        return {'model': options.cameras_model, **measure_cameras(
            segmenter, SIZE, options.cameras_rounds, options.cameras_seconds, progress)}


def measure_cameras(segmenter: Segmenter, size: tuple[int, int], rounds: int, seconds: float,
                    progress: tqdm | None = None) -> dict:
    """
    Segment frames of several cameras as batches: one batch alone, and batch after batch.

    `size` is (width, height). Returns `batch`, the Timing of one batch from host to host, and
    `rate`, frames per second and camera sustained for `seconds`, each batch submitted before the
    last one's result is taken.
    """
    images = [inputs.street(seed, size).rgb for seed in range(CAMERAS)]
    words = inputs.encode(segmenter, CLASSES)
    timing = alternate({'batch': lambda: segmenter.submit(images, words).result()}, rounds,
                       progress)['batch']
    expect(progress, 1)
    batches, pending = 0, segmenter.submit(images, words)
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        following = segmenter.submit(images, words)
        pending.result()
        pending, batches = following, batches + 1
    pending.result()
    if progress is not None:
        progress.update()
    return {'cameras': CAMERAS, 'width': size[0], 'height': size[1], 'classes': CLASSES,
            'batch': timing.to_dict(), 'rate': batches / elapsed, 'seconds': seconds}


def describe(result: dict) -> str:
    """Return a result as markdown."""
    batch = result['batch']
    return (f"Model `{result['model']}`: {result['cameras']} cameras of {result['width']} x "
            f"{result['height']}, {result['classes']} classes, as one batch: "
            f"{in_ms(batch['median_ms'])} ms (p99 {in_ms(batch['p99_ms'])}); sustained for "
            f"{result['seconds']:.0f} s: {result['rate']:.1f} frames per second and camera.")


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    return [Target(AIMS[0], f"{result['rate']:.1f} Hz", result['rate'] >= RATE)]
