"""
Where phrases are found on rendered streets: the pointing game, and what a threshold lets through.

    python -m csa_ros.evaluation.pointing
    python -m csa_ros.tools.evaluate --page docs/find.md evaluation/pointing-demo.json

In the pointing game (Zhang et al., IJCV 2018) a phrase is right where the strongest spot of its
heat lies on what it says. Attentions are compared on the streets of the data set, sharpness,
negatives and thresholds on others that are there to choose by.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import json
import sys
from typing import Any

from csa_ros.bench.timing import machine
from csa_ros.choices import FIND_THRESHOLD
from csa_ros.choices import MAX_PHRASES
from csa_ros.demo import validation
from csa_ros.evaluation.arguments import parse
from csa_ros.evaluation.datasets.benchmark import Sample
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.datasets.demo import Street
from csa_ros.evaluation.records import write_whole
from csa_ros.evaluation.report.pointing import describe
from csa_ros.finding.relevancy import SHARPNESS
from csa_ros.model.backbone import Backbone
from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.process.threads import set_threads
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

ATTENTIONS = ('csa', 'vanilla')
# LERF's, SCLIP's and CLIP's.
SCALES = (10.0, 40.0, 100.0)
THRESHOLDS = (0.5, FIND_THRESHOLD, 0.7, 0.8)
VOCABULARY, CANONICAL = 'vocabulary', 'canonical'
# A patch or so: what is smaller is hidden, or far away.
LEAST_PIXELS = 64


def main(args: Sequence[str] | None = None) -> int:
    """Measure, write and print the tables; return the exit status."""
    options, command = parse(
        'csa_ros.evaluation.pointing', __doc__, 'take the first N streets of each',
        sys.argv[1:] if args is None else args)
    try:
        set_threads(options.threads)
        document = measure(load_backbone(options.model, options.device), options.limit, command)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f'pointing-{DEMO.name}.json'
        write_whole(path, json.dumps(document, indent=1) + '\n')
    except (ModelError, OSError, ValueError) as error:
        print(f'pointing: {error}', file=sys.stderr)
        return 1
    print(f'{describe(document)}\n\nWritten to {path}')
    return 0


def measure(backbone: Backbone, limit: int | None, command: str) -> dict[str, Any]:
    """
    Play with each attention, and with what there is to choose; return figures for JSON.

    `limit` asks for so many streets of each kind, and `command` is what is said to have made them.
    """
    streets = list(DEMO.samples(None))[:limit]
    others = [Street(seed) for seed in validation.SEEDS][:limit]
    chosen = SHARPNESS * Segmenter(backbone).settings.logit_scale
    with tqdm(total=len(ATTENTIONS) * len(streets) + len(others), unit='street',
              disable=None) as progress:
        attentions = {
            name: _Score.of(_play(Segmenter(backbone, name), streets, [(VOCABULARY, chosen)],
                                  progress)[VOCABULARY, chosen])
            for name in ATTENTIONS}
        ways = [(negatives, scale) for negatives in (VOCABULARY, CANONICAL)
                for scale in SCALES]
        found = _play(Segmenter(backbone), others, ways, progress)
    return {
        'kind': 'pointing', 'dataset': DEMO.name, 'title': DEMO.title, 'streets': len(streets),
        'streets_to_choose_by': len(others), 'model': backbone.name, 'weights': backbone.identity,
        'scale': chosen, 'least_pixels': LEAST_PIXELS, 'machine': machine(),
        'command': command,
        'attentions': {name: {'mean': score.mean, 'classes': score.classes,
                              'counts': score.counts} for name, score in attentions.items()},
        'choices': [{'negatives': negatives, 'scale': scale,
                     'mean': _Score.of(trials).mean, 'thresholds': _thresholds(trials)}
                    for (negatives, scale), trials in found.items()]}


@dataclass(frozen=True)
class _Trial:
    """
    A phrase and a street: whether it is there, and what of it was found.

    `hit` tells whether the strongest spot lies on it; `iou` and `alarm`, of each of THRESHOLDS,
    how well the regions cover it, and whether there are any.
    """

    phrase: str
    present: bool
    hit: bool
    iou: tuple[float, ...]
    alarm: tuple[bool, ...]


@dataclass(frozen=True)
class _Score:
    """Shares of hits by class, of how many trials, and their mean."""

    classes: dict[str, float]
    counts: dict[str, int]
    mean: float

    @classmethod
    def of(cls, trials: Sequence[_Trial]) -> '_Score':
        hits: dict[str, list[bool]] = {}
        for trial in trials:
            if trial.present:
                hits.setdefault(trial.phrase, []).append(trial.hit)
        classes = {name: float(np.mean(values)) for name, values in hits.items()}
        return cls(classes, {name: len(values) for name, values in hits.items()},
                   float(np.mean(list(classes.values()))))


def _thresholds(trials: Sequence[_Trial]) -> list[dict[str, float | None]]:
    """Return what each of THRESHOLDS lets through."""
    present = [trial.iou for trial in trials if trial.present]
    absent = [trial.alarm for trial in trials if not trial.present]
    return [{'threshold': threshold, 'iou': float(np.mean([iou[index] for iou in present])),
             'false_alarms': (float(np.mean([alarm[index] for alarm in absent]))
                              if absent else None)}
            for index, threshold in enumerate(THRESHOLDS)]


def _play(segmenter: Segmenter, streets: Sequence[Sample], ways: Sequence[tuple[str, float]],
          progress: tqdm) -> dict[tuple[str, float], list[_Trial]]:
    """Look for every class on every street in some ways: negatives and scale."""
    trials: dict[tuple[str, float], list[_Trial]] = {way: [] for way in ways}
    words = segmenter.encode(DEMO.words())
    for street in streets:
        rgb, truth = street.read()
        features = segmenter.features(
            segmenter.pixels([rgb], segmenter.settings), segmenter.settings)
        for negatives, scale in ways:
            beside = words if negatives == VOCABULARY else None
            heats = _heats(segmenter, features, beside, words.vocabulary.names, truth.shape,
                           replace(segmenter.settings, logit_scale=scale / SHARPNESS))
            trials[negatives, scale] += [
                _trial(phrase, heat, truth == class_id)
                for class_id, (phrase, heat) in enumerate(heats)]
        progress.update()
    return trials


@torch.inference_mode()
def _heats(segmenter: Segmenter, features: Tensor, words: Words | None, phrases: Sequence[str],
           size: tuple[int, ...], settings: ResolvedSettings) -> Iterator[tuple[str, np.ndarray]]:
    """Yield phrases and their relevancy (H, W) float32."""
    for start in range(0, len(phrases), MAX_PHRASES):
        sought = segmenter.seek(phrases[start:start + MAX_PHRASES], words)
        planes, = segmenter.relevancy(features, words, sought, size, settings)
        yield from zip(sought.phrases, planes[:, :].cpu().numpy())


def _trial(phrase: str, heat: np.ndarray, there: np.ndarray) -> _Trial:
    found = [heat >= threshold for threshold in THRESHOLDS]
    return _Trial(
        phrase, int(there.sum()) >= LEAST_PIXELS, bool(there.flat[heat.argmax()]),
        tuple(float((mask & there).sum() / max((mask | there).sum(), 1)) for mask in found),
        tuple(bool(mask.any()) for mask in found))


if __name__ == '__main__':
    sys.exit(main())
