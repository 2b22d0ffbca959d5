"""How the node is doing: counted by the pipeline, published on `/diagnostics`."""

from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
import threading
import time

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
import numpy as np

# Rates, latencies and the level are about this many seconds; counts are since configuration.
WINDOW = 10.0
# An active node that gets no image for this many seconds says so.
SILENCE = 5.0
# A frame now and then is lost on any machine.
DROPPED_SHARE = 0.05
# What the segment node makes of frames.
LABELS = 'labels'


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

    EVENTS = ('received', 'published', 'dropped', 'idle', 'bad', 'failed', 'points', 'bad_depth',
              'lost')

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(self.EVENTS, 0)
        self._times: dict[str, deque[float]] = {event: deque() for event in self.EVENTS}
        self._latencies: deque[tuple[float, float]] = deque()
        self._ages: deque[tuple[float, float]] = deque()
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

    def lost(self, number: int) -> None:
        """Count images or depth images that the middleware lost on their way."""
        with self._lock:
            self._count('lost', number)

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

    def pointed(self) -> None:
        """Count a frame whose points went out."""
        with self._lock:
            self._count('points')

    def bad_depth(self, reason: str) -> None:
        """Count a frame whose depth or calibration cannot be used."""
        self._error('bad_depth', reason)

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

    def _count(self, event: str, number: int = 1) -> float:
        now = self._clock()
        self._totals[event] += number
        self._times[event].extend([now] * number)
        return now


@dataclass(frozen=True)
class Condition:
    """
    What the node is, beside what happened.

    `state` is the lifecycle state; `fault` is what went wrong last with configuration or with the
    vocabulary and still holds; `doubts` are what may be wrong with what the camera sends;
    `limited` tells that frames are left out on purpose, and `relief` what does that; `remedy` is
    for images that get lost on their way; `facts` are shown as they are.
    """

    state: str
    fault: str = ''
    doubts: tuple[str, ...] = ()
    device: str = ''
    waiting_for: str = ''
    limited: bool = False
    relief: str = 'max_rate makes that a choice'
    remedy: str = ''
    facts: dict[str, str] = field(default_factory=dict)


def judge(condition: Condition, report: Report) -> tuple[bytes, str]:
    """
    Return the diagnostic level and a one-line summary.

    ERROR: configuration or frames fail. STALE: inactive. WARN: no image arrives, or what is sent
    is not all used or not what it seems: images or depth that cannot be read or got lost on their
    way, frames dropped for newer ones, words that could not be encoded, doubts. OK otherwise.
    """
    rates = report.rates
    if condition.state != 'active':
        level = DiagnosticStatus.ERROR if condition.fault else DiagnosticStatus.STALE
        return level, condition.fault or condition.state
    if rates['failed'] or (rates['bad'] and not rates['published']):
        share = 'some' if rates['published'] else 'all'
        return DiagnosticStatus.ERROR, f'{share} frames fail: {report.last_error}'
    for shortfall in (_starvation(condition, report), _bad_input(report), condition.fault,
                      *condition.doubts, explain_losses(condition.remedy, report),
                      _drops(condition, report)):
        if shortfall:
            return DiagnosticStatus.WARN, shortfall
    if rates['idle'] and not rates['published']:
        return DiagnosticStatus.OK, 'idle: nobody listens to what comes of the images'
    return DiagnosticStatus.OK, f'{rates["published"]:.1f} frames/s'


def _starvation(condition: Condition, report: Report) -> str:
    if report.silence <= SILENCE:
        return ''
    return f'no image for {report.silence:.0f} s on {condition.waiting_for}'


def _bad_input(report: Report) -> str:
    if not report.rates['bad'] and not report.rates['bad_depth']:
        return ''
    return f'some images cannot be used: {report.last_error}'


def explain_losses(remedy: str, report: Report) -> str:
    """Return how many images get lost on their way, and what helps; nothing if few do."""
    received, lost = report.rates['received'], report.rates['lost']
    if lost <= DROPPED_SHARE * (received + lost):
        return ''
    return (f'{lost:.1f} images/s get lost on their way, beside {received:.1f} that arrive: '
            f'{remedy}')


def _drops(condition: Condition, report: Report) -> str:
    received, dropped = report.rates['received'], report.rates['dropped']
    if condition.limited or dropped <= DROPPED_SHARE * received:
        return ''
    return (f'{report.rates["published"]:.1f} frames/s, {dropped:.1f} of {received:.1f} images/s '
            f'dropped for newer ones; {condition.relief}')


def status(name: str, condition: Condition, report: Report, output: str = LABELS
           ) -> DiagnosticStatus:
    """
    Build the status of one camera; `name` is the node's and the camera's.

    `output` is what is made of its frames.
    """
    level, summary = judge(condition, report)
    values = {
        'state': condition.state,
        **condition.facts,
        'images in (1/s)': f'{report.rates["received"]:.1f}',
        f'{output} out (1/s)': f'{report.rates["published"]:.1f}',
        'latency p50, p95 (ms)': _milliseconds(report.latency),
        'age at output p50, p95 (ms)': _milliseconds(report.age),
        'images received': str(report.totals['received']),
        'images lost on their way': str(report.totals['lost']),
        'frames published': str(report.totals['published']),
        'frames dropped for newer ones': str(report.totals['dropped']),
        'frames nobody wanted': str(report.totals['idle']),
        'bad images': str(report.totals['bad']),
        'failures': str(report.totals['failed']),
        # Nothing else is put into space.
        **({'point clouds': str(report.totals['points']),
            'bad depth images': str(report.totals['bad_depth'])} if output == LABELS else {}),
        'last error': condition.fault or report.last_error,
    }
    return DiagnosticStatus(
        level=level,
        name=name,
        message=summary,
        hardware_id=condition.device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])


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
