"""Times, memory and the machine they were measured on, for every section of the bench."""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
import ctypes
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
import gc
import os
from pathlib import Path
import platform
import re
import time
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

Name = TypeVar('Name', bound=Hashable)
STATUS = Path('/proc/self/status')
CLEAR_REFS = Path('/proc/self/clear_refs')
CPU_INFO = Path('/proc/cpuinfo')


@dataclass(frozen=True)
class Timing:
    """Durations of one thing done many times, in seconds."""

    seconds: Sequence[float]

    @property
    def median_ms(self) -> float:
        """Half of the calls took at most this many milliseconds."""
        return self._percentile_ms(50)

    @property
    def p95_ms(self) -> float:
        """95 % of the calls took at most this many milliseconds."""
        return self._percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        """99 % of the calls took at most this many milliseconds."""
        return self._percentile_ms(99)

    def to_dict(self) -> dict[str, float]:
        """Return the figures for JSON: `median_ms`, `p95_ms`, `p99_ms`, and `rounds`."""
        return {'median_ms': self.median_ms, 'p95_ms': self.p95_ms, 'p99_ms': self.p99_ms,
                'rounds': len(self.seconds)}

    def _percentile_ms(self, percent: float) -> float:
        return 1e3 * float(np.percentile(self.seconds, percent))


def expect(progress: tqdm | None, steps: int) -> None:
    """
    Add to the total of a progress bar.

    A section calls this for what it is about to do and `progress.update()` after each step;
    `alternate` does both for its own calls.
    """
    if progress is not None:
        progress.total = (progress.total or 0) + steps
        progress.refresh()


def alternate(functions: Mapping[Name, Callable[[], object]], rounds: int,
              progress: tqdm | None = None) -> dict[Name, Timing]:
    """
    Time functions against each other, so that what else the machine does hits all alike.

    Every round calls each function once, in turn, after one round that is not measured. What a
    call leaves queued on a GPU is waited for and counted. Raises ValueError if `rounds` is less
    than 1.
    """
    if rounds < 1:
        raise ValueError(f'rounds is {rounds}: it must be at least 1')
    expect(progress, (rounds + 1) * len(functions))
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            synchronize()
            start = time.perf_counter()
            function()
            synchronize()
            seconds[name].append(time.perf_counter() - start)
            if progress is not None:
                progress.update()
    return {name: Timing(durations[1:]) for name, durations in seconds.items()}


def synchronize() -> None:
    """Wait for the GPU to finish, if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory(function: Callable[[], object], device: torch.device | str) -> int | None:
    """
    Return how many bytes a call holds at most, beyond what was held before it.

    Call the function once beforehand: what its first call allocates to keep is not counted then.
    On a CPU it is the memory of the process (resident set), which Linux lets us reset; None where
    it does not. On a GPU it is what PyTorch's allocator gave out.
    """
    gc.collect()
    if torch.device(device).type == 'cuda':
        return _peak_cuda_memory(function, torch.device(device))
    # Freed memory that glibc keeps would be used again without the process growing.
    ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_REFS.write_text('5')
    except OSError:
        return None
    start = _resident_bytes('VmRSS')
    result = function()
    peak = _resident_bytes('VmHWM') - start
    # Held until here: what the call returns is part of its peak.
    del result
    return max(peak, 0)


def _peak_cuda_memory(function: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    start = torch.cuda.memory_allocated(device)
    result = function()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - start
    del result
    return peak


def _resident_bytes(field: str) -> int:
    fields = dict(line.split(':', 1) for line in STATUS.read_text().splitlines())
    return 1024 * int(fields[field].removesuffix('kB'))


def machine() -> dict[str, object]:
    """
    Return what figures are measured on, for JSON.

    `cpu` (model, instruction set), `cores` that this process may use, PyTorch's `threads`, `gpu`
    (name, or None), versions of `python` and `torch`, and the `date` (UTC, ISO 8601).
    """
    return {
        'cpu': _cpu_model(),
        'instructions': torch.backends.cpu.get_cpu_capability(),
        'cores': len(os.sched_getaffinity(0)),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'date': datetime.now(timezone.utc).isoformat(timespec='minutes'),
    }


def _cpu_model() -> str:
    # The platform module knows no more than 'x86_64'; not every ARM kernel names its model.
    found = re.search(r'^(?:model name|Model)\s*: (.+)$', CPU_INFO.read_text(), re.M)
    return found.group(1) if found else platform.machine()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table, padded so that a terminal shows it well: text left, rest right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    head, *body = ['| ' + ' | '.join([row[0].ljust(widths[0]),
                                      *(cell.rjust(width)
                                        for cell, width in zip(row[1:], widths[1:]))]) + ' |'
                   for row in cells]
    rule = '|' + '|'.join(['-' * (widths[0] + 2),
                           *('-' * (width + 1) + ':' for width in widths[1:])]) + '|'
    return '\n'.join([head, rule, *body])
