"""
Labels that follow the image: what PAMR costs a frame, and what it does to labels.

Measured with the demo model unless another is named: how many planes are refined depends on what a
model sees, and one of random weights sees the same everywhere.
"""

import argparse
from functools import partial

from csa_ros.bench import agreement
from csa_ros.bench import inputs
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_mib
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import percent
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import peak_memory
from csa_ros.bench.timing import table
from csa_ros.demo.scenes import CLASSES
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import REFINE
from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
import numpy as np
import torch
from tqdm import tqdm

TITLE = TITLES['refine']
FRAME_SIZE = (640, 480)
QUERIES = (20, 60, 171)


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time and weigh frames with and without PAMR, and compare their labels; for JSON."""
    with inputs.loaded(options.refine_model, options.refine_device) as segmenter:
        frames = measure_frames(segmenter, options.refine_rounds, progress)
        words = segmenter.encode(Vocabulary.parse(CLASSES))
        functions = {name: partial(_labels, segmenter, words, Settings(refine=name))
                     for name in REFINE}
        expect(progress, len(agreement.STREETS))
        labels = agreement.compare(functions['pamr-output'], functions, agreement.STREETS,
                                   agreement.STREET_SIZE, progress)
    return {'model': options.refine_model, 'device': segmenter.device.type,
            'threads': torch.get_num_threads(), 'streets': len(agreement.STREETS),
            'frames': frames, 'labels': {name: labels[name] for name in REFINE}}


def measure_frames(segmenter: Segmenter, rounds: int, progress: tqdm | None = None) -> list[dict]:
    """
    Return a row for each number of queries and value of `refine`.

    `frame` is the Timing of a frame and `ratio` its median over that without PAMR; `memory` is the
    peak of merging, refining and deciding. `equal` and `confidence` compare with what refining
    every query by itself gives, which a GPU does: the share of equal labels, and the largest
    difference of the confidence in 1/255.
    """
    rgb = inputs.street(0, FRAME_SIZE).rgb
    cases = {(queries, name): (inputs.encode(segmenter, queries),
                               segmenter.resolve(Settings(refine=name)))
             for queries in QUERIES for name in REFINE}
    timings = alternate({case: partial(segmenter.segment, rgb, *arguments)
                         for case, arguments in cases.items()}, rounds, progress)
    # What the encoder sees and finds is the same in all cases.
    plain = segmenter.resolve(Settings())
    pixels = segmenter.pixels([rgb], plain)
    features = segmenter.features(pixels, plain)
    rows = []
    expect(progress, len(cases))
    for (queries, name), (words, settings) in cases.items():
        memory = peak_memory(partial(segmenter.decide, features, words, rgb.shape[:2], settings,
                                     pixels), segmenter.device)
        result = segmenter.segment(rgb, words, settings)
        every = segmenter.compute(torch.from_numpy(rgb[None]).to(segmenter.device),
                                  words.features, words.query_class, settings)
        difference = every.confidence[0].cpu().numpy().astype(int) - result.confidence
        rows.append({
            'queries': queries, 'refine': name, 'memory': memory,
            'frame': timings[queries, name].to_dict(),
            'ratio': timings[queries, name].median_ms / timings[queries, REFINE[0]].median_ms,
            'equal': float(np.mean(every.labels[0].cpu().numpy() == result.labels)),
            'confidence': int(np.abs(difference).max())})
        if progress is not None:
            progress.update()
    return rows


def _labels(segmenter: Segmenter, words: Words, settings: Settings, rgb: np.ndarray) -> np.ndarray:
    return segmenter.segment(rgb, words, settings).labels


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    where = (f"{result['threads']} threads of a CPU" if result['device'] == 'cpu' else 'a GPU')
    return '\n\n'.join([
        f"Model `{result['model']}`, {where}, frames of {FRAME_SIZE[0]} x {FRAME_SIZE[1]}. Times "
        'are medians of whole frames in ms, and the ratio is to frames without PAMR. Memory is '
        'the peak of all but the encoder. Equal and confidence are the share of equal labels, and '
        'the largest difference of the confidence in 1/255, where every query is refined by '
        'itself instead of what the queries have in common.',
        table(['refine', 'queries', 'ms', 'ratio', 'MiB', 'equal', 'confidence'], [
            [row['refine'], row['queries'], in_ms(row['frame']['median_ms']),
             f"{row['ratio']:.2f}", in_mib(row['memory']), percent(row['equal']),
             row['confidence']] for row in result['frames']]),
        f"{result['streets']} rendered streets, with the words of what is in them. Equal is the "
        'share of pixels labelled as in the last row; mIoU is against the truth.',
        table(['refine', 'equal', 'mIoU'], [
            [name, percent(row['equal']), f"{row['iou']:.3f}"]
            for name, row in result['labels'].items()])])
