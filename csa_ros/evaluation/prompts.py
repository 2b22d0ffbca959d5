"""
How close the short prompt ensembles come to the 80 templates, and what they cost.

The words of all presets say how close the features are, rendered streets how many labels change.
The streets are those of the demo, whose model knows their words and no others; the features can be
compared with any model:

    python -m csa_ros.evaluation.prompts --scenes 30
    python -m csa_ros.evaluation.prompts --model ViT-B-16-quickgelu/openai --scenes 0
"""

import argparse
from collections.abc import Sequence
from functools import partial
import sys

from csa_ros.bench.agreement import compare
from csa_ros.bench.inputs import text_cache
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import table
from csa_ros.demo.scenes import CLASSES
from csa_ros.model.backbone import Backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import TextEncoder
from csa_ros.presets import preset_names
from csa_ros.presets import read_preset
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
from torch import Tensor
from tqdm import tqdm

REFERENCE = 'imagenet80'
SIZE = (320, 240)
TIMED_WORDS, ROUNDS = 8, 3


def main(args: Sequence[str] | None = None) -> int:
    """Measure every ensemble and print a table in markdown; return the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m csa_ros.evaluation.prompts', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='demo', help='as for the node (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--scenes', type=int, default=30, metavar='N',
                        help='streets of the demo to label, from seed 0 on; 0: only compare the '
                        'features (default: %(default)s)')
    options = parser.parse_args(args)
    if options.scenes < 0:
        parser.error(f'--scenes is {options.scenes}: it must be at least 0')
    try:
        segmenter = Segmenter.load(options.model, options.device)
    except ModelError as error:
        print(f'prompts: {error}', file=sys.stderr)
        return 1
    print(describe(measure(segmenter, options.scenes)))
    return 0


def measure(segmenter: Segmenter, scenes: int) -> dict[str, dict[str, float]]:
    """
    Return the figures of each ensemble of TEMPLATES.

    `templates` is their number, `time` what new words take relative to the 80, `distance` and
    `cosine` compare the features of `all_words`, and, with any scenes, `equal` and `iou` are those
    of `csa_ros.bench.agreement.compare`.
    """
    with tqdm(unit='call', disable=None) as progress:
        encoder = TextEncoder(segmenter.backbone)
        features = {name: encoder.encode(all_words(), name) for name in TEMPLATES}
        reference = features[REFERENCE]
        times = _times(segmenter.backbone, progress)
        figures = {name: {
            'templates': len(TEMPLATES[name]),
            'time': times[name] / times[REFERENCE],
            'distance': distance(features[name], reference),
            'cosine': float((features[name] * reference).sum(1).mean()),
        } for name in TEMPLATES}
        if scenes:
            for name, found in _labels(segmenter, scenes, progress).items():
                figures[name].update(found)
    return figures


def all_words() -> list[str]:
    """Return the queries of all vocabularies that come with the package, each once, sorted."""
    return sorted({query for name in preset_names()
                   for query in Vocabulary.parse(read_preset(name)).queries})


def distance(features: Tensor, reference: Tensor) -> float:
    """
    Return the squared distance of text features, as a share of the variance of the reference.

    Both are (Q, D), one row a word. What all words have in common is taken off first: it adds the
    same to the logits of all classes, and so changes no label.
    """
    centred, expected = features - features.mean(0), reference - reference.mean(0)
    return float((centred - expected).square().sum() / expected.square().sum())


def _times(backbone: Backbone, progress: tqdm) -> dict[str, float]:
    """Return the milliseconds that each ensemble takes for words that are in no cache."""
    words = all_words()[:TIMED_WORDS]

    def encode(name: str) -> None:
        with text_cache() as empty:
            TextEncoder(backbone, empty).encode(words, name)

    timings = alternate({name: partial(encode, name) for name in TEMPLATES}, ROUNDS, progress)
    return {name: timing.median_ms for name, timing in timings.items()}


def _labels(segmenter: Segmenter, scenes: int, progress: tqdm) -> dict[str, dict[str, float]]:
    vocabulary = Vocabulary.parse(CLASSES)
    words = {name: segmenter.encode(vocabulary, name) for name in TEMPLATES}
    ways = {name: lambda rgb, own=own: segmenter.segment(rgb, own).labels
            for name, own in words.items()}
    progress.total += scenes
    found = compare(ways[REFERENCE], ways, range(scenes), SIZE, progress)
    return {name: found[name] for name in TEMPLATES}


def describe(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures as a table in markdown."""
    headings = ['prompts', 'templates', 'time', 'distance', 'cosine']
    rows = [[f'`{name}`', row['templates'], f"{row['time']:.2f}", f"{row['distance']:.4f}",
             f"{row['cosine']:.4f}"] for name, row in figures.items()]
    if 'equal' in figures[REFERENCE]:
        headings += ['equal labels', 'mIoU']
        for cells, row in zip(rows, figures.values()):
            cells += [f"{row['equal']:.2%}", f"{row['iou']:.3f}"]
    return table(headings, rows)


if __name__ == '__main__':
    sys.exit(main())
