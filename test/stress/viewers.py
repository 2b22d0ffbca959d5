"""
What viewers of the page cost the segment node, and whether the page leaks or stalls.

A camera sends pictures of 1280 x 720 ten times a second. In turns nobody looks at the page, one
listener aside that subscribes as the page does, and then all viewers look at it. Each of them
takes every frame at once. The node's own time for a frame and its rate are compared between the
turns.
"""

import argparse
import asyncio
from contextlib import ExitStack
import os
from pathlib import Path
import re
import statistics
import subprocess
import sys
import threading
import time

import aiohttp
from csa_ros.demo.scenes import Scene
from csa_ros.ros.images import to_message
from remote import node
from remote import ROOT
from remote import StressError
from remote import wait_for
from report import Report
from report import run
from std_msgs.msg import Header
from tqdm import tqdm

SIZE, RATE = (1280, 720), 10.0
# Seconds of a turn that do not count: viewers come and go.
SETTLING = 3.0
TARGET_SLOWDOWN, TARGET_STALL = 5.0, 3.0


class Viewers:
    """Some viewers in a thread of their own, which look while `looking` is set."""

    def __init__(self, url: str, number: int) -> None:
        self.frames = self.bytes = 0
        self.gaps: list[float] = []
        self.looking = threading.Event()
        self.ended = threading.Event()
        self._url = url
        self._number = number
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self.ended.set()
        self._thread.join()

    async def _run(self) -> None:
        while not self.ended.is_set():
            if self.looking.is_set():
                async with aiohttp.ClientSession() as session:
                    await asyncio.gather(*(self._view(session) for _ in range(self._number)))
            await asyncio.sleep(0.1)

    async def _view(self, session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(f'{self._url}socket') as socket:
            await socket.send_json({'token': ''})
            await socket.send_json({'type': 'watch', 'node': '/segment', 'camera': '',
                                    'kinds': ['image', 'labels']})
            last = 0.0
            while self.looking.is_set() and not self.ended.is_set():
                try:
                    message = await socket.receive(0.5)
                except asyncio.TimeoutError:
                    continue
                if message.type is aiohttp.WSMsgType.BINARY:
                    now = time.monotonic()
                    self.gaps += [now - last] if last else []
                    last = now
                    self.frames += 1
                    self.bytes += len(message.data)
                    await socket.send_json({'type': 'ack'})
                elif message.type is not aiohttp.WSMsgType.TEXT:
                    raise StressError(f'the page has closed a socket: {message}')


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Measure in turns without and with viewers."""
    cores = sorted(os.sched_getaffinity(0))
    # The node has cores of its own: else it would be slowed by viewers as by any other program.
    half = max(len(cores) // 2, 1)
    os.sched_setaffinity(0, cores[:half])
    with ExitStack() as stack:
        stack.callback(_stay_on, cores)
        remote = stack.enter_context(node(short_side=options.short_side))
        _stay_on(cores[half:] or cores)
        picture = to_message(Scene(1).render(0.0, SIZE).rgb, 'rgb8', Header())
        publisher = remote.camera()
        stopping = threading.Event()

        def send() -> None:
            while not stopping.wait(1 / RATE):
                picture.header.stamp = remote.client.get_clock().now().to_msg()
                publisher.publish(picture)

        camera = threading.Thread(target=send)
        camera.start()
        masks: list[float] = []
        remote.listen('labels', lambda _: masks.append(time.monotonic()))
        page = subprocess.Popen(
            [sys.executable, ROOT / 'bin' / 'web', '--ros-args', '-p', 'port:=0'], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, 'ROS_DOMAIN_ID': str(remote.client.context.get_domain_id()),
                 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
        viewers = Viewers(re.search(r'http\S+', page.stdout.readline())[0], options.viewers)
        rates, latencies, costs = ([], []), ([], []), ([], [])
        resident = []
        try:
            ends = time.monotonic() + options.minutes * 60
            while time.monotonic() < ends:
                for viewed in (0, 1):
                    (viewers.looking.set if viewed else viewers.looking.clear)()
                    if viewed:
                        seen = viewers.frames
                        wait_for(lambda seen=seen: viewers.frames > seen, 'a frame of the page')
                    time.sleep(SETTLING)
                    # As diagnostics, which are about the last ten seconds, tell it.
                    before, spent = len(masks), _cpu_seconds(remote.process.pid)
                    time.sleep(options.turn)
                    frames = max(len(masks) - before, 1)
                    costs[viewed].append(
                        1000 * (_cpu_seconds(remote.process.pid) - spent) / frames)
                    rates[viewed].append((len(masks) - before) / options.turn)
                    latencies[viewed].append(float(
                        remote.values['latency p50, p95 (ms)'].split(',')[0]))
                    remote.check_alive()
                    resident.append(_resident(page.pid))
                    progress.update()
        finally:
            viewers.stop()
            page.terminate()
            page.wait(20)
            stopping.set()
            camera.join()
    _judge(report, viewers, rates, latencies, costs, resident)


def _judge(report: Report, viewers: Viewers, rates: tuple, latencies: tuple, costs: tuple,
           resident: list) -> None:
    slower = [100 * (1 - after / before) for before, after in zip(*rates)]
    late = [100 * (after / before - 1) for before, after in zip(*latencies)]
    half = len(resident) // 2
    report.figures.update({
        'frames/s of the node without viewers': statistics.median(rates[0]),
        'frames/s of the node with viewers': statistics.median(rates[1]),
        'slower by (%), median of the turns': statistics.median(slower),
        'latency p50 without viewers (ms)': statistics.median(latencies[0]),
        'latency p50 with viewers (ms)': statistics.median(latencies[1]),
        'latency longer by (%), median of the turns': statistics.median(late),
        'CPU time of the node for a frame without viewers (ms)': statistics.median(costs[0]),
        'CPU time of the node for a frame with viewers (ms)': statistics.median(costs[1]),
        'frames that viewers got': viewers.frames,
        'longest gap between the frames of a viewer (s)': max(viewers.gaps, default=0.0),
        'megabytes that viewers got': viewers.bytes / 1e6,
        'memory of the page, first half (MB)': max(resident[:half], default=0) / 1e6,
        'memory of the page, second half (MB)': max(resident[half:], default=0) / 1e6,
    })
    report.expect(statistics.median(slower) <= TARGET_SLOWDOWN,
                  f'the node is slower by {statistics.median(slower):.1f} %')
    report.expect(max(viewers.gaps, default=0.0) <= TARGET_STALL, 'a viewer has waited too long')
    report.expect(viewers.frames > 0, 'viewers got no frame')


def _stay_on(cores: list[int]) -> None:
    """Let all threads of this process, and what it starts from now on, run on some cores."""
    for thread in os.listdir('/proc/self/task'):
        os.sched_setaffinity(int(thread), cores)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2].split()
    # utime and stime, of all threads: proc(5).
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _resident(pid: int) -> int:
    status = Path(f'/proc/{pid}/status').read_text()
    return 1024 * int(re.search(r'^VmRSS:\s+(\d+) kB', status, re.M)[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument('--minutes', type=float, default=5.0, help='default %(default)s')
    parser.add_argument('--turn', type=float, default=12.0,
                        help='seconds of a turn that count (default %(default)s)')
    parser.add_argument('--viewers', type=int, default=20, help='default %(default)s')
    parser.add_argument('--short-side', type=int, default=112,
                        help='of the frames, in pixels: so small that the node keeps up with the '
                        'camera on a slow computer (default %(default)s)')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
