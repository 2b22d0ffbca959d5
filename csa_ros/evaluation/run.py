"""Segments the pictures of a data set and counts, going on where another run has ended."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import hashlib
import json
from pathlib import Path
import sys
import time
from typing import Any

from csa_ros.cluster.board import Reporter
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.benchmark import Sample
from csa_ros.evaluation.datasets.protocol import Method
from csa_ros.evaluation.datasets.protocol import settings_for
from csa_ros.evaluation.datasets.published_groupvit import GROUPING
from csa_ros.evaluation.datasets.reading import read
from csa_ros.evaluation.records import digest
from csa_ros.evaluation.records import Record
from csa_ros.evaluation.records import Records
from csa_ros.labels.score import confusion
from csa_ros.model.backbone import Backbone
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
from csa_ros.shards import Shard
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import Kept
import numpy as np
from tqdm import tqdm


@dataclass(frozen=True)
class Task:
    """
    A data set and how it is segmented.

    `samples` are the pictures to segment, `total` is how many the data set has, and `pictures` a
    digest of the names of all of these.
    """

    benchmark: Benchmark
    samples: Sequence[Sample]
    total: int
    pictures: str
    segmenter: Segmenter
    method: Method
    settings: ResolvedSettings
    words: Words

    @property
    def identity(self) -> dict[str, Any]:
        """Return all that the result of a picture depends on, of what JSON can hold."""
        backbone = self.segmenter.backbone
        return {
            'dataset': self.benchmark.name,
            'pictures': self.pictures,
            'vocabulary': self.words.vocabulary.spec,
            'unknown_class': self.benchmark.unknown_class,
            'model': backbone.name,
            'weights': backbone.identity,
            'device': backbone.device.type,
            'precision': 'int8' if backbone.quantized else str(backbone.dtype),
            'attention': self.method.attention,
            'residual': self.method.residual,
            'prompts': list(self.words.prompts),
            **({'examples': self.method.kept.digest} if self.method.kept else {}),
            **asdict(self.settings),
        }

    def folder(self, out: Path) -> Path:
        """Return the folder of the results, which no other method has."""
        return out / self.benchmark.name / f'{self.method.attention}-{digest(self.identity)}'

    def labels(self, rgb: np.ndarray) -> np.ndarray:
        """Return what a picture (H, W, 3) uint8 shows, as it counts: class ids (H, W) uint8."""
        return self.benchmark.counted(
            self.segmenter.segment(rgb, self.words, self.settings).labels)


def make_task(benchmark: Benchmark, root: Path | None, limit: int | None, backbone: Backbone,
              method: Method) -> Task:
    """
    Find the pictures of a data set and encode its words.

    `root` is the folder of data sets; `limit`, at least 1, asks for so many pictures, evenly
    spaced. Raises BenchmarkError, `csa_ros.model.errors.ModelError` for an attention that the
    tower cannot have, `csa_ros.model.text.PromptError`, and ValueError for settings that do not
    fit the model.
    """
    # Pictures of data sets have many sizes.
    segmenter = Segmenter(
        backbone, method.attention, residual=method.residual, capture=False)
    chosen, names = pictures(benchmark, root, limit)
    settings = segmenter.resolve(settings_for(benchmark, backbone, method))
    return Task(
        benchmark=benchmark,
        samples=chosen,
        total=len(names),
        pictures=hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        segmenter=segmenter,
        method=method,
        settings=settings,
        words=_words(benchmark, method, segmenter.encode(
            benchmark.words(), method.prompts,
            _examples(benchmark, segmenter, settings, method.kept))))


def pictures(benchmark: Benchmark, root: Path | None, limit: int | None
             ) -> tuple[Sequence[Sample], list[str]]:
    """
    Return the pictures of a data set to segment, and the names of all that it has.

    Arguments are those of `make_task`. Raises BenchmarkError.
    """
    samples = list(benchmark.samples(root))
    if not samples:
        raise BenchmarkError(f'{benchmark.title} has no pictures under {root}')
    names = [sample.name for sample in samples]
    if len(set(names)) < len(names):
        raise BenchmarkError(f'{benchmark.title} has pictures of the same name under {root}')
    return _spaced(samples, limit), names


def _words(benchmark: Benchmark, method: Method, words: Words) -> Words:
    """Return words as a method is published with them: GroupViT has none for the background."""
    if method.attention != GROUPING or benchmark.unknown_class is None:
        return words
    kept = words.query_class != benchmark.unknown_class
    cache = words.cache and replace(words.cache, values=words.cache.values[:, kept])
    return replace(words, features=words.features[kept], query_class=words.query_class[kept],
                   cache=cache)


def _examples(benchmark: Benchmark, segmenter: Segmenter, settings: ResolvedSettings,
              kept: Kept | None) -> Examples:
    """Return the examples that count for a data set; raise BenchmarkError."""
    if kept is None:
        return Examples()
    names = benchmark.words().names
    if not kept.examples.counts.keys() & set(names):
        raise BenchmarkError(
            f'{benchmark.title}: {kept.path} has no example of any of its classes, '
            f'{", ".join(names)}, but of {", ".join(kept.examples.counts) or "nothing"}: teach '
            'by these names')
    try:
        kept.check(segmenter.fingerprint(settings))
    except TeachingError as error:
        raise BenchmarkError(f'{benchmark.title}: {error}') from error
    return kept.examples


def run(task: Task, out: Path, workers: int = 0, shard: Shard = Shard(), name: str = '',
        reporter: Reporter | None = None) -> dict[str, Record]:
    """
    Segment the pictures that have no record yet; return the records of all, by picture.

    `out` is the folder of all results and `workers` the number of processes that read pictures.
    Of several processes with the same `out`, each does the share of its `shard`. `name` stands
    before the progress bar, in place of that of the data set; `reporter` is
    told of the pictures of the shard, in place of a bar. Fewer records are returned while pictures
    of other shards are missing. Raises BenchmarkError for a picture that cannot be read,
    `csa_ros.evaluation.records.RecordsError` and OSError; what was done until then stays.
    """
    records = Records(task.folder(out), task.identity, shard)
    done = records.read()
    mine = task.samples[shard.index::shard.count]
    missing = [sample for sample in mine if sample.name not in done]
    if reporter:
        reporter.advance(len(mine) - len(missing))
    if missing:
        made = _segment(task, missing, workers)
        with records.writing() as writer:
            for record in _told(made, reporter) if reporter else _shown(
                    made, len(missing), len(task.samples), name or task.benchmark.name):
                writer.add(record)
        done = records.read()
    return {sample.name: done[sample.name] for sample in task.samples if sample.name in done}


def _shown(made: Iterable[Record], missing: int, total: int, name: str) -> Iterator[Record]:
    """Show a bar of how many of all records there are."""
    yield from tqdm(made, total=total, initial=total - missing, desc=name, unit='picture',
                    # In a log a line now and then is enough.
                    mininterval=0.1 if sys.stderr.isatty() else 60)


def _told(made: Iterable[Record], reporter: Reporter) -> Iterator[Record]:
    """Tell of each record."""
    for record in made:
        yield record
        reporter.image()
        reporter.advance(1)


def _segment(task: Task, samples: Sequence[Sample], workers: int) -> Iterator[Record]:
    """Yield the record of each picture."""
    classes = len(task.words.vocabulary)
    for sample, (rgb, truth) in zip(samples, read(samples, workers)):
        start = time.perf_counter()
        labels = task.labels(rgb)
        seconds = time.perf_counter() - start
        yield Record.of(sample.name, confusion(truth, labels, classes), seconds)


def _spaced(samples: Sequence[Sample], limit: int | None) -> Sequence[Sample]:
    if limit is None or limit >= len(samples):
        return samples
    return [samples[index * len(samples) // limit] for index in range(limit)]
