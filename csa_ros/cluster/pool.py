"""
Pieces of work for workers on a cluster, which get the next as soon as they have done one.

Ray places the workers, starts them anew where they or their machines end, repeats what they were
at, and ends them with the process that has asked.
"""

from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
import hashlib
import math
import os
from pathlib import Path
import socket
import sys
import time
from typing import Any
from typing import Protocol
import uuid

import csa_ros
from csa_ros.cluster.board import Board
from csa_ros.cluster.board import NodeWork
from csa_ros.cluster.board import Reporter
from csa_ros.cluster.errors import ClusterError
from csa_ros.cluster.resources import Share
import ray
from ray.exceptions import ActorDiedError
from ray.exceptions import ActorUnavailableError
from ray.exceptions import RayError
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

# How often a piece is begun again whose worker has died, until it counts as the cause.
RETRIES = 3
# How often a worker that dies is started again, in case that it dies of its own start.
_RESTARTS = 100
# Seconds between two looks at how far the work is, and until it is remarkable that none has begun.
_PERIOD = 1.0
_PATIENCE = 60.0
# Of what is asked of the board where the answer decides.
_BOARD_TIMEOUT = 10.0
_MOST_REASON = 1000


class Worker(Protocol):
    """What does pieces of work: made once in a process, with what all pieces need."""

    def work(self, progress: Reporter, *piece: Any) -> Any:
        """Do a piece, of what Ray can send, and return what is to be known of it."""


@dataclass(frozen=True)
class Outcome:
    """What became of the piece of a number: its result, or why there is none."""

    number: int
    result: Any = None
    failure: str = ''


class Pool:
    """
    Workers on the cluster that this process is connected to.

    `kind(*setup)` makes one, in a process of its own with `share` of a machine. `show` is called
    about every second with what the `nodes` have done, and `say` with sentences for the user.
    """

    def __init__(self, kind: Callable[..., Worker], setup: Sequence[Any], share: Share,
                 show: Callable[[list[NodeWork]], None], say: Callable[[str], None]) -> None:
        self.nodes: list[NodeWork] = []
        self._show = show
        self._say = say
        # Workers ask for it by name: Ray warns of handles among what a worker is made with.
        name = f'board-{uuid.uuid4()}'
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._board: Any = ray.remote(Board).options(
            num_cpus=0, max_restarts=-1, scheduling_strategy=here, name=name).remote()
        maker: Any = ray.remote(_Process).options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=_RESTARTS,
            max_task_retries=RETRIES)
        self._start = lambda: maker.remote(
            kind, name, os.getcwd(), package_digest(), *setup)
        self._idle = [self._start() for _ in range(share.workers)]
        # If the last one must be given up; else none would ever begin.
        self._replaceable = False
        # How often a piece has come back from a worker that cannot be reached.
        self._rounds: Counter[int] = Counter()
        self._hopeful_until = time.monotonic() + _PATIENCE

    def run(self, pieces: Sequence[Sequence[Any]]) -> Iterator[Outcome]:
        """
        Have all pieces done, and yield what became of each as it comes.

        Of items of a piece that are references of Ray, workers get what they refer to. Raises
        ClusterError if no worker is left that could go on.
        """
        waiting = deque(range(len(pieces)))
        # With None in place of a piece, what only waits until it can be reached again.
        running: dict[Any, tuple[Any, int | None]] = {}
        while waiting or any(number is not None for _, number in running.values()):
            self._hand_out(waiting, running, pieces)
            for reference in self._ended(list(running)):
                process, number = running.pop(reference)
                try:
                    result, failure = _result(reference)
                except ActorDiedError as error:
                    waiting.extendleft([] if number is None else [number])
                    self._give_up(error, is_last=not self._idle and not running)
                    continue
                except ActorUnavailableError as error:
                    running[process.ready.remote()] = process, None
                    if number is None:
                        continue
                    if not self._is_cause(number):
                        # Its machine is gone, or cannot be reached, and others can do it.
                        waiting.appendleft(number)
                        continue
                    result, failure = None, (
                        f'its worker has died {RETRIES + 1} times of it: {_reason(error)}')
                else:
                    self._idle.append(process)
                    self._replaceable = True
                if number is not None:
                    yield Outcome(number, result, failure)
        self._look()

    def _hand_out(self, waiting: deque[int], running: dict[Any, tuple[Any, int | None]],
                  pieces: Sequence[Sequence[Any]]) -> None:
        """Let idle processes begin pieces that wait."""
        while waiting and self._idle:
            process, number = self._idle.pop(), waiting.popleft()
            running[process.work.remote(number, *pieces[number])] = process, number
        if not waiting:
            # Without a reference to it a process ends. Its place may be what one that is to be
            # started again, as its machine is gone, waits for.
            self._idle.clear()

    def _is_cause(self, number: int) -> bool:
        """Return whether a piece was begun so often that it is why its workers have died."""
        self._rounds[number] += 1
        begun = 0
        with suppress(RayError):
            begun = ray.get(self._board.begun.remote(number), timeout=_BOARD_TIMEOUT)
        return max(begun, self._rounds[number]) > RETRIES

    def _give_up(self, error: ActorDiedError, is_last: bool) -> None:
        """Do without a worker that Ray cannot start again."""
        if is_last and not self._replaceable:
            raise ClusterError(f'no worker of the cluster can go on: {_reason(error)}') from error
        self._say(f'a worker is given up: {_reason(error)}')
        if is_last:
            self._idle.append(self._start())
            self._replaceable = False

    def _ended(self, references: list[Any]) -> list[Any]:
        """Wait a moment for pieces that are done, or that cannot be."""
        ended, _ = ray.wait(references, num_returns=len(references), timeout=0)
        if not ended:
            ended, _ = ray.wait(references, timeout=_PERIOD)
            self._look()
        return ended

    def _look(self) -> None:
        # Late, or just being started again: the next look tells more.
        with suppress(RayError):
            self.nodes = ray.get(self._board.nodes.remote(), timeout=_PERIOD)
            self._show(self.nodes)
            if not self.nodes and time.monotonic() > self._hopeful_until:
                self._hopeful_until = math.inf
                self._say('no worker has begun yet: the cluster has no room for one, or they are '
                          'still loading the model; `ray status` tells')


