"""
What may end while a recording is labelled on a cluster: workers, machines, the one who asked.

A cluster of two nodes labels a recording three times. The first time one of the workers is killed
(SIGKILL) every few seconds; the second time the process that has asked for the work, which is then
started again; the third time a node goes away as if unplugged, and another comes. Each time the
result must be, byte for byte, what one process makes.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import time

from csa_ros.bags.workspace import COMPLETE
from csa_ros.bench import stages
import psutil
from ray.cluster_utils import Cluster
from remote import StressError
from report import Report
from report import run
from tqdm import tqdm

SIZE = (320, 240)
NODES = 2
# Longer than any of the three may take.
TIMEOUT = 3600.0
_WORDS = 'sky, road, building, tree, car'
_MEMORY = 100 * 1024 ** 2


class Work:
    """The command that labels the recording, in a folder of its own, and what it leaves there."""

    def __init__(self, bag: Path, folder: Path, options: argparse.Namespace, *more: str) -> None:
        self.out = folder / 'out'
        self._log = folder / 'log'
        self._all = -(-options.images // options.part_images)
        self._arguments = [str(bag), str(self.out), '--vocabulary', _WORDS, '--model', 'demo',
                           '--part-images', str(options.part_images), *more]
        folder.mkdir()

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen]:
        """Start the command; end it with the block if it still runs."""
        with self._log.open('a') as log:
            process = subprocess.Popen([sys.executable, '-m', 'csa_ros.tools.segment_bag',
                                        *self._arguments], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def parts(self) -> int:
        """Return how many parts are done."""
        if (self.out / COMPLETE).exists():
            return self._all
        return sum(path.name.isdecimal() for path in (self.out / '.parts').glob('*'))

    @property
    def said(self) -> str:
        """Return the end of what the command has said."""
        return self._log.read_text()[-2000:]

    def tree(self) -> dict[str, bytes]:
        """Return all files of the result."""
        return {str(path.relative_to(self.out)): path.read_bytes()
                for path in sorted(self.out.rglob('*')) if path.is_file()}


def workers(address: str) -> list[psutil.Process]:
    """Return the processes of the cluster at an address that hold a model."""
    found = []
    for process in psutil.process_iter():
        try:
            parent = process.parent()
            if (process.name().startswith('ray::_Process') and parent
                    and f'--gcs-address={address}' in ' '.join(parent.cmdline())):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait(process: subprocess.Popen, disturb: Callable[[], None], period: float) -> int:
    """Return the exit status of a process; call a function every `period` seconds meanwhile."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return process.wait(period)
        except subprocess.TimeoutExpired:
            disturb()
        if time.monotonic() > deadline:
            raise StressError(f'the work did not end within {TIMEOUT:.0f} s')


def kill_workers(work: Work, address: str, options: argparse.Namespace, report: Report) -> None:
    """Have a worker killed every period."""
    rng, killed = random.Random(0), 0

    def kill() -> None:
        nonlocal killed
        alive = workers(address)
        if alive:
            rng.choice(alive).kill()
            killed += 1

    with work.started() as process:
        status = wait(process, kill, options.period)
    report.figures['workers killed'] = killed
    report.expect(status == 0, f'exit status {status} after workers were killed: {work.said}')


def kill_drivers(work: Work, options: argparse.Namespace, report: Report) -> None:
    """Have the process that asks killed, again and again, until one has time enough."""
    killed, lost, status = 0, 0, None
    while status is None:
        before = work.parts
        with work.started() as process:
            try:
                # Each has longer than the one before, so that there is an end.
                status = process.wait(options.period * (1 + killed / 2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
                lost += max(before - work.parts, 0)
        if killed * options.period > TIMEOUT:
            raise StressError(f'{killed} starts did not do the work')
    report.figures['times that the one who asked was killed'] = killed
    report.figures['parts lost with it'] = lost
    report.expect(status == 0, f'exit status {status} after a new start: {work.said}')
    report.expect(lost == 0, f'{lost} parts that were done had to be done again')


def unplug(work: Work, cluster: Cluster, nodes: list, options: argparse.Namespace, report: Report
           ) -> None:
    """Have a node go away and another come, once every period."""
    gone = 0

    def swap() -> None:
        nonlocal gone
        if gone < options.nodes_gone:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=_MEMORY))
            gone += 1

    with work.started() as process:
        status = wait(process, swap, options.period)
    report.figures['nodes unplugged'] = gone
    report.expect(status == 0, f'exit status {status} after a node was unplugged: {work.said}')


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Label the recording on one process, and three times on a cluster."""
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bag = stages.record(folder / 'bag', stages.RAW, stages.pictures(SIZE), options.images)
        progress.set_description('one process')
        alone = Work(bag, folder / 'alone', options)
        with alone.started() as process:
            report.expect(wait(process, lambda: None, TIMEOUT) == 0, alone.said)
        expected = alone.tree()
        report.figures['images'] = options.images
        report.figures['files of the result'] = len(expected)
        # The head, where the one who asks is, holds no worker and stays.
        cluster = Cluster(initialize_head=True, head_node_args={
            'num_cpus': 0, 'include_dashboard': False, 'object_store_memory': _MEMORY})
        try:
            nodes = [cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
                     for _ in range(NODES)]
            for what, disturb in (
                    ('workers', lambda work: kill_workers(
                        work, cluster.address, options, report)),
                    ('drivers', lambda work: kill_drivers(work, options, report)),
                    ('nodes', lambda work: unplug(work, cluster, nodes, options, report))):
                if what not in options.end:
                    continue
                progress.set_description(what)
                work = Work(bag, folder / what, options, '--ray', cluster.address)
                disturb(work)
                report.expect(work.tree() == expected,
                              f'{what}: the result is not that of one process')
        finally:
            cluster.shutdown()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this run."""
    parser.add_argument('--images', type=int, default=600)
    parser.add_argument('--part-images', type=int, default=10)
    parser.add_argument('--period', type=float, default=20.0,
                        help='seconds between two ends (default: %(default)s)')
    parser.add_argument('--nodes-gone', type=int, default=2,
                        help='how many nodes are unplugged (default: %(default)s)')
    parser.add_argument('--end', nargs='+', choices=('workers', 'drivers', 'nodes'),
                        default=['workers', 'drivers', 'nodes'], help='what ends (default: all)')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
