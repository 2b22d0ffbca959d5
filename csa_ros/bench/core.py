"""
Frames to labels without ROS: the exact path and the faster options against the plain one.

The plain path is `csa_ros.bench.plain`. Everything is timed in one run, in turn.
"""

import argparse

from csa_ros.bench import agreement
from csa_ros.bench import inputs
from csa_ros.bench.frames import Bench
from csa_ros.bench.frames import Count
from csa_ros.bench.frames import make_paths
from csa_ros.bench.frames import STAGES
from csa_ros.bench.frames import threads
from csa_ros.bench.options import PRECISIONS
from csa_ros.bench.options import ROUNDS
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_mib
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import percent
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import table
from csa_ros.model.backbone import int8_missing
from csa_ros.segmenter import Segmenter
import torch
from tqdm import tqdm

TITLE = TITLES['core']
# The first is what the others are compared with; int8 is left out where it cannot be had.
# What was asked of the node: docs/performance.md says how it fared.
TARGET_SIZE, DECISION_CLASSES = (640, 480), (60, 171)
EQUAL = 0.9999
DECISION_RATIO, MEMORY_RATIO = 5, 10


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time, weigh and compare all paths; the result is for JSON."""
    # The smallest model there is, to learn which device the options mean.
    device = Segmenter.load('demo', options.device).device
    precisions = (options.precision.split(',') if options.precision
                  else default_precisions(device.type))
    rounds = ROUNDS[device.type] if options.rounds is None else options.rounds
    result = {'model': options.model, 'device': device.type, 'precision': precisions[0],
              'threads': torch.get_num_threads(), 'frames': [], 'one_core': []}
    with inputs.loadable(options.model) as name, inputs.text_cache() as cache:
        segmenters = {precision: Segmenter.load(name, str(device), precision, cache_dir=cache)
                      for precision in precisions}
        paths = [path for precision, segmenter in segmenters.items()
                 for path in make_paths(segmenter, precision)]
        counts = [Count(*count) for count in options.classes]
        for size in options.sizes:
            bench = Bench(paths, size, counts, spread=inputs.is_random(options.model))
            result['frames'] += bench.rows(rounds, progress)
            if device.type == 'cpu':
                with threads(1):
                    result['one_core'] += bench.decision_rows(rounds, progress)
    result['agreement'] = agreement.measure(precisions, str(device), progress)
    return result


def default_precisions(device: str) -> list[str]:
    """Return the precisions that are measured on a `cpu` or on `cuda` unless others are named."""
    precisions = PRECISIONS[device].split(',')
    return [precision for precision in precisions if precision != 'int8' or not int8_missing()]


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    sizes = dict.fromkeys((row['width'], row['height']) for row in result['frames'])
    parts = [_introduction(result)]
    for width, height in sizes:
        rows = [row for row in result['frames']
                if (row['width'], row['height']) == (width, height)]
        parts += [f"### {width} x {height}, {rows[0]['windows']} windows", _frame_table(rows)]
    if result['one_core']:
        parts += ['### Merge and decision alone, on one core', _decision_table(result['one_core'])]
    parts += ['### Agreement on the demo model', agreement.EXPLANATION,
              agreement.describe(result['agreement'])]
    return '\n\n'.join(parts)


def _introduction(result: dict) -> str:
    where = (f"{result['threads']} threads of a CPU" if result['device'] == 'cpu'
             else 'a GPU, pixels in host memory to labels in host memory')
    return (
        f"Model `{result['model']}`, {where}. Times are medians in ms. `plain` has the structure "
        "of the SCLIP authors' code, `exact` is what the node does, `whole` is one pass over the "
        'frame instead of windows (`inference: whole`). Ratios are to `plain` at the same '
        'precision: of the total, and of all but the encoder (rest). Equal is the share of labels '
        f"that are those of `plain` in {result['precision']}{_random_note(result)}. Memory is the "
        'peak of the encoder (? where its runtime keeps it from frame to frame), and of merge and '
        'decision.')


def _random_note(result: dict) -> str:
    if not inputs.is_random(result['model']):
        return ''
    # Random features hardly differ from patch to patch, so that any change of them moves labels.
    return (' (with random weights that means something for `exact` at that precision alone: for '
            'the others see the demo model below)')


def _frame_table(rows: list[dict]) -> str:
    header = ['classes', 'path', 'upload', 'encode', 'decide', 'download', 'total', 'p95', 'p99',
              'ratio', 'rest', 'equal', 'encoder MiB', 'decide MiB']
    return table(header, [[
        _count_name(row), f"{row['path']} {row['precision']}",
        *(in_ms(row[stage]) for stage in STAGES),
        *(in_ms(row['total'][key]) for key in ('median_ms', 'p95_ms', 'p99_ms')),
        f"{row['ratio']:.1f}", f"{row['rest_ratio']:.1f}", percent(row['equal']),
        in_mib(row['encode_memory']), in_mib(row['decide_memory'])] for row in rows])


def _decision_table(rows: list[dict]) -> str:
    header = ['frame', 'classes', 'path', 'median', 'p95', 'ratio', 'equal', 'MiB']
    return table(header, [[
        f"{row['width']} x {row['height']}", _count_name(row), row['path'],
        in_ms(row['decide']['median_ms']), in_ms(row['decide']['p95_ms']),
        f"{_plain_of(row, rows)['decide']['median_ms'] / row['decide']['median_ms']:.1f}",
        percent(row['equal']), in_mib(row['decide_memory'])] for row in rows])


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    return [_labels_target(result), *_decision_targets(result)]


def _labels_target(result: dict) -> Target:
    worst = min(row['equal'] for row in result['frames']
                if (row['path'], row['precision']) == ('exact', 'fp32'))
    return Target(f'exact path: at least {EQUAL:.2%} of the labels of the plain one (fp32)',
                  f'{percent(worst)} at the worst', worst >= EQUAL)


def _decision_targets(result: dict) -> list[Target]:
    width, height = TARGET_SIZE
    targets = []
    for classes in DECISION_CLASSES:
        aim = (f'one CPU core, {width} x {height}, {classes} classes: merge and decision at least '
               f'{DECISION_RATIO} times faster than plain, in less than 1 / {MEMORY_RATIO} of its '
               'memory, equal labels')
        rows = {row['path']: row for row in _only(result['one_core'], classes)}
        targets.append(_decision_target(aim, rows) if rows else Target(aim))
    return targets


def _decision_target(aim: str, rows: dict[str, dict]) -> Target:
    plain, exact = rows['plain'], rows['exact']
    faster = plain['decide']['median_ms'] / exact['decide']['median_ms']
    measured = f"{faster:.1f} times faster, {percent(exact['equal'])} equal"
    met = faster >= DECISION_RATIO and exact['equal'] >= EQUAL
    if plain['decide_memory'] is None:
        return Target(aim, f'{measured}; this kernel does not tell the memory',
                      None if met else False)
    smaller = plain['decide_memory'] / max(exact['decide_memory'], 1)
    return Target(aim, f'{measured}, 1 / {smaller:.0f} of the memory',
                  met and smaller > MEMORY_RATIO)


def _only(rows: list[dict], classes: int) -> list[dict]:
    """Return the rows at the target's frame size with so many classes, one query each."""
    return [row for row in rows if (row['width'], row['height']) == TARGET_SIZE
            and row['classes'] == row['queries'] == classes]


def _plain_of(row: dict, rows: list[dict]) -> dict:
    keys = ('width', 'height', 'classes', 'queries', 'precision')
    return next(other for other in rows if other['path'] == 'plain'
                and all(other[key] == row[key] for key in keys))


def _count_name(row: dict) -> str:
    if row['classes'] == row['queries']:
        return str(row['classes'])
    return f"{row['classes']} ({row['queries']} queries)"
