"""A ROS node that spins in a thread of its own, for a program that runs in an event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
import threading
from typing import Any

from csa_ros.ros.subscription import AdaptiveSubscription
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

# Seconds that a service may take: to load a model or to tune takes the longest.
SERVICE_TIMEOUT = 120.0


class NoAnswer(Exception):
    """A service is not there, or does not answer; the message says which."""


class RosThread:
    """
    Does all that has to do with a node in one thread, and tells the event loop what comes of it.

    Made in the event loop; `ended` is called there if ROS is shut down from outside.
    """

    def __init__(self, node: Node, ended: Callable[[], None]) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._jobs: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._work)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='ros')
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._guard.trigger()
        self._thread.join()
        self._executor.shutdown()

    def post(self, job: Callable[[], Any]) -> 'Future[Any]':
        """Let the thread do something; return the future of what that returns."""
        future: Future[Any] = Future()

        def work() -> None:
            # Who waited for it may have gone meanwhile.
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

        self._jobs.append(work)
        self._guard.trigger()
        return future

    async def run(self, job: Callable[[], Any]) -> Any:
        """Return what the thread makes of a job."""
        return await asyncio.wrap_future(self.post(job))

    async def subscribe(self, message_type: type, topic: str, qos: QoSProfile,
                        take: Callable[[Any], None]) -> Any:
        """Let the event loop have each message of a topic; return the subscription."""
        return await self.run(lambda: self._node.create_subscription(
            message_type, topic, self._in_loop(take), qos))

    async def follow(self, message_type: type, type_name: str, topic: str,
                     take: Callable[[Any], None]) -> AdaptiveSubscription:
        """Do so as the publishers offer it; `refresh` on the subscription keeps it so."""
        return await self.run(lambda: AdaptiveSubscription(
            self._node, message_type, type_name, topic, self._in_loop(take), lambda number: None))

    async def unsubscribe(self, subscription: Any) -> None:
        """Take a subscription off the graph."""
        if isinstance(subscription, AdaptiveSubscription):
            await self.run(subscription.destroy)
        else:
            await self.run(lambda: self._node.destroy_subscription(subscription))

    async def client(self, service_type: type, name: str) -> Client:
        """Return a client of a service, for `call`."""
        return await self.run(lambda: self._node.create_client(service_type, name))

    async def drop_client(self, client: Client) -> None:
        """Take a client off the graph."""
        await self.run(lambda: self._node.destroy_client(client))

    async def call(self, client: Client, request: Any, timeout: float = SERVICE_TIMEOUT) -> Any:
        """Return the answer of a service; raise NoAnswer."""
        answered: asyncio.Future[Any] = asyncio.Future(loop=self._loop)

        def settle(answer: Any) -> None:
            if not answered.done():
                answered.set_result(answer)

        def ask() -> Any:
            if not client.service_is_ready():
                return None
            future = client.call_async(request)
            future.add_done_callback(
                lambda done: self._tell(settle, None if done.cancelled() else done.result()))
            return future

        asked = await self.run(ask)
        try:
            answer = await asyncio.wait_for(answered, timeout) if asked else None
        except asyncio.TimeoutError:
            await self.run(asked.cancel)
            raise NoAnswer(f'{client.srv_name} has not answered within {timeout:.0f} s') from None
        if answer is None:
            raise NoAnswer(f'{client.srv_name} is not there: has the node ended?')
        return answer

    def _in_loop(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda message: self._tell(take, message)

    def _tell(self, take: Callable[..., None], *values: Any) -> None:
        # The loop may end before the thread does.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(take, *values)

    def _work(self) -> None:
        while self._jobs:
            self._jobs.popleft()()

    def _spin(self) -> None:
        try:
            while not self._stopping.is_set():
                self._executor.spin_once(timeout_sec=0.5)
        except ExternalShutdownException:
            self._tell(self._ended)
