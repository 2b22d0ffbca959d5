"""Compares ways to segment one data set: attentions, refinement, windows, prompts and sizes."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import machine
from csa_ros.choices import DENOISE
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.benchmark import Sample
from csa_ros.evaluation.datasets.protocol import Method
from csa_ros.evaluation.datasets.reading import Picture
from csa_ros.evaluation.records import digest
from csa_ros.evaluation.report.result import percent
from csa_ros.evaluation.report.result import summarise
from csa_ros.evaluation.report.sheet import Panel
from csa_ros.evaluation.report.sheet import sheet
from csa_ros.evaluation.run import make_task
from csa_ros.evaluation.run import run
from csa_ros.evaluation.run import Task
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.attention.methods import RESIDUAL
from csa_ros.model.backbone import Backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import TEMPLATES
from csa_ros.settings import INFERENCE
from csa_ros.settings import REFINE
from csa_ros.settings import ResolvedSettings
import numpy as np

# Of the short side that the benchmark or the model asks for.
_SIZES = (0.5, 0.75, 1.25)
_ROUNDS = 5
# Some hundred megabytes.
_MOST_REMEMBERED = 100
_PANELS_IN_ROW = 3


@dataclass(frozen=True)
class Variant:
    """One way to segment, and the question that it belongs to."""

    group: str
    name: str
    method: Method


class Remembered:
    """A sample that need not be read again; a `Sample`. Of those with one `store`, the first."""

    def __init__(self, sample: Sample, store: dict[str, Picture]) -> None:
        self.name = sample.name
        self._sample = sample
        self._store = store

    def read(self) -> Picture:
        """Return what the sample returns."""
        if self.name in self._store:
            return self._store[self.name]
        read = self._sample.read()
        if len(self._store) < _MOST_REMEMBERED:
            self._store[self.name] = read
        return read


def variants(settings: ResolvedSettings, backbone: Backbone, base: Method) -> list[Variant]:
    """
    Return what is compared, the base first: each differs from it in one thing.

    `settings` are those of the base.
    """
    # Not those that other attentions are published with.
    base = replace(base, overrides=asdict(settings))

    def changed(**overrides: Any) -> Method:
        return replace(base, overrides={**base.overrides, **overrides})

    # What others do with the residual connection is their own.
    free = replace(base, residual='auto')
    refined = replace(changed(refine='pamr'), residual='auto')
    attentions = [base.attention, *(name for name in ATTENTION if name != base.attention)]
    patch = backbone.patch_size
    rounded = [round(settings.short_side * size / patch) * patch for size in _SIZES]
    sides = sorted({settings.short_side, *(side for side in rounded if side >= settings.crop)})
    return [
        Variant('attention', base.attention, base),
        *(Variant('attention', name, replace(free, attention=name)) for name in attentions[1:]),
        *(Variant('attention, pamr', name, replace(refined, attention=name))
          for name in attentions),
        *(Variant('residual', name, replace(base, residual=name)) for name in RESIDUAL
          if name != 'auto'),
        *(Variant('refine', name, changed(refine=name)) for name in REFINE),
        *(Variant('inference', name, changed(inference=name)) for name in INFERENCE),
        *(Variant('denoise', f'{share:g}', changed(denoise=share)) for share in (0.0, DENOISE)),
        *(Variant('prompts', name, replace(base, prompts=name)) for name in TEMPLATES),
        *(Variant('short side', f'{side}', changed(short_side=side)) for side in sides)]


def compare(benchmark: Benchmark, root: Path | None, limit: int | None, backbone: Backbone,
            base: Method, out: Path, workers: int, command: str
            ) -> tuple[dict[str, Any], np.ndarray]:
    """
    Evaluate every variant, each resumable by itself.

    Arguments and errors are those of `csa_ros.evaluation.run.make_task` and `run`. Returns the
    figures, of what JSON can hold, and a sheet (H, W, 3) uint8 that shows one picture as each
    attention labels it. Times are the shortest of several rounds, in turn, with that picture: the
    least disturbed by what else the machine does.
    """
    store: dict[str, Picture] = {}
    samples = [Remembered(sample, store) for sample in benchmark.samples(root)]
    benchmark = replace(benchmark, samples=lambda _: samples)
    start = make_task(benchmark, root, limit, backbone, base)
    chosen, tasks, results, left_out = [], [], [], {}
    for variant in variants(start.settings, backbone, base):
        name = f'{variant.group}: {variant.name}'
        try:
            task = make_task(benchmark, root, limit, backbone, variant.method)
        except (ModelError, ValueError) as error:
            # Not every tower can have every attention.
            left_out[name] = str(error)
            continue
        chosen.append(variant)
        tasks.append(task)
        results.append(summarise(task, run(task, out, workers, name=name), command))
    rgb, _ = _median(tasks[0], results[0]).read()
    # The base, which is in every group, is timed once.
    keys = [digest(task.identity) for task in tasks]
    times = alternate({key: partial(task.labels, rgb) for key, task in zip(keys, tasks)}, _ROUNDS)
    rows = [
        {'group': variant.group, 'variant': variant.name, 'miou': result['miou'],
         'pixel_accuracy': result['pixel_accuracy'], 'ms': 1e3 * min(times[key].seconds),
         'iou': {entry['name']: entry['iou'] for entry in result['classes']}}
        for variant, key, result in zip(chosen, keys, results)]
    document = {'kind': 'comparison', 'dataset': benchmark.name, 'title': benchmark.title,
                'segmented': len(tasks[0].samples), 'total': tasks[0].total,
                'method': tasks[0].identity, 'machine': machine(), 'command': command,
                'rounds': _ROUNDS, 'rows': rows, 'left_out': left_out}
    return document, _sheet(chosen, tasks, results)


def _median(task: Task, result: Mapping[str, Any]) -> Sample:
    """Return the sample whose score is in the middle: neither a good one nor a bad one."""
    known = {name: score for name, score in result['pictures'].items() if score is not None}
    name = sorted(known, key=lambda name: known[name])[len(known) // 2]
    return next(sample for sample in task.samples if sample.name == name)


def _sheet(chosen: Sequence[Variant], tasks: Sequence[Task], results: Sequence[Mapping[str, Any]]
           ) -> np.ndarray:
    sample = _median(tasks[0], results[0])
    rgb, truth = sample.read()
    panels = [Panel(sample.name, rgb), Panel('truth', rgb, truth)]
    for variant, task, result in zip(chosen, tasks, results):
        if variant.group == 'attention':
            panels.append(Panel(f"{variant.name}: mIoU {percent(result['miou'])}", rgb,
                                task.labels(rgb)))
    rows = [panels[start:start + _PANELS_IN_ROW]
            for start in range(0, len(panels), _PANELS_IN_ROW)]
    return sheet(rows, tasks[0].words.vocabulary, one_key=True)
