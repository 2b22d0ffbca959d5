"""Counts, percentiles and levels."""

from csa_ros.ros.diagnostics import Condition
from csa_ros.ros.diagnostics import judge
from csa_ros.ros.diagnostics import SILENCE
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.diagnostics import status
from csa_ros.ros.diagnostics import WINDOW
from diagnostic_msgs.msg import DiagnosticStatus
import pytest

ACTIVE = Condition('active', waiting_for='/image')


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def statistics(clock):
    return Statistics(clock)


def test_rates_and_percentiles_are_of_the_window(statistics, clock):
    statistics.published(99.0, 99.0)
    clock.now += WINDOW + 1
    for i in range(101):
        statistics.received()
        statistics.published(i / 100, i / 50)
    report = statistics.report()
    assert report.rates['received'] == pytest.approx(101 / WINDOW)
    assert report.latency == pytest.approx((0.5, 0.95))
    assert report.age == pytest.approx((1.0, 1.9))
    assert report.totals['published'] == 102


def test_ages_without_sense_are_left_out(statistics):
    statistics.published(0.1, None)
    assert statistics.report().latency == pytest.approx((0.1, 0.1))
    assert statistics.report().age is None


def test_first_seconds_do_not_dilute_the_rate(statistics, clock):
    for _ in range(20):
        clock.now += 0.1
        statistics.received()
    assert statistics.report().rates['received'] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize('events, condition, level, words', [
    (['received', 'published'], ACTIVE, DiagnosticStatus.OK, 'frames/s'),
    (['received', 'idle'], ACTIVE, DiagnosticStatus.OK, 'nobody listens'),
    (['received', 'published', 'bad'], ACTIVE, DiagnosticStatus.WARN, 'cannot be used: why'),
    (['received', 'published', 'bad_depth'], ACTIVE, DiagnosticStatus.WARN, 'cannot be used: why'),
    (['received', 'published', 'failed'], ACTIVE, DiagnosticStatus.ERROR, 'some frames fail: why'),
    (['received', 'received', 'dropped', 'published'], ACTIVE, DiagnosticStatus.WARN, 'max_rate'),
    (['received', 'received', 'dropped', 'published'], Condition('active', limited=True),
     DiagnosticStatus.OK, 'frames/s'),
    (['received'] * 40 + ['dropped'] + ['published'] * 39, ACTIVE, DiagnosticStatus.OK,
     'frames/s'),
    (['received', 'published', 'lost'], Condition('active', remedy='buy a cable'),
     DiagnosticStatus.WARN, '3.0 images/s get lost on their way, beside 1.0 that arrive: buy'),
    (['received'] * 60 + ['published'] * 60 + ['lost'], ACTIVE, DiagnosticStatus.OK, 'frames/s'),
    (['received', 'bad'], ACTIVE, DiagnosticStatus.ERROR, 'all frames fail: why'),
    (['received', 'failed'], ACTIVE, DiagnosticStatus.ERROR, 'all frames fail: why'),
    (['received', 'published'], Condition('active', 'old words'), DiagnosticStatus.WARN,
     'old words'),
    ([], Condition('inactive'), DiagnosticStatus.STALE, 'inactive'),
    ([], Condition('unconfigured', 'no weights'), DiagnosticStatus.ERROR, 'no weights'),
])
def test_level_says_what_is_the_matter(statistics, events, condition, level, words):
    arguments = {'published': (0.1, None), 'bad': ('why',), 'failed': ('why',),
                 'bad_depth': ('why',), 'lost': (3,)}
    for event in events:
        getattr(statistics, event)(*arguments.get(event, ()))
    given, summary = judge(condition, statistics.report())
    assert given == level
    assert words in summary


def test_silence_is_a_warning_until_an_image_comes(statistics, clock):
    clock.now += SILENCE + 1
    level, summary = judge(ACTIVE, statistics.report())
    assert level == DiagnosticStatus.WARN
    assert '/image' in summary
    statistics.received()
    assert judge(ACTIVE, statistics.report())[0] == DiagnosticStatus.OK


def test_message_names_node_hardware_and_facts(statistics):
    statistics.published(0.25, None)
    condition = Condition('active', device='cuda:0', facts={'vocabulary version': '7'})
    message = status('segment: front', condition, statistics.report())
    values = {item.key: item.value for item in message.values}
    assert (message.name, message.hardware_id) == ('segment: front', 'cuda:0')
    assert values['vocabulary version'] == '7'
    assert values['latency p50, p95 (ms)'] == '250, 250'
    assert values['age at output p50, p95 (ms)'] == 'none yet'
