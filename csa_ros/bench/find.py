"""
Phrases in frames: what it costs to find some beside the labels.

Frames go through `csa_ros.segmenter.Segmenter` with nothing to find, one phrase and the most that
there may be; heat and regions are made of them as the node makes them.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import table
from csa_ros.choices import FIND_THRESHOLD
from csa_ros.choices import MAX_PHRASES
from csa_ros.finding.regions import found_regions
from csa_ros.finding.relevancy import levels
from csa_ros.finding.relevancy import Sought
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
import numpy as np
import torch
from tqdm import tqdm

TITLE = TITLES['find']
SIZES = ((640, 480), (1280, 720))
CLASSES = 20
PHRASES = ('a red car', 'a person on a bicycle', 'a traffic cone', 'a tree', 'a door', 'a dog',
           'a puddle', 'a fire extinguisher')
COUNTS = (1, MAX_PHRASES)
# Of a frame.
MOST = 0.03


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """
    Time frames with and without phrases, in turn; the result is for JSON.

    `frame` is the Timing of a frame, `share` by how much its median is above that without phrases,
    and `find` the Timing of the finding alone, of features that are there, with `find_share` its
    median as a share of the frame without.
    """
    with inputs.loaded(options.find_model, options.find_device) as segmenter:
        words = inputs.encode(segmenter, CLASSES)
        rows = [row for size in SIZES
                for row in _measure_size(segmenter, words, size, options.find_rounds, progress)]
    return {'model': options.find_model, 'device': segmenter.device.type,
            'threads': torch.get_num_threads(), 'classes': CLASSES, 'frames': rows}


def describe(result: dict) -> str:
    """Return the table of a result as markdown."""
    where = (f"{result['threads']} threads of a CPU" if result['device'] == 'cpu' else 'a GPU')
    return '\n\n'.join([
        f"Model `{result['model']}`, {where}, {result['classes']} classes. Times are medians in "
        'ms: of a frame with its heat and regions, and of finding alone, of the features of '
        'patches that are there. Shares are of the frame in which nothing is looked for.',
        table(['frame', 'phrases', 'ms', 'more', 'find, ms', 'share'], [
            [f"{row['width']} x {row['height']}", row['phrases'], in_ms(row['frame']['median_ms']),
             f"{row['share']:+.1%}", in_ms(row['find']['median_ms']) if row['find'] else '',
             f"{row['find_share']:.1%}" if row['find'] else ''] for row in result['frames']])])


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    found = [row for row in result['frames'] if row['find']]
    worst = max(found, key=lambda row: row['find_share'])
    return [Target(f'finding phrases: at most {MOST:.0%} of a frame',
                   f"{worst['find_share']:.1%} with {worst['phrases']} phrases, "
                   f"{worst['width']} x {worst['height']}",
                   all(row['find_share'] <= MOST for row in found))]


def _measure_size(segmenter: Segmenter, words: Words, size: tuple[int, int], rounds: int,
                  progress: tqdm) -> list[dict]:
    rgb = inputs.street(0, size).rgb
    settings = segmenter.settings
    features = segmenter.features(segmenter.pixels([rgb], settings), settings)
    sought = {count: segmenter.seek(PHRASES[:count], words, 'simple') for count in COUNTS}
    whole = {count: partial(_frame, segmenter, rgb, words, sought.get(count))
             for count in (0, *COUNTS)}
    alone = {count: partial(_find, segmenter, features, words, sought[count], rgb.shape[:2])
             for count in COUNTS}
    frames = alternate(whole, rounds, progress)
    finds = alternate(alone, rounds, progress)
    plain = frames[0].median_ms
    return [{
        'width': size[0], 'height': size[1], 'phrases': count, 'frame': timing.to_dict(),
        'share': timing.median_ms / plain - 1,
        'find': finds[count].to_dict() if count else None,
        'find_share': finds[count].median_ms / plain if count else None,
    } for count, timing in frames.items()]


def _frame(segmenter: Segmenter, rgb: np.ndarray, words: Words, sought: Sought | None) -> None:
    result = segmenter.segment(rgb, words, sought=sought)
    if sought and result.relevancy is not None:
        _outputs(sought.phrases, result.relevancy)


def _find(segmenter: Segmenter, features: torch.Tensor, words: Words, sought: Sought,
          size: Sequence[int]) -> None:
    planes, = segmenter.relevancy(features, words, sought, size, segmenter.settings)
    _outputs(sought.phrases, levels(planes).cpu().numpy())


def _outputs(phrases: Sequence[str], relevancy: np.ndarray) -> None:
    """Make what the node publishes."""
    relevancy.max(0)
    found_regions(phrases, relevancy, FIND_THRESHOLD)
