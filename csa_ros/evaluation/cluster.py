"""Data sets on a cluster: some pictures of each at a time are a piece of work."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
import socket
import sys
from typing import Any

from csa_ros.cluster import rates
from csa_ros.cluster.board import NodeWork
from csa_ros.cluster.board import Reporter
from csa_ros.cluster.pool import Pool
from csa_ros.cluster.resources import Share
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.protocol import Asked
from csa_ros.evaluation.report import output
from csa_ros.evaluation.run import make_task
from csa_ros.evaluation.run import pictures
from csa_ros.evaluation.run import run
from csa_ros.evaluation.run import Task
from csa_ros.model.backbone import load_backbone
from csa_ros.process.threads import set_threads
from csa_ros.shards import Shard
from tqdm import tqdm

# Pictures of a piece of work: seconds on a GPU, half a minute on a core.
_PIECE = 32
_MARK = '.cluster'


@dataclass(frozen=True)
class Request:
    """
    What is asked for, whatever the data set.

    `root`, `limit` and `out` are those of `csa_ros.evaluation.run`, `model`, `device` and
    `precision` those of `load_backbone`, and `command` and `worst` those of
    `csa_ros.evaluation.report.output.write`.
    """

    root: Path | None
    limit: int | None
    out: Path
    model: str
    device: str
    precision: str
    asked: Asked
    command: str
    worst: int


@dataclass(frozen=True)
class Evaluated:
    """What a data set came to: its result and what could not be drawn, or why there is none."""

    benchmark: Benchmark
    result: dict[str, Any] | None = None
    unplotted: str = ''
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A share of the pictures of a data set, and how many these are."""

    benchmark: Benchmark
    shard: Shard
    pictures: int


def pieces(benchmark: Benchmark, request: Request) -> list[Piece]:
    """
    Return all pieces of a data set.

    They follow from its pictures alone, so that a run goes on with those of another. Raises
    BenchmarkError.
    """
    chosen, _ = pictures(benchmark, request.root, request.limit)
    count = -(-len(chosen) // _PIECE)
    return [Piece(benchmark, Shard(index, count), len(chosen[index::count]))
            for index in range(count)]


def evaluate(work: Sequence[Piece], request: Request, share: Share, say: Callable[[str], None]
             ) -> list[Evaluated]:
    """
    Have all pieces done, and return what each data set came to.

    This process is connected to the cluster of which each worker takes its `share`, and the folder
    of results is there. Raises `csa_ros.cluster.errors.ClusterError` if it is left without
    workers; what was done stays.
    """
    found = {piece.benchmark.name: Evaluated(piece.benchmark) for piece in work}
    placed = replace(request, device=share.device(request.device))
    (request.out / _MARK).touch()
    with tqdm(total=sum(piece.pictures for piece in work), unit='picture',
              mininterval=0.1 if sys.stderr.isatty() else 60) as progress:
        def show(nodes: list[NodeWork]) -> None:
            progress.set_postfix_str(rates.by_node(nodes), refresh=False)
            # Those that were there before count as done at once.
            progress.update(sum(node.amount for node in nodes) - progress.n)

        pool = Pool(_Worker, [placed, share.threads], share, show, say)
        for outcome in pool.run([(piece,) for piece in work]):
            piece = work[outcome.number]
            name = piece.benchmark.name
            if outcome.failure:
                found[name] = replace(found[name], failures=(*found[name].failures, (
                    f'{piece.benchmark.title}: part {piece.shard.index} of 0 to '
                    f'{piece.shard.count - 1} failed: {outcome.failure}')))
            elif outcome.result:
                result, unplotted = outcome.result
                found[name] = replace(found[name], result=result, unplotted=unplotted)
    for line in rates.lines(pool.nodes):
        say(f'  {line}')
    return list(found.values())


class _Worker:
    """Segments pictures with a model of its own."""

    def __init__(self, request: Request, threads: int) -> None:
        set_threads(threads)
        self._request = request
        self._backbone = load_backbone(request.model, request.device, request.precision)
        self._tasks: dict[str, Task] = {}

    def work(self, progress: Reporter, piece: Piece) -> tuple[dict[str, Any], str] | None:
        """Segment a share of pictures; whichever is the last of a data set sums it up."""
        request = self._request
        if not (request.out / _MARK).exists():
            raise BenchmarkError(
                f'{request.out} is not what {socket.gethostname()} sees there: --out must be a '
                'folder that all nodes share, under the same name')
        task = self._task(piece.benchmark)
        records = run(task, request.out, shard=piece.shard, reporter=progress)
        if len(records) < len(task.samples):
            return None
        return output.write(task, records, request.out, request.command, request.worst)

    def _task(self, benchmark: Benchmark) -> Task:
        if benchmark.name not in self._tasks:
            method = self._request.asked.method(self._backbone)
            self._tasks[benchmark.name] = make_task(
                benchmark, self._request.root, self._request.limit, self._backbone, method)
        return self._tasks[benchmark.name]
