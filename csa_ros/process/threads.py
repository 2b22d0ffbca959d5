"""
How many threads are worth having, and which of them go first.

Left alone, a library may start a thread for each core of the machine. Where the process may use
fewer of them (in a container with a share of the CPU, under `taskset`), its threads wait for one
that is not running, again and again, and everything takes several times as long.
"""

from collections.abc import Iterator
import math
import os
from pathlib import Path
from pathlib import PurePosixPath
import sys
import threading

import cv2
import torch

# While words are encoded at this level, frames are hardly slower, and words take twice as long; at
# 19 they would wait for ever beside the other nodes of a busy machine (`bench text`).
BACKGROUND_NICE = 10
# The physical cores, or what OMP_NUM_THREADS says; asked before anybody sets another number.
_TORCH_DEFAULT = torch.get_num_threads()


def usable_threads(root: Path = Path('/')) -> int:
    """
    Return how many threads can run at the same time in this process, at least 1.

    That is PyTorch's default (one a physical core, or OMP_NUM_THREADS), but not more than the
    cores in the process's affinity, nor than the CPU time that its control group and those above
    it may use. A share of a core is rounded down: the threads of a forward pass wait for each
    other, so that one which is held back holds back all. `root` is where `proc` and `sys` are.
    """
    limits = [_TORCH_DEFAULT, len(os.sched_getaffinity(0))]
    limits += [math.floor(quota) for quota in _quotas(root)]
    return max(min(limits), 1)


def set_threads(count: int) -> int:
    """
    Let PyTorch and OpenCV use `count` threads, or as many as are usable for 0; return the number.

    PyTorch's number holds for the calling thread and for threads that first use PyTorch
    afterwards.
    """
    count = count or usable_threads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    return count


def give_way() -> None:
    """
    Let the other threads of the process go first, from now on.

    On Linux each thread has a nice level of its own, which the threads that it starts inherit, as
    those of a parallel region; elsewhere nothing happens.
    """
    if sys.platform == 'linux':
        thread = threading.get_native_id()
        # A process that itself was started with a higher level may not go below that again.
        level = max(os.getpriority(os.PRIO_PROCESS, thread), BACKGROUND_NICE)
        os.setpriority(os.PRIO_PROCESS, thread, level)


def _quotas(root: Path) -> Iterator[float]:
    """
    Yield the limits in cores of this process's control groups, its own and those above it.

    Control groups of version 2 have one hierarchy (`0::/path`) and state `quota period` or `max
    period`; version 1 has one for `cpu` among others, and a quota of -1 where there is none. Both
    count in microseconds: docs.kernel.org/admin-guide/cgroup-v2.html, sched-bwc.html.
    """
    for line in _read(root / 'proc/self/cgroup').splitlines():
        _, controllers, path = line.split(':', 2)
        if not controllers:
            for group in _groups(root / 'sys/fs/cgroup', path):
                yield from _cores(*_read(group / 'cpu.max').split())
        elif 'cpu' in controllers.split(','):
            for group in _groups(root / 'sys/fs/cgroup/cpu', path):
                yield from _cores(_read(group / 'cpu.cfs_quota_us').strip(),
                                  _read(group / 'cpu.cfs_period_us').strip())


def _groups(mount: Path, path: str) -> Iterator[Path]:
    """
    Yield the folders of a control group and of those above it.

    In a container the path is often the host's while the mount is the group itself: folders that
    do not exist are of no account, and the mount is always among those above.
    """
    relative = PurePosixPath(path.lstrip('/'))
    for folder in (relative, *relative.parents):
        yield mount / folder


def _cores(quota: str = '', period: str = '') -> Iterator[float]:
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''
