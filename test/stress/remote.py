"""The node as a process of its own, and a client that knows it by topics and services alone."""

from collections.abc import Callable
from contextlib import contextmanager
from contextlib import ExitStack
import itertools
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import String

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 120.0
# Far beyond what a service may take, so that what exceeds it hangs.
SERVICE_TIMEOUT = 20.0
EXIT_TIMEOUT = 20.0
# Of a node that failed: enough for the stacks of all its threads.
LOG_TAIL = 20000
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                     reliability=ReliabilityPolicy.RELIABLE)
# Those that no test takes, and whose ports Linux gives to nobody else.
_DOMAINS = itertools.cycle(range(215, 232))
# Longer than it takes to discover other participants.
_DISCOVERY = 1.0


class StressError(RuntimeError):
    """The node did not do what it must; the message says what."""


def wait_for(condition: Callable[[], Any], what: str, timeout: float = SERVICE_TIMEOUT) -> Any:
    """Return the first true result of a function; StressError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise StressError(f'{what} did not come within {timeout:.0f} s')
        time.sleep(0.002)
    return result


class Remote:
    """
    A running node, and what a client of it sees.

    `statuses` are the key-value pairs of its last diagnostics, by camera, and `ticks` is the
    number of diagnostics; `legends` are the (time of arrival, legend) that came since the start,
    by the steady clock.
    """

    def __init__(self, process: subprocess.Popen, log: Path, client: Node) -> None:
        self.process = process
        self.client = client
        self.statuses: dict[str, dict[str, str]] = {}
        self.ticks = 0
        self.legends: list[tuple[float, dict]] = []
        self._log = log
        self._services = {}
        client.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        client.create_subscription(String, '/segment/legend', self._on_legend, LATCHED)

    def check_alive(self) -> None:
        """Raise StressError if the process has ended."""
        if self.process.poll() is not None:
            raise StressError(f'the node ended with exit code {self.process.returncode}:\n'
                              f'{self.log()[-LOG_TAIL:]}')

    @property
    def values(self) -> dict[str, str]:
        """Return the last diagnostics of the first camera, empty before they come."""
        return next(iter(self.statuses.values()), {})

    def log(self) -> str:
        """Return what the node has written."""
        return self._log.read_text(errors='replace')

    def resident_bytes(self) -> int:
        """Return the node's memory: the resident set, of Linux alone."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return 1024 * int(re.search(r'^VmRSS:\s+(\d+) kB', status, re.M)[1])

    def count(self, key: str) -> int:
        """Return a number of the last diagnostics."""
        return int(self.values[key])

    def wait_for_count(self, key: str, number: int, timeout: float = SERVICE_TIMEOUT) -> None:
        """Wait until diagnostics say at least `number`; StressError if they do not."""
        def reached() -> bool:
            self.check_alive()
            return self.count(key) >= number

        try:
            wait_for(reached, '', timeout)
        except StressError:
            self.check_alive()
            raise StressError(f'{key} stays at {self.values.get(key)}, {number} are expected; '
                              f'last error: {self.values.get("last error")}') from None

    def camera(self, topic: str = 'image', message_type: type = Image,
               depth: int = 1) -> Publisher:
        """Return a publisher that the node is connected to."""
        publisher = self.client.create_publisher(
            message_type, topic,
            QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE))
        wait_for(publisher.get_subscription_count, f'a subscription to {topic}')
        return publisher

    def listen(self, topic: str, on_image: Callable[[Image], None]
               ) -> Subscription:
        """Subscribe to an output of the node; it may take a moment until that is connected."""
        return self.client.create_subscription(
            Image, f'/segment/{topic}', on_image, QoSProfile(depth=100))

    def call(self, kind: type, name: str, request: Any) -> tuple[Any, float]:
        """Call a service of the node; return its answer and the seconds that took."""
        if name not in self._services:
            service = self.client.create_client(kind, f'/segment/{name}')
            if not service.wait_for_service(SERVICE_TIMEOUT):
                raise StressError(f'the node has no service {name}')
            # A server does not answer a client that it has not discovered yet.
            time.sleep(0.5)
            self._services[name] = service
        answered = threading.Event()
        start = time.monotonic()
        future = self._services[name].call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(SERVICE_TIMEOUT):
            self.check_alive()
            raise StressError(f'the service {name} did not answer within {SERVICE_TIMEOUT:.0f} s')
        return future.result(), time.monotonic() - start

    def get(self, names: list[str]) -> dict[str, Any]:
        """Return parameters, as the node says they are."""
        answer, _ = self.call(GetParameters, 'get_parameters', GetParameters.Request(names=names))
        values = [Parameter.from_parameter_msg(ParameterMessage(name=name, value=value)).value
                  for name, value in zip(names, answer.values)]
        return dict(zip(names, values))

    def change_state(self, transition: int) -> bool:
        """Ask for a lifecycle transition; return whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        answer, _ = self.call(ChangeState, 'change_state', request)
        return answer.success

    def stop(self, number: int = signal.SIGINT) -> None:
        """End the node by a signal; StressError unless it exits as it should."""
        self.process.send_signal(number)
        if self.process.wait(EXIT_TIMEOUT):
            raise StressError(f'exit code {self.process.returncode} on signal {number}:\n'
                              f'{self.log()[-LOG_TAIL:]}')

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith('segment: '):
                values = {item.key: item.value for item in status.values}
                self.statuses[status.name.removeprefix('segment: ')] = values
        self.ticks += 1

    def _on_legend(self, message: String) -> None:
        self.legends.append((time.monotonic(), json.loads(message.data)))


@contextmanager
def node(wait: bool = True, **parameters: Any):
    """
    Run the node with the demo model; yields a Remote.

    `parameters` replace those of the node; `wait` waits until it is active. The node is killed on
    leaving if it has not been stopped.
    """
    parameters = {'model': 'demo', **parameters}
    with ExitStack() as stack:
        client, domain = stack.enter_context(_client())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / 'parameters.yaml'
        file.write_text(json.dumps({'/**': {'ros__parameters': parameters}}))
        log = folder / 'log'
        process = subprocess.Popen(
            [sys.executable, ROOT / 'bin' / 'segment', '--ros-args', '--params-file', file],
            stdout=log.open('w'), stderr=subprocess.STDOUT,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONFAULTHANDLER': '1',
                 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                 'XDG_CACHE_HOME': str(folder / 'cache')})
        stack.callback(process.wait)
        stack.callback(process.kill)
        remote = Remote(process, log, client)
        if wait:
            def active() -> bool:
                remote.check_alive()
                return remote.values.get('state') == 'active'

            wait_for(active, 'an active node', START_TIMEOUT)
        yield remote


@contextmanager
def _client():
    """Run a ROS node in a thread; yields it and its domain, in which it is alone."""
    context, client, domain = _lonely_client()
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(client)
    stopping = threading.Event()

    def spin() -> None:
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, name='client')
    thread.start()
    try:
        yield client, domain
    finally:
        stopping.set()
        thread.join()
        executor.shutdown()
        client.destroy_node()
        rclpy.try_shutdown(context=context)


def _lonely_client() -> tuple[Context, Node, int]:
    for domain in _DOMAINS:
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        client = rclpy.create_node('client', context=context)
        time.sleep(_DISCOVERY)
        if client.get_node_names() == ['client']:
            return context, client, domain
        client.destroy_node()
        rclpy.try_shutdown(context=context)
