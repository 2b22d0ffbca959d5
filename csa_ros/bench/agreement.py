"""How far an inexact option moves the labels of the demo model, which knows what it sees."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from csa_ros.bench import inputs
from csa_ros.bench.targets import percent
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import table
from csa_ros.demo.scenes import CLASSES
from csa_ros.labels.score import confusion
from csa_ros.labels.score import iou
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
import numpy as np
from tqdm import tqdm

STREETS = range(10)
STREET_SIZE = (640, 480)
EXPLANATION = (
    'Ten rendered streets, with the words of what is in them. Equal is the share of '
    'pixels labelled as in the first row; mIoU is against the truth; error is the largest '
    'difference of a component of a patch feature of length 1.')

Label = Callable[[np.ndarray], np.ndarray]


def compare(reference: Label, options: Mapping[Any, Label], seeds: Iterable[int],
            size: tuple[int, int], progress: tqdm | None = None) -> dict[Any, dict[str, float]]:
    """
    Label rendered streets with every option and with the reference.

    Each function takes an image (H, W, 3) uint8 and returns labels (H, W) uint8 in the order of
    `csa_ros.demo.scenes.CLASSES`. `size` is (width, height). Returns for each option `equal`, the
    share of pixels labelled as by the reference, and `iou`, the mean over the classes of their
    intersection over union with the truth; the reference itself is among them, as 'reference'.
    """
    every: dict[Any, Label] = {'reference': reference, **options}
    equal: dict[Any, list[float]] = {name: [] for name in every}
    counts = dict.fromkeys(every, np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64))
    for seed in seeds:
        frame = inputs.street(seed, size)
        labels = {name: function(frame.rgb) for name, function in every.items()}
        for name, found in labels.items():
            equal[name].append(np.mean(found == labels['reference']))
            counts[name] = counts[name] + confusion(frame.labels, found, len(CLASSES))
        if progress is not None:
            progress.update()
    return {name: {'equal': float(np.mean(equal[name])),
                   'iou': float(np.nanmean(iou(counts[name])))} for name in every}


def measure(precisions: Sequence[str], device: str, progress: tqdm | None = None) -> list[dict]:
    """
    Compare labels and features of the demo model at every precision, and in one pass.

    Returns a row an option: `path`, `precision`, `equal` and `iou` as from `compare`, and
    `feature_error`, the largest difference of a component of a feature of length 1 (None where the
    windows are others). The first row is the reference: windows, at the first precision.
    """
    options, features = {}, {}
    first = precisions[0]
    rgb = inputs.street(STREETS[0], STREET_SIZE).rgb
    with inputs.text_cache() as cache:
        for precision in precisions:
            segmenter = Segmenter.load('demo', device, precision, cache_dir=cache)
            words = segmenter.encode(Vocabulary.parse(CLASSES))
            slide, whole = (segmenter.resolve(Settings(name)) for name in ('slide', 'whole'))
            options['exact', precision] = _labeller(segmenter, words, slide)
            options['whole', precision] = _labeller(segmenter, words, whole)
            features[precision] = segmenter.features(segmenter.pixels([rgb], slide), slide)
    expect(progress, len(STREETS))
    scores = compare(options['exact', first], options, STREETS, STREET_SIZE, progress)
    return [{'path': path, 'precision': precision, **scores[path, precision],
             'feature_error': None if path == 'whole' else
             float((features[precision] - features[first]).abs().max())}
            for path, precision in options]


def _labeller(segmenter: Segmenter, words: Words, settings: Settings) -> Label:
    return lambda rgb: segmenter.segment(rgb, words, settings).labels


def describe(rows: list[dict]) -> str:
    """Return the table of what `measure` has found, as markdown."""
    return table(['option', 'equal', 'mIoU', 'error'], [[
        f"{row['path']} {row['precision']}", percent(row['equal']), f"{row['iou']:.3f}",
        '' if row['feature_error'] is None else f"{row['feature_error']:.1e}"] for row in rows])
