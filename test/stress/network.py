"""
What a network between robots and the segment node costs, and what gets through it.

Robots on one machine send JPEGs of 1280 x 720 ten times a second; the node on another machine
segments them, and the labels go back. The machines are network namespaces of this one. Between
them are the delay, jitter, loss and rate of a link, and all bytes that pass are counted, those of
DDS included. Last, the link is cut for some seconds.

The node segments few of the images, so that it is the network that is measured: what reaches the
node is told by its diagnostics. Needs Linux, and root or namespaces for users.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
import itertools
import json
import os
from pathlib import Path
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from large_images import VARIABLES
from machines import Machine
from machines import machines
from relay import Conditions
from relay import CUT
from relay import Relay
from remote import LOG_TAIL
from remote import ROOT
from remote import START_TIMEOUT
from remote import StressError
from report import Report
from report import run
from tqdm import tqdm

# Nobody else is on these networks.
DOMAIN = 0
QUALITY, RATE = 80, 10.0
# Frames a second that the node segments, of all robots together.
NODE_RATE, SHORT_SIDE = 4.0, 112
# Seconds until all has found each other and buffers hold what they will.
SETTLING = 3.0
TARGET_ARRIVED, TARGET_BACK = 0.95, 10.0
# By name, both ways: half of the round trip, give or take, and the share of packets lost.
LINKS = {
    'no delay': Conditions(),
    '2 ms': Conditions(delay=0.002, jitter=0.0005),
    '10 ms, 1 % lost': Conditions(delay=0.010, jitter=0.003, loss=0.01),
    '40 ms, 1 % lost': Conditions(delay=0.040, jitter=0.010, loss=0.01),
    '100 ms, 3 % lost': Conditions(delay=0.100, jitter=0.020, loss=0.03),
    '10 ms, 1 % lost, 20 Mbit/s': Conditions(delay=0.010, jitter=0.003, loss=0.01, rate=20e6),
}
# What Fast DDS is told by its environment: nothing, one message a packet, or to use TCP.
TRANSPORTS = {
    'default': {},
    'profile': dict.fromkeys(VARIABLES, str(ROOT / 'config' / 'fastdds_network.xml')),
    'tcp': {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
}


class Case(NamedTuple):
    """
    How robots and node talk to each other.

    `labels` is the output that the robots listen to, `server` whether they find each other by a
    discovery server.
    """

    transport: str = 'profile'
    reliability: str = 'reliable'
    size: tuple[int, int] = (1280, 720)
    labels: str = 'labels/compressed'
    robots: int = 1
    server: bool = False

    def __str__(self) -> str:
        """Return what is special about it."""
        return ', '.join([
            self.transport, self.reliability.replace('_', ' '), f'{self.size[0]} x {self.size[1]}',
            *(['raw labels'] if self.labels == 'labels' else []),
            *([f'{self.robots} robots'] if self.robots > 1 else []),
            *(['discovery server'] if self.server else [])])


SMALL = Case(size=(640, 360))
SERVER = SMALL._replace(server=True)
DELAYS, WIFI = list(LINKS)[:5], '10 ms, 1 % lost'
# What is measured, and over which links.
CASES = [
    (Case('default', 'best_effort'), DELAYS),
    (Case('default'), DELAYS),
    (Case(reliability='best_effort'), DELAYS),
    (Case(), [*LINKS]),
    (SMALL, [*LINKS]),
    (Case('tcp'), DELAYS),
    (Case('default', labels='labels'), [DELAYS[0], WIFI]),
    (Case(labels='labels'), [*LINKS]),
    (Case(robots=2), [WIFI]),
    (Case(robots=4), [WIFI]),
    (SERVER, [WIFI]),
]


class Fleet:
    """Robots on one machine, the node on the other, and the link between them."""

    def __init__(self, relay: Relay, node: subprocess.Popen, log: Path,
                 robots: list[subprocess.Popen]) -> None:
        self.relay = relay
        self._node = node
        self._log = log
        self._robots = robots

    def ask(self, question: str, seconds: float) -> list:
        """Return the answers of all robots to a question; StressError if one is silent."""
        for robot in self._robots:
            robot.stdin.write(f'{question} {seconds}\n')
            robot.stdin.flush()
        answers = [robot.stdout.readline() for robot in self._robots]
        if self._node.poll() is not None:
            raise StressError(f'the node ended with exit code {self._node.returncode}:\n'
                              f'{self._log.read_text()[-LOG_TAIL:]}')
        if not all(answers):
            raise StressError('a robot has ended')
        return [json.loads(answer) for answer in answers]

    def measure(self, seconds: float) -> dict[str, float | None]:
        """Return the means over the robots, and the Mbit/s of a robot to the node and back."""
        before, begin = self._sizes(), time.monotonic()
        answers = self.ask('measure', seconds)
        spent = time.monotonic() - begin
        up, down = (8e-6 * (after - size) / spent / len(answers)
                    for size, after in zip(before, self._sizes()))
        return {'up': up, 'down': down,
                **{key: _mean([answer[key] for answer in answers]) for key in answers[0]}}

    def _sizes(self) -> list[int]:
        return [direction.counts.size for direction in self.relay.directions]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


@contextmanager
def fleet(case: Case) -> Iterator[Fleet]:
    """Start all of a case over a link without faults; yields it when labels come."""
    with ExitStack() as stack:
        ours, theirs = stack.enter_context(machines())
        relay = stack.enter_context(Relay((ours.device, theirs.device), Conditions()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = [f'robot{number}' for number in range(1, case.robots + 1)]
        environment = {**os.environ, **TRANSPORTS[case.transport], 'ROS_DOMAIN_ID': str(DOMAIN),
                       'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
                       'XDG_CACHE_HOME': str(folder / 'cache')}
        if case.server:
            environment['ROS_DISCOVERY_SERVER'] = f'{theirs.address}:11811'
            _start(stack, theirs, folder / 'server', environment,
                   'fastdds', 'discovery', '-i', '0')
        log = folder / 'node'
        node = _start(stack, theirs, log, environment,
                      sys.executable, ROOT / 'bin' / 'segment', '--ros-args',
                      '-p', 'model:=demo', '-p', 'transport:=compressed',
                      '-p', f'cameras:=[{", ".join(names)}]', '-p', f'short_side:={SHORT_SIDE}',
                      '-p', f'max_rate:={NODE_RATE / case.robots}')
        robots = [
            _start(stack, ours, folder / name, environment, sys.executable,
                   Path(__file__).with_name('robot.py'), name, '--seed', number,
                   '--size', *case.size, '--quality', QUALITY, '--rate', RATE,
                   '--reliability', case.reliability, '--labels', case.labels)
            for number, name in enumerate(names, 1)]
        found = Fleet(relay, node, log, robots)
        if None in found.ask('labels', START_TIMEOUT):
            raise StressError(f'{case}: no labels within {START_TIMEOUT:.0f} s')
        yield found
        dropped = ours.dropped() + theirs.dropped()
        if dropped:
            raise StressError(f'{case}: {dropped} packets came faster than the relay took them')


def _start(stack: ExitStack, machine: Machine, log: Path, environment: dict,
           *command: object) -> subprocess.Popen:
    """Start a program on a machine, which is ended with the stack."""
    process = subprocess.Popen(
        [str(part) for part in machine.command(*command)], env=environment, text=True,
        stdin=subprocess.PIPE, stderr=log.open('w'),
        # What a robot says is read; else it is a log.
        stdout=subprocess.PIPE if log.name.startswith('robot') else log.open('a'),
        # With what it starts itself, as the discovery server does.
        start_new_session=True)
    stack.callback(process.wait)
    stack.callback(os.killpg, process.pid, signal.SIGKILL)
    return process


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Measure all cases over their links, and cut the link."""
    chosen = [(case, link) for case, links in CASES for link in links
              if any(text in f'{case}, {link}' for text in options.only)]
    progress.reset(len(chosen) + len(options.cuts))
    # What a lossy link leaves of large messages fills a buffer, so that the next one needs new
    # machines; else the same will do.
    for (case, _), group in itertools.groupby(
            chosen, lambda each: (each[0], each[1] if each[0].transport == 'default' else '')):
        with fleet(case) as found:
            for _, link in group:
                found.relay.set_conditions(LINKS[link])
                time.sleep(SETTLING)
                _note(report, case, link, found.measure(options.seconds))
                progress.update()
    for seconds in options.cuts:
        with fleet(SMALL) as found:
            found.relay.set_conditions(CUT)
            time.sleep(seconds)
            found.relay.set_conditions(LINKS[WIFI])
            back, = found.ask('labels', START_TIMEOUT)
        report.figures[f'seconds until labels come, after a cut of {seconds:g} s'] = (
            'never' if back is None else back)
        report.expect(back is not None and back <= TARGET_BACK,
                      f'labels do not come back after a cut of {seconds:g} s')
        progress.update()


