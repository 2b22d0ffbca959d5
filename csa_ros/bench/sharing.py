"""
Whole recordings: by one process, by several with shards, and by the workers of a cluster of Ray.

All have as many cores. What is compared is how fast they are when all are at work; how long they
take until then is told beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import sys
import time

from csa_ros.bench import stages
from csa_ros.bench.timing import expect
from csa_ros.process.threads import usable_threads
import numpy as np
from tqdm import tqdm

MODEL = 'demo'
# Small, so that whatever is not segmenting has the larger share.
SIZE = (320, 240)
ALONE, SHARDS, RAY = 'one process', 'shards', 'Ray'
_TOOL = (sys.executable, '-m', 'csa_ros.tools.segment_bag')


@dataclass(frozen=True)
class Case:
    """A way to share the work: ALONE, SHARDS or RAY, by so many workers of `cores` together."""

    way: str
    workers: int
    cores: int

    def commands(self, bag: Path, out: Path, images: int) -> list[list[str]]:
        """Return what to run at the same time for parts of so many images."""
        command = [*_TOOL, str(bag), str(out), '--model', MODEL, '--device', 'cpu',
                   '--part-images', str(images)]
        if self.way == SHARDS:
            return [[*command, '--shard', f'{number}/{self.workers}']
                    for number in range(self.workers)]
        if self.way == RAY:
            return [[*command, '--ray', 'local', '--ray-workers', str(self.workers),
                     '--ray-cpus', str(self.cores / self.workers)]]
        return [command]

    @property
    def threads(self) -> int:
        """Return how many threads what runs may use; Ray shares them out itself."""
        return self.cores if self.way == RAY else max(self.cores // self.workers, 1)


def missing() -> str:
    """Return what is missing for a cluster of this machine; nothing if all is there."""
    return '' if find_spec('ray') else 'ray is not installed'


def measure(folder: Path, workers: Sequence[int], images: int, rounds: int,
            progress: tqdm | None = None) -> dict:
    """
    Segment a recording by each case in turn, `rounds` times; the result is for JSON.

    `images` are those of a part, of which there are four for each of the most `workers`. Each of
    the `cases` has the median `rate` in images a second when all are at work, the `ratio` to one
    process of the same round, and the seconds of `start` until then. Raises RuntimeError if a
    command fails.
    """
    cores = usable_threads()
    cases = [Case(ALONE, 1, cores), Case(SHARDS, workers[0], cores),
             *(Case(RAY, count, cores) for count in workers)]
    parts = 4 * max(workers)
    bag = stages.record(folder / 'whole', stages.JPEG, stages.pictures(SIZE), parts * images)
    expect(progress, rounds * len(cases))
    found: dict[Case, list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case].append(_run(case, bag, folder / 'out', images))
            if progress is not None:
                progress.update()
    rates = {case: np.array([rate for rate, _ in runs]) for case, runs in found.items()}
    alone = rates[cases[0]]
    return {'model': MODEL, 'width': SIZE[0], 'height': SIZE[1], 'cores': cores,
            'images': parts * images, 'parts': parts, 'rounds': rounds, 'cases': [{
                'way': case.way, 'workers': case.workers,
                'rate': float(np.median(rates[case])),
                'ratio': float(np.median(rates[case] / alone)),
                'start': float(np.median([start for _, start in found[case]]))}
                for case in cases]}


def rate_and_start(begun: float, ended: Sequence[float], workers: int, images: int
                   ) -> tuple[float, float]:
    """
    Return the images a second when all workers are at work, and the seconds until then.

    `ended` is when each part was done, and `begun` when the command was given, in seconds. The
    first part of each worker, with which it starts, is not counted.
    """
    times = sorted(ended)
    rate = images * (len(times) - workers) / (times[-1] - times[workers - 1])
    return rate, times[-1] - begun - images * len(times) / rate


def _run(case: Case, bag: Path, out: Path, images: int) -> tuple[float, float]:
    shutil.rmtree(out, ignore_errors=True)
    commands = case.commands(bag, out, images)
    begun = time.time()
    processes = [subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'OMP_NUM_THREADS': str(case.threads)}) for command in commands]
    said = [process.communicate()[1] for process in processes]
    for command, process, text in zip(commands, processes, said):
        if process.returncode:
            raise RuntimeError(f'{shlex.join(command)} has failed: {text.strip()[-500:]}')
    return rate_and_start(begun, [path.stat().st_mtime for path in out.glob('*.mcap')],
                          case.workers, images)
