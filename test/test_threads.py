"""The number of threads that are worth having, on machines of many kinds."""

import os
import subprocess
import sys

from csa_ros.process import threads
import cv2
import pytest
import torch


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine of 16 cores with the given files below its root."""
    monkeypatch.setattr(threads, '_TORCH_DEFAULT', 16)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(16)))

    def make(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path
    return make


@pytest.mark.parametrize('files, expected', [
    ({}, 16),
    # Version 2: the group itself, one above it, and a container that sees itself as the root.
    ({'proc/self/cgroup': '0::/a/b\n', 'sys/fs/cgroup/a/b/cpu.max': '400000 100000\n'}, 4),
    ({'proc/self/cgroup': '0::/a/b\n', 'sys/fs/cgroup/a/b/cpu.max': 'max 100000\n',
      'sys/fs/cgroup/a/cpu.max': '300000 100000\n'}, 3),
    ({'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '200000 50000\n'}, 4),
    ({'proc/self/cgroup': '0::/../host\n', 'sys/fs/cgroup/cpu.max': '200000 100000\n'}, 2),
    # A path with a colon, as container runtimes make them.
    ({'proc/self/cgroup': '0::/a:b\n', 'sys/fs/cgroup/a:b/cpu.max': '500000 100000\n'}, 5),
    # Version 1, with version 2 mounted beside it for other controllers.
    ({'proc/self/cgroup': '4:memory:/x\n3:cpu,cpuacct:/docker/1\n0::/x\n',
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '700000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n'}, 7),
    ({'proc/self/cgroup': '3:cpuset:/x\n2:cpu:/x\n',
      'sys/fs/cgroup/cpu/x/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu/x/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '900000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n'}, 9),
    # A share of a core is rounded down, but one thread there must be.
    ({'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '350000 100000\n'}, 3),
    ({'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '50000 100000\n'}, 1),
    # More than there is.
    ({'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '9900000 100000\n'}, 16),
])
def test_control_groups_are_respected(machine, files, expected):
    """The least of all limits counts."""
    assert threads.usable_threads(machine(files)) == expected


def test_affinity_and_torch_are_respected(machine, monkeypatch):
    """Neither cores that the process may not use nor hyper-threads get a thread."""
    root = machine({})
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {3, 5})
    assert threads.usable_threads(root) == 2
    monkeypatch.setattr(threads, '_TORCH_DEFAULT', 1)
    assert threads.usable_threads(root) == 1


def test_own_machine_has_threads():
    """The files of the machine that this runs on can be read."""
    assert 1 <= threads.usable_threads() <= len(os.sched_getaffinity(0))


# In a process of its own: what other tests compute with is left alone.
SET_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from csa_ros.process.threads import set_threads, usable_threads
import cv2
import torch
for asked in 3, 1, 2:
    assert set_threads(asked) == asked
    with ThreadPoolExecutor() as other:
        print(torch.get_num_threads(), other.submit(torch.get_num_threads).result(),
              cv2.getNumThreads())
# What was set is not what is usable.
set_threads(1)
print(set_threads(0) == usable_threads())
"""


def test_libraries_get_their_threads():
    """Both libraries are told, also for threads that start later."""
    output = subprocess.run([sys.executable, '-c', SET_THREADS], capture_output=True, text=True,
                            check=True, timeout=60).stdout
    assert output.splitlines() == ['3 3 3', '1 1 1', '2 2 2', 'True']


def test_zero_takes_what_is_usable(monkeypatch):
    """Without a number the usable threads are set."""
    counts = []
    monkeypatch.setattr(threads, 'usable_threads', lambda: 5)
    monkeypatch.setattr(torch, 'set_num_threads', counts.append)
    monkeypatch.setattr(cv2, 'setNumThreads', counts.append)
    assert threads.set_threads(0) == 5
    assert counts == [5, 5]
