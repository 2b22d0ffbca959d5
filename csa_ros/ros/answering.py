"""Answers who asks for the lifecycle state of a node while a transition takes its time."""

from collections.abc import Callable
from concurrent.futures import Future
import threading
from typing import TypeVar

from lifecycle_msgs.srv import GetAvailableStates
from lifecycle_msgs.srv import GetAvailableTransitions
from lifecycle_msgs.srv import GetState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode

_QUESTIONS = (GetState, GetAvailableStates, GetAvailableTransitions)

Result = TypeVar('Result')


class StateAnswers:
    """
    Lets a lifecycle node answer what state it is in while slow work is done in a transition.

    rclpy runs a transition in a callback, and with a SingleThreadedExecutor no other one runs
    meanwhile: a manager takes a node that does not answer for dead. Here the work is done in
    another thread, and the executor's thread answers; all other callbacks of the node, such as
    those that set parameters, still wait for the end of the transition.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        group = MutuallyExclusiveCallbackGroup()
        for service in node.services:
            if service.srv_type in _QUESTIONS:
                service.callback_group = group
                group.add_entity(service)
        # What holds the group of all other callbacks while there is a transition.
        self._transition = node.create_guard_condition(lambda: None)
        # Kept as long as the node: on a signal rclpy wakes all executors, and crashes if one has
        # just been freed.
        self._executor = SingleThreadedExecutor(context=node.context)

    def during(self, work: Callable[[], Result]) -> Result:
        """
        Return what `work` returns, or raise what it raises; for the executor's thread.

        `work` must not hold on to the node: a signal ends the waiting, and not the work. Raises
        KeyboardInterrupt if the context is shut down, as a signal does.
        """
        done: Future[Result] = Future()
        threading.Thread(
            target=_run, args=(work, done), name='transition', daemon=True).start()
        group, home = self._node.default_callback_group, self._node.executor
        # It is held already where a service has called for the transition.
        held = group.beginning_execution(self._transition)
        self._executor.add_node(self._node)
        try:
            while not done.done():
                # Not woken by the thread, which would hold on to the node with the executor.
                self._executor.spin_once(timeout_sec=0.05)
        except ExternalShutdownException:
            # rclpy would take any other exception for a transition that has failed.
            raise KeyboardInterrupt from None
        finally:
            self._executor.remove_node(self._node)
            if home:
                home.add_node(self._node)
            if held:
                group.ending_execution(self._transition)
        return done.result()


def _run(work: Callable[[], Result], done: 'Future[Result]') -> None:
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)
