"""Configure, activate, pause, free, start over; and the process around it."""

import gc
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

from csa_ros.model.errors import ModelError
from csa_ros.ros.node import main
from csa_ros.ros.node import SegmentNode
from csa_ros.settings import Settings
from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import ProbeSegmenter
from graph import stamp_of
from graph import TIMEOUT
from graph import wait_for
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

ROOT = Path(__file__).parent.parent


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name in ('segment', 'encode')]


def nodes():
    return sum(isinstance(item, SegmentNode) for item in gc.get_objects())


def received(graph):
    return graph.report().totals['received']


def test_unconfigured_node_has_no_outputs_and_no_threads(graph, tmp_path):
    graph.start(tmp_path, autostart=False)
    assert graph.state() == 'unconfigured'
    assert graph.segmenter is None
    assert worker_threads() == []


def test_inactive_node_is_loaded_but_does_not_listen(graph, tmp_path):
    graph.start(tmp_path, autostart=False)
    assert graph.change_state(CONFIGURE)
    assert graph.state() == 'inactive'
    assert graph.segmenter.frames == 1  # the warm-up
    for _ in range(10):
        graph.stream(lambda: True)
    assert received(graph) == 0
    assert graph.legends == []


def test_deactivate_pauses_and_activate_resumes(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.change_state(DEACTIVATE)
    graph.settle()
    masks, frames = len(graph.labels), graph.segmenter.frames
    graph.set_each(vocabulary='a, b, c')
    for _ in range(20):
        graph.stream(lambda: True)
    assert (len(graph.labels), graph.segmenter.frames) == (masks, frames)
    assert graph.change_state(ACTIVATE)
    wait_for(lambda: graph.legends[-1]['version'] == 2)
    graph.flow()
    assert set(graph.labels[-1].data) == {2}


def test_cleanup_frees_the_model_and_its_threads(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert len(worker_threads()) == 2
    assert graph.change_state(DEACTIVATE)
    assert graph.change_state(CLEANUP)
    assert worker_threads() == []
    weights = weakref.ref(graph.segmenter.backbone.clip)
    graph.segmenter = None
    gc.collect()
    assert weights() is None


def test_node_starts_over_after_cleanup_with_another_model(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.change_state(DEACTIVATE)
    graph.change_state(CLEANUP)
    assert graph.set_each(attention='vanilla', residual='drop') == ['', '']
    assert graph.change_state(CONFIGURE)
    assert graph.change_state(ACTIVATE)
    graph.flow()
    assert re.search(r'vanilla attention, .* dropped \(as asked for\)', graph.node._ready())
    assert graph.legends[-1]['version'] == 2


def test_legends_after_cleanup_do_not_reach_back_to_earlier_masks(graph, tmp_path):
    graph.start(tmp_path).flow()
    last = max(stamp_of(mask) for mask in graph.labels)
    for transition in DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE:
        assert graph.change_state(transition)
    second = wait_for(lambda: [item for item in graph.legends if item['version'] == 2])[0]
    assert (second['stamp']['sec'], second['stamp']['nanosec']) > last


@pytest.mark.parametrize('before, transition', [
    ([], Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
    ([CONFIGURE], Transition.TRANSITION_INACTIVE_SHUTDOWN),
    ([CONFIGURE, ACTIVATE], Transition.TRANSITION_ACTIVE_SHUTDOWN),
])
def test_shutdown_works_in_every_state(graph, tmp_path, before, transition):
    graph.start(tmp_path, autostart=False)
    for step in before:
        assert graph.change_state(step)
    assert graph.change_state(transition)
    assert graph.state() == 'finalized'
    assert worker_threads() == []


@pytest.mark.parametrize('fails', [False, True])
def test_state_is_told_while_the_model_loads_and_parameters_wait(graph, tmp_path, fails):
    may_load, loading = threading.Event(), threading.Event()

    def load(**_):
        loading.set()
        assert may_load.wait(TIMEOUT)
        if fails:
            raise ModelError('no weights here')
        graph.segmenter = ProbeSegmenter(tmp_path, 'csa', 'auto', Settings())
        return graph.segmenter

    graph.start(tmp_path, autostart=False, load=load)
    configured = graph.call_later(ChangeState, 'change_state', ChangeState.Request(
        transition=Transition(id=CONFIGURE)))
    wait_for(loading.is_set)
    words = Parameter('vocabulary', value='a, b, c').to_parameter_msg()
    changed = graph.call_later(
        SetParameters, 'set_parameters', SetParameters.Request(parameters=[words]))
    for _ in range(3):
        assert graph.state() == 'configuring'
    assert graph.transitions() == {'transition_success', 'transition_failure', 'transition_error'}
    assert not configured.done() and not changed.done()
    may_load.set()
    wait_for(configured.done)
    assert configured.result().success != fails
    wait_for(changed.done)
    assert changed.result().results[0].successful
    assert graph.state() == ('unconfigured' if fails else 'inactive')
    # What had to wait counts.
    if not fails:
        assert graph.change_state(ACTIVATE)
        wait_for(lambda: graph.legends and len(graph.legends[-1]['classes']) == 3)


def test_failed_configuration_is_explained_and_can_be_repeated(graph, tmp_path):
    def load(**_):
        raise ModelError('no weights here: run fetch_model first')

    graph.start(tmp_path, autostart=False, load=load)
    assert not graph.change_state(CONFIGURE)
    assert graph.state() == 'unconfigured'
    wait_for(lambda: any(status.level == status.ERROR and 'fetch_model' in status.message
                         for status in graph.statuses), 'an ERROR that says why')
    assert not graph.change_state(CONFIGURE)


def test_transition_that_raises_starts_over(graph, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError('no subscription today')

    graph.start(tmp_path, autostart=False)
    assert graph.change_state(CONFIGURE)
    with monkeypatch.context() as patch:
        patch.setattr('csa_ros.ros.camera.ImageInput', fail)
        assert not graph.change_state(ACTIVATE)
    assert graph.state() == 'unconfigured'
    assert worker_threads() == []
    assert graph.change_state(CONFIGURE)
    assert graph.change_state(ACTIVATE)
    graph.flow()


@pytest.mark.parametrize('parameter, reason', [
    ('vocabulary:=[road, road]', 'named'),
    ('vocabulary:=[]', 'empty'),
    ('lazy:=3', 'true or false'),
    ('model:=ViT-B-16-quickgelu:/nowhere/weights.pt', '/nowhere/weights.pt'),
    ('vocabulary:=[road, no]', 'bad arguments'),
    ('refine:=on', 'refine is true, as YAML reads yes, on and y: use off or pamr or pamr-output'),
    ('device:=0', 'device is 0: use auto, cpu, cuda or cuda:N'),
])
def test_bad_start_ends_with_a_reason_and_no_node(capfd, parameter, reason):
    before = nodes()
    assert main(['segment', '--ros-args', '-p', parameter]) == 1
    output = capfd.readouterr().err
    assert reason in output
    assert 'Traceback' not in output
    # What is not freed would stay on the graph for 20 s, since the process ends without it.
    assert nodes() <= before


def test_signal_while_the_executable_starts_leaves_no_traceback():
    process = subprocess.Popen([sys.executable, ROOT / 'bin' / 'segment'],
                               stderr=subprocess.PIPE, text=True)
    assert 'starting' in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert errors == ''


def test_ctrl_c_ends_the_process_cleanly(graph):
    """The executable, as it is; `test_node_faults.py` has all states and the other signal."""
    process = subprocess.Popen(
        [sys.executable, ROOT / 'bin' / 'segment', '--ros-args', '-p', 'autostart:=false'],
        stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'ROS_DOMAIN_ID': str(graph.domain)})
    try:
        # A busy machine takes long to import PyTorch.
        wait_for(lambda: 'segment' in graph.client.get_node_names() or process.poll() is not None,
                 'a node', 5 * TIMEOUT)
        time.sleep(0.5)  # it spins a moment after it is on the graph
        process.send_signal(signal.SIGINT)
        # As launch does it: the terminal's Ctrl-C reaches the node first, then launch's own.
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == 0
    assert 'Traceback' not in output
    assert 'leaked' not in output


def test_signal_thread_of_rclpy_finds_the_executor_alive_until_it_has_ended(monkeypatch):
    # That thread wakes every executor and does not see whether one is being freed.
    executors = weakref.WeakSet()
    alive = []

    class Executor:

        def __init__(self):
            executors.add(self)

        def add_node(self, node):
            pass

        def spin(self):
            raise KeyboardInterrupt

    class Node:
        autostart = False

        def destroy_node(self):
            pass

    monkeypatch.setattr('csa_ros.ros.node.SingleThreadedExecutor', Executor)
    monkeypatch.setattr('csa_ros.ros.node.SegmentNode', Node)
    monkeypatch.setattr('rclpy.init', lambda args: None)
    monkeypatch.setattr('rclpy.try_shutdown', lambda: alive.append(len(executors)))
    assert main() == 0
    assert alive == [1]
