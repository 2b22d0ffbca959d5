"""Recordings on a cluster: each part of each is a piece of work."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import socket

from csa_ros.bags import run
from csa_ros.bags.errors import BagError
from csa_ros.bags.jobs import Job
from csa_ros.bags.jobs import Request
from csa_ros.bags.loading import load
from csa_ros.bags.progress import Progress
from csa_ros.bags.reading import Recording
from csa_ros.cluster import rates
from csa_ros.cluster.board import NodeWork
from csa_ros.cluster.board import Reporter
from csa_ros.cluster.pool import Pool
from csa_ros.cluster.resources import Share
from csa_ros.process.threads import set_threads
import ray

_SECOND = 1e-9


@dataclass(frozen=True)
class Failure:
    """A part that could not be made, and why; the next run of the same command tries it again."""

    task: run.Task
    part: int
    reason: str

    def __str__(self) -> str:
        job = self.task.job
        start, end = (f'{(time - job.start) * _SECOND:.1f}' for time in run.span(job, self.part))
        return (f'{job.bag}: part {self.part} of 0 to {len(job.parts) - 1}, from {start} to {end} '
                f's, failed: {self.reason}')


def make(tasks: Sequence[run.Task], request: Request, share: Share, say: Callable[[str], None]
         ) -> list[Failure]:
    """
    Make the parts of all tasks, and put complete results together; return what failed.

    This process is connected to the cluster of which each worker takes its `share`. Raises
    `csa_ros.cluster.errors.ClusterError` if it is left without workers; the parts made until then
    stay.
    """
    pieces, parts = [], []
    for task in tasks:
        if task.parts:
            task.workspace.begin()
        shared = ray.put(replace(task, parts=[]))
        pieces += [(shared, index) for index in task.parts]
        parts += [(task, index) for index in task.parts]
    spans = [run.span(task.job, index) for task, index in parts]
    config = request.config
    model = replace(config.model, device=share.device(config.model.device))
    placed = replace(request, config=replace(config, model=model))
    failures = []
    with Progress(sum(end - start for start, end in spans) * _SECOND) as progress:
        def show(nodes: list[NodeWork]) -> None:
            progress.show(sum(node.images for node in nodes),
                          sum(node.amount for node in nodes), rates.by_node(nodes))

        pool = Pool(_Worker, [placed, share.threads], share, show, say)
        for outcome in pool.run(pieces):
            if outcome.failure:
                failures.append(Failure(*parts[outcome.number], outcome.failure))
    say(f'{progress.images} images labelled, {progress.rate:.1f} a second')
    for line in rates.lines(pool.nodes):
        say(f'  {line}')
    return failures


class _Worker:
    """Labels parts with a model of its own."""

    def __init__(self, request: Request, threads: int) -> None:
        set_threads(threads)
        self._labeller = load(request)
        self._recording: Recording | None = None

    def work(self, progress: Reporter, task: run.Task, index: int) -> None:
        """Make a part; whichever is the last of its recording puts the result together."""
        if not task.workspace.begun:
            raise BagError(
                f'{task.job.out} is not what {socket.gethostname()} sees there: it must be in a '
                'folder that all nodes share, under the same name, or at a URL such as s3://')
        run.make_parts(replace(task, parts=[index]), self._open(task.job), self._labeller,
                       progress)
        run.finish(task)

    def _open(self, job: Job) -> Recording:
        """Return the recording of a job; the last is kept open, as others of its parts follow."""
        if self._recording is None or self._recording.path != job.bag:
            if self._recording:
                self._recording.__exit__()
            self._recording = None
            self._recording = Recording(job.bag, job.survey)
        return self._recording