class _Process:
    """A process of Ray that holds a worker."""

    def __init__(self, kind: Callable[..., Worker], board: str, folder: str, digest: str,
                 *setup: Any) -> None:
        if package_digest() != digest:
            raise ClusterError(
                f'csa_ros on {socket.gethostname()}, in {_package()}, is not the one that has '
                'asked: install the same on all nodes')
        # So that names of files mean the same, where there are the same folders.
        with suppress(OSError):
            os.chdir(folder)
        self._board: Any = ray.get_actor(board)
        self._worker = kind(*setup)

    @ray.method(max_task_retries=-1)
    def ready(self) -> None:
        """Answer, as soon as the process runs again wherever it is."""

    def work(self, number: int, *piece: Any) -> Any:
        """Do the piece of a number."""
        node = socket.gethostname()
        # Known before anything of it can end the process.
        with suppress(RayError):
            ray.get(self._board.begin.remote(number), timeout=_BOARD_TIMEOUT)
        reporter = Reporter(lambda images, amount: self._board.tell.remote(
            number, node, images, amount))
        result = self._worker.work(reporter, *piece)
        reporter.now()
        return result


def package_digest() -> str:
    """Return what tells this version of csa_ros, and of Python, from others."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in sorted(_package().rglob('*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _package() -> Path:
    return Path(csa_ros.__file__).parent


def _result(reference: Any) -> tuple[Any, str]:
    """Return the result of a piece, or why there is none; raise what Ray does if nobody knows."""
    try:
        return ray.get(reference), ''
    except (ActorDiedError, ActorUnavailableError):
        raise
    except RayTaskError as error:
        return None, _told(error)
    except RayError as error:
        return None, _reason(error)


def _told(error: RayTaskError) -> str:
    """Return what a worker has raised, as it would be told where it was raised."""
    cause = error.cause
    return f'{cause}' if isinstance(cause, (OSError, RuntimeError, ValueError)) else (
        f'{type(cause).__name__}: {cause}')


def _reason(error: RayError) -> str:
    """Return the last line of what Ray says, which is what was raised; it has many others."""
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__).strip()[:_MOST_REASON]
