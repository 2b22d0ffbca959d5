"""
Runs the demo: camera and node as processes of their own, and a listener beside them.

Everything goes over DDS, as on a robot: images in, labels out, new words through the parameter
service. Started by `scripts/demo`.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import queue
import subprocess
import sys
import threading
import time
import webbrowser

from ament_index_python.packages import get_package_prefix
from csa_ros.demo.listener import DemoError
from csa_ros.demo.listener import Listener
from csa_ros.demo.teaching import show_teaching
from csa_ros.demo.watching import change_words
from csa_ros.demo.watching import Running
from csa_ros.demo.watching import save
from csa_ros.demo.watching import spin_until
from csa_ros.demo.watching import START_TIMEOUT
from csa_ros.demo.watching import watch
from csa_ros.ros.context import initialize
from csa_ros.vocabulary import DEFAULT_VOCABULARY
import cv2
import rclpy
from rclpy.executors import ExternalShutdownException

# What the words are changed to half way: fewer, broader classes, one of them under a new name.
NEW_VOCABULARY = ('sky', 'street=road', 'plants=tree|grass', 'vehicle=car|bus|truck',
                  'person|pedestrian', 'building|house', 'pavement|sidewalk')
# Chance is below 0.05 for both vocabularies; the model that is bundled does far better.
SANE_MIOU = 0.15


@contextmanager
def processes(commands: Mapping[str, Sequence[str]]) -> Iterator[Running]:
    """Run executables of this package as processes, as `ros2 run` does; end them on leaving."""
    folder = Path(get_package_prefix('csa_ros')) / 'lib' / 'csa_ros'
    running: Running = {}
    try:
        for name, arguments in commands.items():
            running[name] = subprocess.Popen([sys.executable, folder / name, *arguments])
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def show(listener: Listener, running: Running, output: Path, seconds: float) -> None:
    """Run the demo from start to end; DemoError if anything is not as it should be."""
    output.mkdir(parents=True, exist_ok=True)
    print('Waiting for the first labels ...')
    before = spin_until(listener, running, lambda: listener.score, START_TIMEOUT, 'labels')
    print(f'Segmenting by {len(DEFAULT_VOCABULARY)} words: {", ".join(DEFAULT_VOCABULARY)}')
    watch(listener, running, before, seconds)
    save(before, output / 'before.png')
    print(f'Changing the words while it runs: {", ".join(NEW_VOCABULARY)}')
    after = change_words(listener, running, NEW_VOCABULARY)
    watch(listener, running, after, seconds)
    save(after, output / 'after.png')
    for score in (before, after):
        if score.miou < SANE_MIOU:
            raise DemoError(f'mIoU is {score.miou:.2f}: the labels are not sane, below '
                            f'{SANE_MIOU}')


def open_page(listener: Listener, running: Running, port: int) -> None:
    """Keep running, with the page in a browser where there is a screen, until interrupted."""
    url = f'http://localhost:{port}/'
    spin_until(listener, running, lambda: listener.score, START_TIMEOUT, 'labels')
    shown = (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')) and (
        webbrowser.open(url))
    print(f'The page is {"open" if shown else "to be opened"} at {url}\nCtrl-C ends the demo.',
          flush=True)
    spin_until(listener, running, lambda: False, float('inf'), 'end')


def live(listener: Listener, running: Running, output: Path) -> None:
    """Keep running; take new words from the keyboard until interrupted."""
    output.mkdir(parents=True, exist_ok=True)
    score = spin_until(listener, running, lambda: listener.score, START_TIMEOUT, 'labels')
    print(f'Running. The newest frame is in {output / "live.png"}.\n'
          'Type words and press Enter to change them, as in: road, car|truck, person\n'
          'Ctrl-C ends the demo.')
    typed: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_put_lines, args=(typed,), daemon=True).start()
    while True:
        second = time.monotonic() + 1
        spin_until(listener, running, lambda: time.monotonic() > second, 5, 'tick')
        # Others may have changed the words as well.
        score = listener.score or score
        cv2.imwrite(str(output / 'live.png'), cv2.cvtColor(score.draw(), cv2.COLOR_RGB2BGR))
        print(f'  {score}', flush=True)
        while not typed.empty():
            try:
                change_words(listener, running, typed.get().strip().split(','))
            except DemoError as error:
                print(f'  {error}')


def _put_lines(typed: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        typed.put(line)


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog='scripts/demo', description='Segment a rendered street.')
    parser.add_argument('--live', action='store_true',
                        help='keep running, with the page to see and steer it in a browser')
    parser.add_argument('--terminal', action='store_true',
                        help='with --live, take new words from the keyboard instead')
    parser.add_argument('--port', type=int, default=8780,
                        help='TCP port of the page (default 8780)')
    parser.add_argument('--teach', action='store_true',
                        help='teach a word that means nothing by three boxes, and find it')
    parser.add_argument('--seconds', type=float, default=12.0,
                        help='how long to watch before and after the change (default 12)')
    parser.add_argument('--output', type=Path, default=Path('demo_output'),
                        help='folder for the pictures (default demo_output)')
    arguments = parser.parse_args(args)
    commands: dict[str, list[str]] = {
        'demo_camera': [], 'segment': ['--ros-args', '-p', 'model:=demo']}
    if arguments.teach:
        # Hard streets would tell more of weather than of teaching.
        commands['demo_camera'] = ['--ros-args', '-p', 'hard:=false']
    paged = arguments.live and not arguments.terminal
    if paged:
        commands['web'] = ['--ros-args', '-p', f'port:={arguments.port}']
    initialize('demo', ['demo'])
    try:
        listener = Listener()
        with processes(commands) as running:
            if paged:
                open_page(listener, running, arguments.port)
            elif arguments.live:
                live(listener, running, arguments.output)
            elif arguments.teach:
                show_teaching(listener, running, arguments.output, arguments.seconds)
            else:
                show(listener, running, arguments.output, arguments.seconds)
    except DemoError as error:
        print(f'The demo failed: {error}', file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0 if arguments.live else 130
    finally:
        rclpy.try_shutdown()
    print('The demo worked.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
