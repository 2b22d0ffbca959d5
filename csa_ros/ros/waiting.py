"""Lets the callbacks of a node wait for other threads while its other callbacks go on."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.task import Future


class Promise:
    """What a coroutine waits for; another thread keeps it."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._future: Future = Future()
        self._wake = wake

    def keep(self, work: Callable[[], Any]) -> None:
        """Let the coroutine go on with what `work`, which is done here, returns or raises."""
        try:
            self._settle(work())
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Let the coroutine raise an error."""
        self._settle(error)

    async def outcome(self) -> Any:
        """Return what was returned, or raise what was raised."""
        found = await self._future
        if isinstance(found, Exception):
            raise found
        return found

    def _settle(self, outcome: Any) -> None:
        if not self._future.done():
            self._future.set_result(outcome)
            self._wake()


class Waiting:
    """
    Makes promises to coroutines that are callbacks of a node.

    They need a callback group of their own, as rclpy runs no other callback of a group meanwhile.
    """

    def __init__(self, node: Node) -> None:
        # Humble to Kilted look after a coroutine when the executor wakes up, and not before.
        self._guard = node.create_guard_condition(lambda: None)
        self._promises: set[Promise] = set()

    async def until(self, start: Callable[[Promise], None]) -> Any:
        """Return what the promise that `start` hands to another thread is kept with."""
        promise = Promise(self._guard.trigger)
        self._promises.add(promise)
        try:
            start(promise)
            return await promise.outcome()
        finally:
            self._promises.discard(promise)

    def give_up(self, error: Exception) -> None:
        """Let all coroutines that wait go on with an error."""
        for promise in list(self._promises):
            promise.fail(error)
