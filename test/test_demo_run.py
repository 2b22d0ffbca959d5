"""The demo: it works from end to end, and fails when what it shows does not happen."""

import os
import subprocess
import sys

from csa_ros.demo import run
from csa_ros.demo.listener import DemoError
from csa_ros.demo.listener import Listener
from csa_ros.demo.listener import Score
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
        [sys.executable, '-m', 'csa_ros.demo.run', '--seconds', '5', '--output', tmp_path],
        env=environment(99), capture_output=True, text=True, timeout=180)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert 'legend version 2' in finished.stdout
    for name in ('before.png', 'after.png'):
        assert cv2.imread(str(tmp_path / name)).shape == (240, 3 * 320, 3)


def test_demo_fails_when_the_node_does(listener):
    """A node that ends is reported with its exit code, at once."""
    with run.processes({'segment': ['--ros-args', '-p', 'model:=nonsense']}) as running:
        with pytest.raises(DemoError, match='segment ended with exit code 1'):
            run.spin_until(listener, running, lambda: False, 60, 'labels')


def test_demo_fails_when_nothing_comes(listener):
    """Waiting is bounded, and the message says for what."""
    with pytest.raises(DemoError, match='no labels within 0 s'):
        run.spin_until(listener, {}, lambda: False, 0.2, 'labels')


def test_demo_fails_on_labels_that_are_not_sane(listener, tmp_path, monkeypatch):
    """A mean IoU below the bound is a failure."""
    poor = Score(2)
    poor.add(np.array([[0, 0, 1, 1]]), np.array([[1, 1, 0, 1]]), 0.1)
    listener.score = poor
    monkeypatch.setattr(run, 'watch', lambda *_: poor)
    for step in ('save', 'change_words'):
        monkeypatch.setattr(run, step, lambda *_: None)
    with pytest.raises(DemoError, match='mIoU is 0.12'):
        run.show(listener, {}, tmp_path, 1)


def test_truth_is_translated_by_the_queries_of_the_legend(listener):
    """True classes count under the class that has their name among its queries."""
    listener._true_names = ['sky', 'car', 'bus', 'person']
    listener.legend = {'classes': [{'id': 0, 'queries': ['car', 'bus']},
                                   {'id': 1, 'queries': ['sky']}]}
    truth = np.array([[0, 1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(listener._translate(truth), [[1, 0, 0, 255]])


def environment(domain):
    """Return this process's environment with a ROS domain of its own."""
    return {**os.environ, 'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
