"""Times and weighs the paths from a frame to labels, stage by stage and in turn."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace
from functools import partial

from csa_ros.bench import inputs
from csa_ros.bench.plain import PlainPath
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import peak_memory
from csa_ros.bench.timing import Timing
from csa_ros.labels.decide import Decision
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
from csa_ros.settings import Settings
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

STAGES = ('upload', 'encode', 'decide', 'download')


@dataclass(frozen=True, eq=False)
class Path:
    """One way from a frame to labels: `plain`, `exact` or `whole`, at one precision."""

    name: str
    precision: str
    segmenter: Segmenter
    stages: Segmenter | PlainPath
    settings: ResolvedSettings


@dataclass(frozen=True)
class Count:
    """How many classes a vocabulary has, and how many queries."""

    classes: int
    queries: int


def make_paths(segmenter: Segmenter, precision: str) -> list[Path]:
    """Return the plain path, the exact one, and that which is faster and not exact."""
    slide = segmenter.resolve(Settings())
    return [Path('plain', precision, segmenter, PlainPath(segmenter), slide),
            Path('exact', precision, segmenter, segmenter, slide),
            Path('whole', precision, segmenter, segmenter, replace(slide, inference='whole'))]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads while the block runs; ValueError for less than 1."""
    if count < 1:
        raise ValueError(f'threads is {count}: it must be at least 1')
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Bench:
    """
    All paths on one frame of the demo.

    `paths` come from `make_paths`, those of the first precision first; the plain path of that one
    is what labels are compared with. `size` is (width, height). `spread` is for towers of random
    weights, see `csa_ros.bench.inputs.spread`.

    The encoder knows nothing of classes, and what follows it nothing of its precision, so that
    each is timed once and belongs to many rows.
    """

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], counts: Sequence[Count],
                 spread: bool) -> None:
        self._paths = paths
        self._size = size
        self._counts = counts
        self._rgb = inputs.street(0, size).rgb
        self._pixels = {path: self._upload(path) for path in paths}
        self._features = {path: self._encode(path) for path in paths}
        self._words = {(path, count): self._make_words(path, count, spread)
                       for path in paths for count in counts}
        self._decisions = {case: self._decide(*case) for case in self._words}

    def rows(self, rounds: int, progress: tqdm | None = None) -> list[dict]:
        """
        Time and weigh every stage; return a row for each class count and path, for JSON.

        Times are in ms, memory in bytes. `total` is from pixels in host memory to labels in host
        memory: on a CPU the sum of the stages, on a GPU what `segment` takes, which may run them
        as one. `ratio` is the plain path's median over this one's, at the same precision and class
        count, and `rest_ratio` that of all but the encoder. `equal` is the share of labels that
        are those of the plain path at the first precision. `encode_memory` is None for a runtime
        that keeps its memory from frame to frame, so that the process does not grow.
        """
        calls = self._calls(STAGES)
        if self._paths[0].segmenter.device.type == 'cuda':
            calls.update(self._whole_calls())
        timings = alternate(calls, rounds, progress)
        memory = self._memory(self._calls(('encode', 'decide')), progress)
        rows = [{**self._row(path, count),
                 'total': self._total(path, count, timings).to_dict(),
                 **{stage: timings[_key(path, stage, count)].median_ms for stage in STAGES},
                 'encode_memory': (None if path.segmenter.backbone.quantized else
                                   memory[_key(path, 'encode', count)]),
                 'decide_memory': memory[_key(path, 'decide', count)]}
                for count in self._counts for path in self._paths]
        _add_ratios(rows)
        return rows

    def decision_rows(self, rounds: int, progress: tqdm | None = None) -> list[dict]:
        """Return the same for merge and decision alone, at the first precision."""
        calls = self._calls(('decide',))
        timings = alternate(calls, rounds, progress)
        memory = self._memory(calls, progress)
        return [{**self._row(path, count),
                 'decide': timings[_key(path, 'decide', count)].to_dict(),
                 'decide_memory': memory[_key(path, 'decide', count)]}
                for count in self._counts for path in self._paths
                if path.precision == self._paths[0].precision]

    def _upload(self, path: Path) -> Tensor:
        return path.stages.pixels([self._rgb], path.settings)

    def _encode(self, path: Path) -> Tensor:
        return path.stages.features(self._pixels[path], path.settings)

    def _make_words(self, path: Path, count: Count, spread: bool) -> Words:
        words = inputs.encode(path.segmenter, count.classes, count.queries)
        return inputs.spread(words, self._features[self._paths[0]]) if spread else words

    def _decide(self, path: Path, count: Count) -> Decision:
        return path.stages.decide(self._features[path], self._words[path, count],
                                  self._rgb.shape[:2], path.settings)

    def _download(self, path: Path, count: Count) -> tuple[np.ndarray, np.ndarray]:
        decision = self._decisions[path, count]
        return decision.labels.cpu().numpy(), decision.confidence.cpu().numpy()

    def _segment(self, path: Path, count: Count) -> Result:
        return path.stages.segment(self._rgb, self._words[path, count], path.settings)

    def _calls(self, stages: Sequence[str]) -> dict[tuple, Callable[[], object]]:
        calls: dict[tuple, Callable[[], object]] = {}
        for path in self._paths:
            for count in self._counts:
                each: dict[str, Callable[[], object]] = {
                    'upload': partial(self._upload, path),
                    'encode': partial(self._encode, path),
                    'decide': partial(self._decide, path, count),
                    'download': partial(self._download, path, count)}
                for stage in stages:
                    calls.setdefault(_key(path, stage, count), each[stage])
        return calls

    def _whole_calls(self) -> dict[tuple, Callable[[], object]]:
        return {(path, count): partial(self._segment, path, count)
                for path in self._paths for count in self._counts}

    def _total(self, path: Path, count: Count, timings: Mapping[tuple, Timing]) -> Timing:
        if (path, count) in timings:
            return timings[path, count]
        stages = [timings[_key(path, stage, count)].seconds for stage in STAGES]
        return Timing([sum(round_) for round_ in zip(*stages)])

    def _memory(self, calls: Mapping[tuple, Callable[[], object]], progress: tqdm | None
                ) -> dict[tuple, int | None]:
        expect(progress, len(calls))
        memory = {}
        for key, call in calls.items():
            memory[key] = peak_memory(call, self._paths[0].segmenter.device)
            if progress is not None:
                progress.update()
        return memory

    def _row(self, path: Path, count: Count) -> dict:
        width, height = self._size
        labels, reference = (self._labels(case, count) for case in (path, self._paths[0]))
        return {'width': width, 'height': height, 'classes': count.classes,
                'queries': count.queries, 'path': path.name, 'precision': path.precision,
                'windows': len(self._features[path]),
                'equal': float((labels == reference).mean())}

    def _labels(self, path: Path, count: Count) -> np.ndarray:
        if path.segmenter.device.type == 'cuda':
            return self._segment(path, count).labels
        return self._download(path, count)[0][0]


def _key(path: Path, stage: str, count: Count) -> tuple:
    """Return what tells calls apart: the paths and class counts that share one share a key."""
    if stage in ('upload', 'encode'):
        return path.name, path.precision, stage
    return path.name, count, stage


def _add_ratios(rows: Sequence[dict]) -> None:
    plain = {(row['classes'], row['queries'], row['precision']): row
             for row in rows if row['path'] == 'plain'}
    for row in rows:
        base = plain[row['classes'], row['queries'], row['precision']]
        row['ratio'] = base['total']['median_ms'] / row['total']['median_ms']
        row['rest_ratio'] = _rest(base) / _rest(row)


def _rest(row: dict) -> float:
    return row['upload'] + row['decide'] + row['download']
