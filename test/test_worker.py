"""The newest items are worked on; older ones are dropped, and nothing stops the thread."""

import os
import sys
import threading

from csa_ros.process.threads import BACKGROUND_NICE
from csa_ros.ros.worker import LatestWorker
import pytest

TIMEOUT = 10.0


class Probe:
    """A worker that tells what it handles and waits to be let on."""

    def __init__(self):
        self.handled = []
        self.errors = []
        self.started = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.worker = LatestWorker('probe', self.handle, self.fail)

    def handle(self, items):
        self.started.release()
        assert self.may_go_on.acquire(timeout=TIMEOUT)
        self.handled += items
        if 'bad' in items:
            raise ValueError('bad')
        self.finished.release()

    def fail(self, error):
        self.errors.append(error)
        self.finished.release()

    def let_finish(self):
        self.may_go_on.release()
        assert self.finished.acquire(timeout=TIMEOUT)


@pytest.fixture
def probe():
    probe = Probe()
    yield probe
    probe.may_go_on.release(100)
    assert probe.worker.stop(TIMEOUT)


def test_only_the_newest_of_the_waiting_items_is_handled(probe):
    probe.worker.offer(0)
    assert probe.started.acquire(timeout=TIMEOUT)
    assert [probe.worker.offer(i) for i in (1, 2, 3)] == [False, True, True]
    probe.let_finish()
    probe.let_finish()
    assert probe.handled == [0, 3]


def test_newest_items_of_all_sources_are_handled_together(probe):
    probe.worker.offer('first')
    assert probe.started.acquire(timeout=TIMEOUT)
    offers = [('left 1', 'left'), ('right 1', 'right'), ('left 2', 'left'), ('rear 1', 'rear')]
    assert [probe.worker.offer(*offer) for offer in offers] == [False, False, True, False]
    probe.let_finish()
    probe.let_finish()
    assert probe.handled == ['first', 'left 2', 'right 1', 'rear 1']


def test_a_source_that_floods_leaves_the_others_their_turn(probe):
    probe.worker.offer('busy')
    assert probe.started.acquire(timeout=TIMEOUT)
    probe.worker.offer('patient', 'rear')
    for i in range(100):
        probe.worker.offer(i, 'front')
    probe.let_finish()
    probe.let_finish()
    assert probe.handled == ['busy', 'patient', 99]


def test_thread_survives_an_exception(probe):
    probe.worker.offer('bad')
    probe.let_finish()
    probe.worker.offer('good')
    probe.let_finish()
    assert probe.handled == ['bad', 'good']
    assert [str(error) for error in probe.errors] == ['bad']


def test_calls_run_in_order_before_the_next_item(probe):
    probe.worker.offer('first')
    assert probe.started.acquire(timeout=TIMEOUT)
    probe.worker.offer('second')
    for name in ('a', 'b'):
        probe.worker.call(lambda name=name: probe.handled.append(name))
    probe.let_finish()
    probe.let_finish()
    assert probe.handled == ['first', 'a', 'b', 'second']


def test_call_needs_no_item(probe):
    called = threading.Event()
    probe.worker.call(called.set)
    assert called.wait(TIMEOUT)


def test_flush_drops_what_waits_and_waits_for_what_runs(probe):
    probe.worker.offer('running')
    assert probe.started.acquire(timeout=TIMEOUT)
    probe.worker.offer('waiting')
    assert not probe.worker.flush(0.0)
    probe.may_go_on.release()
    assert probe.worker.flush(TIMEOUT)
    assert probe.handled == ['running']


def test_period_holds_items_back_but_not_calls(probe):
    probe.worker.set_min_period(1e6)
    probe.worker.offer('first')
    probe.let_finish()
    probe.worker.offer('held back')
    called = threading.Event()
    probe.worker.call(called.set)
    assert called.wait(TIMEOUT)
    assert probe.handled == ['first']
    probe.worker.set_min_period(0.0)
    probe.let_finish()
    assert probe.handled == ['first', 'held back']


def test_a_list_that_came_to_nothing_leaves_its_period_to_the_next(probe):
    probe.worker.set_min_period(1e6)
    probe.worker.offer('unreadable')
    assert probe.started.acquire(timeout=TIMEOUT)
    probe.worker.waive_period()
    probe.let_finish()
    probe.worker.offer('next')
    probe.let_finish()
    assert probe.handled == ['unreadable', 'next']


def test_stop_drops_what_waits(probe):
    probe.worker.set_min_period(1e6)
    probe.worker.offer('first')
    probe.let_finish()
    probe.worker.offer('never')
    assert probe.worker.stop(TIMEOUT)
    assert probe.handled == ['first']


@pytest.mark.skipif(sys.platform != 'linux', reason='threads have no levels of their own')
def test_a_background_worker_steps_back_alone():
    levels = []
    done = threading.Event()

    def handle(_):
        levels.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        done.set()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker = LatestWorker('background', handle, levels.append, background=True)
    worker.offer('item')
    assert done.wait(TIMEOUT)
    assert worker.stop(TIMEOUT)
    assert levels == [max(before, BACKGROUND_NICE)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
