"""How the node is doing: counted by the pipeline, published on `/diagnostics`."""

from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
import threading
import time

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
import numpy as np
from std_msgs.msg import Header

# Rates, latencies and the level are about this many seconds; counts are since configuration.
WINDOW = 10.0
# An active node that gets no image for this many seconds says so.
SILENCE = 5.0


@dataclass(frozen=True)
class Report:
    """
    What happened: totals, and rates (1/s), latencies and ages (s) over the last WINDOW seconds.

    Latencies and ages are (p50, p95), or None if there is no frame to tell from. A latency is from
    the arrival of an image to its last output; an age is from its stamp, by the node's clock.
    `silence` is the time in seconds since the last image, or since the start.
    """

    totals: dict[str, int]
    rates: dict[str, float]
    latency: tuple[float, float] | None
    age: tuple[float, float] | None
    silence: float
    last_error: str


class Statistics:
    """Counts what happens to frames; safe to use from several threads."""

    EVENTS = ('received', 'published', 'dropped', 'idle', 'bad', 'failed')

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(self.EVENTS, 0)
        self._times = {event: deque() for event in self.EVENTS}
        self._latencies = deque()
        self._ages = deque()
        self._last_error = ''
        self._start = self._last_image = clock()

    def restart_silence(self) -> None:
        """Count silence from now on."""
        with self._lock:
            self._last_image = self._clock()

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._last_image = self._count('received')

    def dropped(self) -> None:
        """Count an image that a newer one replaced before its turn."""
        with self._lock:
            self._count('dropped')

    def idle(self) -> None:
        """Count an image that nobody wanted to see segmented."""
        with self._lock:
            self._count('idle')

    def bad(self, reason: str) -> None:
        """Count an image that cannot be read."""
        self._error('bad', reason)

    def failed(self, reason: str) -> None:
        """Count a frame that could not be segmented."""
        self._error('failed', reason)

    def published(self, latency: float, age: float | None) -> None:
        """Count a frame that went out, `latency` seconds after it came in."""
        with self._lock:
            now = self._count('published')
            self._latencies.append((now, latency))
            if age is not None:
                self._ages.append((now, age))

    def report(self) -> Report:
        """Sum up."""
        with self._lock:
            now = self._clock()
            since = now - WINDOW
            span = max(min(WINDOW, now - self._start), 1.0)
            for times in self._times.values():
                while times and times[0] < since:
                    times.popleft()
            return Report(
                totals=dict(self._totals),
                rates={event: len(times) / span for event, times in self._times.items()},
                latency=_percentiles(self._latencies, since),
                age=_percentiles(self._ages, since),
                silence=now - self._last_image,
                last_error=self._last_error)

    def _error(self, event: str, reason: str) -> None:
        with self._lock:
            self._count(event)
            self._last_error = reason

    def _count(self, event: str) -> float:
        now = self._clock()
        self._totals[event] += 1
        self._times[event].append(now)
        return now


@dataclass(frozen=True)
class Condition:
    """
    What the node is, beside what happened.

    `state` is the lifecycle state; `fault` is what went wrong last with configuration or with the
    vocabulary and still holds; `facts` are shown as they are.
    """

    state: str
    fault: str = ''
    device: str = ''
    waiting_for: str = ''
    facts: dict[str, str] = field(default_factory=dict)


def judge(condition: Condition, report: Report) -> tuple[bytes, str]:
    """
    Return the diagnostic level and a one-line summary.

    ERROR: no labels although there should be (no configuration, or every frame fails). STALE:
    active, but no image arrives. WARN: some frames or the newest vocabulary fail. OK otherwise.
    """
    if condition.state != 'active':
        level = DiagnosticStatus.ERROR if condition.fault else DiagnosticStatus.OK
        return level, condition.fault or condition.state
    if report.silence > SILENCE:
        return DiagnosticStatus.STALE, (
            f'no image for {report.silence:.0f} s on {condition.waiting_for}')
    if report.rates['bad'] or report.rates['failed']:
        working = report.rates['published']
        level = DiagnosticStatus.WARN if working else DiagnosticStatus.ERROR
        return level, f'{"some" if working else "all"} frames fail: {report.last_error}'
    if condition.fault:
        return DiagnosticStatus.WARN, condition.fault
    if report.rates['idle'] and not report.rates['published']:
        return DiagnosticStatus.OK, 'idle: nobody listens to labels, overlay or confidence'
    return DiagnosticStatus.OK, f'{report.rates["published"]:.1f} frames/s'


def diagnostics(name: str, stamp: Time, condition: Condition, report: Report) -> DiagnosticArray:
    """Build the message; `name` is the node's, with its namespace."""
    level, summary = judge(condition, report)
    values = {
        'state': condition.state,
        **condition.facts,
        'images in (1/s)': f'{report.rates["received"]:.1f}',
        'labels out (1/s)': f'{report.rates["published"]:.1f}',
        'latency p50, p95 (ms)': _milliseconds(report.latency),
        'age at output p50, p95 (ms)': _milliseconds(report.age),
        'images received': str(report.totals['received']),
        'frames published': str(report.totals['published']),
        'frames dropped for newer ones': str(report.totals['dropped']),
        'frames nobody wanted': str(report.totals['idle']),
        'bad images': str(report.totals['bad']),
        'failures': str(report.totals['failed']),
        'last error': condition.fault or report.last_error,
    }
    status = DiagnosticStatus(
        level=level,
        name=f'{name}: segmentation',
        message=summary,
        hardware_id=condition.device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _percentiles(samples: deque, since: float) -> tuple[float, float] | None:
    """Forget samples (time, value) from before `since`; return the p50 and p95 of the rest."""
    while samples and samples[0][0] < since:
        samples.popleft()
    if not samples:
        return None
    p50, p95 = np.percentile([value for _, value in samples], [50, 95])
    return float(p50), float(p95)


def _milliseconds(seconds: Iterable[float] | None) -> str:
    return ', '.join(f'{1000 * value:.0f}' for value in seconds) if seconds else 'none yet'
