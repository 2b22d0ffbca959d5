"""The demo: it works from end to end, and fails when what it shows does not happen."""

import os
import subprocess
import sys

from csa_ros.demo import run
from csa_ros.demo import teaching
from csa_ros.demo import watching
from csa_ros.demo.listener import DemoError
from csa_ros.demo.listener import Judged
from csa_ros.demo.listener import Listener
from csa_ros.demo.listener import Score
from csa_ros.demo.listener import translate
import cv2
import numpy as np
import pytest
import rclpy


@pytest.fixture
def listener():
    """Return a listener in a domain of its own."""
    rclpy.init(domain_id=100)
    yield Listener()
    rclpy.shutdown()


def test_demo_works(tmp_path):
    """Camera and node run, words change, pictures are written and the exit code is 0."""
    finished = subprocess.run(
        [sys.executable, '-m', 'csa_ros.demo.run', '--seconds', '2', '--output', tmp_path],
        env=environment(99), capture_output=True, text=True, timeout=180)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert 'legend version 2' in finished.stdout
    for name in ('before.png', 'after.png'):
        assert cv2.imread(str(tmp_path / name)).shape == (240, 3 * 320, 3)


def test_demo_fails_when_the_node_does(listener):
    """A node that ends is reported with its exit code, at once."""
    with run.processes({'segment': ['--ros-args', '-p', 'model:=nonsense']}) as running:
        with pytest.raises(DemoError, match='segment ended with exit code 1'):
            watching.spin_until(listener, running, lambda: False, 60, 'labels')


def test_demo_fails_when_nothing_comes(listener):
    """Waiting is bounded, and the message says for what."""
    with pytest.raises(DemoError, match='no labels within 0 s'):
        watching.spin_until(listener, {}, lambda: False, 0.2, 'labels')


def test_demo_fails_on_labels_that_are_not_sane(listener, tmp_path, monkeypatch):
    """A mean IoU below the bound is a failure."""
    rgb = np.zeros((1, 4, 3), np.uint8)
    poor = Score({'classes': [{}, {}]}, Judged(
        rgb, rgb, np.array([[0, 0, 1, 1]]), np.array([[1, 1, 0, 1]]), 0.1))
    listener.score = poor
    monkeypatch.setattr(run, 'change_words', lambda *_: poor)
    for step in ('save', 'watch'):
        monkeypatch.setattr(run, step, lambda *_: None)
    with pytest.raises(DemoError, match='mIoU is 0.12'):
        run.show(listener, {}, tmp_path, 1)


def test_truth_is_translated_by_the_queries_of_the_legend():
    """True classes count under the class that has their name among its queries."""
    legend = {'classes': [{'id': 0, 'name': 'car', 'queries': ['car', 'bus']},
                          {'id': 1, 'name': 'sky', 'queries': ['sky']}]}
    truth = np.array([[0, 1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(
        translate(truth, ['sky', 'car', 'bus', 'person'], legend, {}), [[1, 0, 0, 255]])


def test_truth_counts_under_the_words_that_stand_for_it():
    legend = {'classes': [{'id': 0, 'queries': ['sky'], 'name': 'sky'},
                          {'id': 1, 'queries': ['zorblax'], 'name': 'zorblax'}]}
    np.testing.assert_array_equal(
        translate(np.array([[0, 1, 2]], np.uint8), ['sky', 'building', 'car'], legend,
                  {'zorblax': 'building'}), [[0, 1, 255]])


def test_the_demo_of_teaching_works(tmp_path):
    """A word without a meaning is taught over DDS and found; both pictures are written."""
    finished = subprocess.run(
        [sys.executable, '-m', 'csa_ros.demo.run', '--teach', '--seconds', '2', '--output',
         tmp_path], env=environment(97), capture_output=True, text=True, timeout=180)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert 'zorblax: 3 examples' in finished.stdout
    assert 'by the word alone, 0.' in finished.stdout
    for name in ('untaught.png', 'taught.png'):
        assert cv2.imread(str(tmp_path / name)).shape == (240, 3 * 320, 3)


def test_the_demo_of_teaching_fails_when_nothing_was_learned(listener, tmp_path, monkeypatch):
    ids = np.array([[0, 0, 1, 1]], np.uint8)
    rgb = np.zeros((1, 4, 3), np.uint8)
    legend = {'classes': [{'name': 'sky'}, {'name': teaching.WORD}]}
    poor = Score(legend, Judged(rgb, rgb, ids, 1 - ids, 0.1))
    listener.score = poor
    for name in ('change_words', '_teach'):
        monkeypatch.setattr(teaching, name, lambda *_: poor)
    for name in ('save', 'watch'):
        monkeypatch.setattr(teaching, name, lambda *_: None)
    with pytest.raises(DemoError, match='the IoU of what was taught is 0.00'):
        teaching.show_teaching(listener, {}, tmp_path, 1)


def test_a_box_is_drawn_around_what_is_large_enough():
    mask = np.zeros((50, 100), bool)
    assert teaching.largest_box(mask) is None
    mask[3, 3] = True
    assert teaching.largest_box(mask) is None
    mask[10:30, 20:50] = True
    assert teaching.largest_box(mask) == (20, 10, 30, 20)


def test_demo_fails_when_the_labels_cease(listener, monkeypatch):
    """What was seen before the watch does not count."""
    rgb, ids = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    listener.score = Score({'classes': [{}]}, Judged(rgb, rgb, ids, ids, 0.1))
    monkeypatch.setattr(watching, 'LABELS_TIMEOUT', 0.0)
    with pytest.raises(DemoError, match='no labels within 0 s'):
        watching.watch(listener, {}, listener.score, 0.2)


def test_the_listener_has_parameters_as_any_node(listener):
    """The client of those of `segment` does not take their place."""
    assert listener.get_parameter('use_sim_time').value is False


def environment(domain):
    """Return this process's environment with a ROS domain of its own."""
    return {**os.environ, 'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
