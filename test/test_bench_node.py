"""The sections of the bench that run the node: what they measure is there and adds up."""

import sys
import threading

from csa_ros.bench import node
from csa_ros.bench import overhead
from csa_ros.bench.targets import in_ms
from csa_ros.ros import images
from csa_ros.ros.diagnostics import Condition
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.diagnostics import status
from csa_ros.tools.arguments.bench import make_parser
from diagnostic_msgs.msg import DiagnosticArray
import pytest
import rclpy
from tqdm import tqdm


def options(*arguments):
    """Return the parsed options of all sections."""
    return make_parser().parse_args(arguments)


def test_overhead_adds_up(monkeypatch):
    """The real node, over DDS: every step is seen, and they are the whole."""
    monkeypatch.setattr(overhead, 'CASES', (
        ('bgr8', ('labels',)), ('nv12', ('labels', 'overlay'))))
    monkeypatch.setattr(overhead, 'WARM_UP_FRAMES', 1)
    result = overhead.measure(
        options('--overhead-frames', '3', '--overhead-rate', '10',
                '--overhead-size', '96', '64'), tqdm(disable=True))
    text = overhead.describe(result)
    plain, drawn = ({name: timing['median_ms'] for name, timing in case['timings'].items()}
                    for case in result['cases'])
    assert plain['draw'] == 0
    assert all(drawn[name] > 0 for name in (*overhead.STEPS, 'take'))
    for timings in plain, drawn:
        assert timings['overhead'] < timings['total']
        assert in_ms(timings['overhead']) in text


@pytest.mark.parametrize('size, milliseconds, measured, met', [
    ([1280, 720], (3.0, 5.0), '5.00 ms', True),
    ([1280, 720], (7.0, 5.0), '7.00 ms', False),
    ([640, 480], (3.0, 5.0), '', None),
])
def test_overhead_target_is_for_labels_in_the_slowest_encoding(size, milliseconds, measured, met):
    """The overlay does not count, nor frames of another size."""
    def case(outputs, value):
        return {'outputs': outputs, 'timings': {'overhead': {'median_ms': value}}}

    target, = overhead.targets({'size': size, 'cases': [
        *(case(['labels'], value) for value in milliseconds), case(['labels', 'overlay'], 20.0)]})
    assert (target.measured, target.met) == (measured, met)


def test_steps_within_steps_count_once(monkeypatch):
    """What a step takes does not count for the step around it, nor in other threads."""
    now = [100.0]
    monkeypatch.setattr(overhead.time, 'monotonic', lambda: now[0])

    def sleep(seconds):
        now[0] += seconds

    watch = overhead.Stopwatch()
    draw = watch.step('draw', lambda: sleep(2.0))
    segment = watch.step('segment', lambda: (sleep(3.0), draw(), sleep(1.0)))
    publish = watch.step('publish', lambda: sleep(0.5))
    ended = []
    published = watch.end(lambda *arguments: ended.append(arguments))

    def frame():
        arrival = now[0]
        sleep(0.25)
        segment()
        sleep(0.125)
        publish()
        published('statistics', now[0] - arrival, 0.75)

    publish()
    thread = threading.Thread(target=frame, name='segment')
    thread.start()
    thread.join()
    assert watch.frames == [{
        'hand over': 0.25, 'convert': 0.0, 'segment': 4.0, 'draw': 2.0, 'make messages': 0.0,
        'publish': 0.5, 'rest': 0.125}]
    assert ended == [('statistics', 6.875, 0.75)]


def test_node_is_left_as_it_was():
    """Outside the context no function is wrapped."""
    before = images.to_rgb, Statistics.published
    with overhead.stopwatch():
        assert images.to_rgb is not before[0]
    assert (images.to_rgb, Statistics.published) == before


def test_node_is_watched_from_end_to_end(monkeypatch):
    """Camera and node run as processes; images, labels and CPU time are counted."""
    pytest.importorskip('psutil', reason='psutil is not installed')
    monkeypatch.setattr(node, 'WARM_UP_LABELS', 1)
    result = node.measure(
        options('--node-rates', '4', '--node-seconds', '2', '--node-size', '96', '64'),
        tqdm(disable=True))
    case, = result['rates']
    assert case['seconds'] >= 2
    assert case['images'] >= 4
    assert 1 <= case['labels'] <= case['images'] + 2
    assert case['failed'] == 0
    assert case['received'] >= case['published'] - 1
    assert 0 < case['latency']['median_ms'] <= case['latency']['p99_ms']
    assert case['cpu'] > 0
    assert '| 4 Hz' in node.describe(result)


def test_missing_psutil_is_explained(monkeypatch):
    """The error says what to install, before anything is started."""
    monkeypatch.setitem(sys.modules, 'psutil', None)
    with pytest.raises(RuntimeError, match='pip install psutil'):
        node.measure(options(), tqdm(disable=True))


def test_listener_reads_the_diagnostics_of_its_node():
    """Counts are those of the node in the namespace, and no other's."""
    rclpy.init(domain_id=98)
    try:
        listener = node.LabelListener('/bench')
        statistics = Statistics()
        for _ in range(3):
            statistics.received()
        statistics.dropped()
        for name in ('bench/segment', 'segment'):
            listener._on_diagnostics(DiagnosticArray(status=[status(
                f'{name}: segmentation', Condition('active'), statistics.report())]))
            statistics.received()
    finally:
        rclpy.shutdown()
    assert listener.ticks == 1
    assert listener.counters == {'received': 3, 'published': 0, 'replaced': 1, 'failed': 0}
