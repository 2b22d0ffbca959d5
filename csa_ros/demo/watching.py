"""Watching the demo: waiting for what is to come, scores as they go, pictures, other words."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
import subprocess
import sys
import time
from typing import TypeVar

from csa_ros.demo.listener import DemoError
from csa_ros.demo.listener import Listener
from csa_ros.demo.listener import Score
from csa_ros.vocabulary import Vocabulary
import cv2
import rclpy
from rclpy.node import Node

START_TIMEOUT, CHANGE_TIMEOUT, LABELS_TIMEOUT = 90.0, 30.0, 30.0

Running = dict[str, subprocess.Popen]
Found = TypeVar('Found')


def spin_until(node: Node, running: Running, done: Callable[[], Found | None], timeout: float,
               waiting_for: str) -> Found:
    """Spin until `done()`, and return it; DemoError on a time-out, or if a process ends before."""
    deadline = time.monotonic() + timeout
    while not (found := done()):
        rclpy.spin_once(node, timeout_sec=0.1)
        for name, process in running.items():
            if process.poll() is not None:
                raise DemoError(f'{name} ended with exit code {process.returncode}')
        if time.monotonic() > deadline:
            raise DemoError(f'no {waiting_for} within {timeout:.0f} s')
    return found


def watch(listener: Listener, running: Running, score: Score, seconds: float) -> None:
    """Watch the labels for some seconds, and until the next ones, telling how it goes."""
    before = score.frames
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        second = time.monotonic() + 1
        spin_until(listener, running, lambda: time.monotonic() > second, 5, 'tick')
        if sys.stdout.isatty():
            print(f'\r  {score}', end='', flush=True)
    # A busy computer may take longer for one frame than was to be watched.
    spin_until(listener, running, lambda: listener.score is not score or score.frames > before,
               LABELS_TIMEOUT, 'labels')
    if listener.score is not score:
        raise DemoError('the legend changed while nobody changed the words')
    print(f'\r  {score}')


def save(score: Score, path: Path) -> None:
    """Write the newest frame as a PNG file."""
    cv2.imwrite(str(path), cv2.cvtColor(score.draw(), cv2.COLOR_RGB2BGR))
    print(f'  wrote {path}: input, overlay with key, truth')


def change_words(listener: Listener, running: Running, entries: Sequence[str]) -> Score:
    """Set new words, wait for the first labels that use them, and return their score."""
    before, asked = listener.score, time.monotonic()
    listener.set_vocabulary(entries)
    after = spin_until(
        listener, running, lambda: listener.score if listener.score is not before else None,
        CHANGE_TIMEOUT, 'labels with the new words')
    names = [entry['name'] for entry in after.legend['classes']]
    if names != list(Vocabulary.parse(entries).names):
        raise DemoError(f'the legend names {names}, not the new words')
    print(f'  in force after {time.monotonic() - asked:.2f} s, legend version '
          f'{after.legend["version"]}')
    return after