def _note(report: Report, case: Case, link: str, figures: dict[str, float | None]) -> None:
    where, conditions = f'{case}, {link}', LINKS[link]
    # What the documentation advises has to do over a radio link.
    if case in (SMALL, SERVER) and conditions.delay <= LINKS[WIFI].delay:
        report.expect((figures['received'] or 0) >= TARGET_ARRIVED * figures['sent'],
                      f'{where}: images get lost on their way to the node')
    text = {key: '?' if value is None else f'{value:.3g}' for key, value in figures.items()}
    report.figures.update({
        f'{where}: images/s sent, reached the node': f'{text["sent"]}, {text["received"]}',
        f'{where}: labels/s sent, back': f'{text["published"]}, {text["back"]}',
        f'{where}: from stamp to labels, p50, p95 (ms)':
            f'{text["latency p50"]}, {text["latency p95"]}',
        f'{where}: age of the newest labels, p95 (ms)': text['age p95'],
        f'{where}: Mbit/s of a robot to the node, back': f'{text["up"]}, {text["down"]}',
        f'{where}: kB of a picture': f'{(figures["bytes"] or 0) / 1000:.3g}',
    })


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this run."""
    parser.add_argument('--seconds', type=float, default=10.0,
                        help='of a measurement (default %(default)g)')
    parser.add_argument('--only', nargs='+', default=[''], metavar='TEXT',
                        help='measure the cases with one of these texts in their names alone')
    parser.add_argument('--cuts', type=float, nargs='*', default=[10.0, 60.0],
                        help='seconds for which the link is cut (default 10 60)')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
