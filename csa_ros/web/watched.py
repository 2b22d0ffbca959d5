"""What is known of a segment node, and what can be asked of it, by topics and services alone."""

import asyncio
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
import json
import posixpath
import re
import time
from typing import Any

from csa_ros.parameters.cameras import read_cameras
from csa_ros.parameters.errors import ParameterError
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError
from csa_ros.web.ros_thread import NoAnswer
from csa_ros.web.ros_thread import RosThread
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.msg import TransitionEvent
from lifecycle_msgs.srv import ChangeState
from lifecycle_msgs.srv import GetAvailableTransitions
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import DescribeParameters
from rcl_interfaces.srv import GetParameters
from rcl_interfaces.srv import ListParameters
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
LATCHED_TOPICS = {
    'legend': 'legend', 'examples': 'examples', 'thumbnails': 'examples/thumbnails'}
# Seconds between looks at what nobody tells of, and those without a word after which a node that
# tells of itself every second is asked.
LOOK_PERIOD, QUIET = 10.0, 3.0
# Questions are answered at once, unless a transition holds them up.
QUESTION_TIMEOUT = 15.0
SERVICES = {
    'set_parameters_atomically': SetParametersAtomically, 'list_parameters': ListParameters,
    'describe_parameters': DescribeParameters, 'get_parameters': GetParameters,
    'get_state': GetState, 'get_available_transitions': GetAvailableTransitions,
    'change_state': ChangeState, 'teach': Trigger, 'tune': Trigger, 'forget': Trigger,
    'freeze': SetBool}
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP}
# What leads from a state to where all parameters can change, and back.
_DOWN = {'active': ('deactivate', 'cleanup'), 'inactive': ('cleanup',)}
_UP = {'active': ('configure', 'activate'), 'inactive': ('configure',)}
# As the node writes it into the constraints of a parameter.
_RECONFIGURE = 'changes only while unconfigured'
_WORD = re.compile(r'[\w.+-]+')
# Parameters that every node has, and that are no settings of segmenting.
_OF_ROS = re.compile(r'qos_overrides\.|use_sim_time$|start_type_description_service$')
_LEVELS = {DiagnosticStatus.OK: 'ok', DiagnosticStatus.WARN: 'warn',
           DiagnosticStatus.ERROR: 'error', DiagnosticStatus.STALE: 'stale'}


class WatchedNode:
    """
    A segment node.

    `sections` are what viewers see of it, as JSON has it: `legend`, `examples`, `thumbnails`,
    `parameters`, `words`, `cameras`, `diagnostics` and `state`. `changed` is told the name of a
    section when it changes. All is for the event loop.
    """

    def __init__(self, ros: RosThread, node: Node, name: str, changed: Callable[[str], None]
                 ) -> None:
        self.name = name
        self.sections: dict[str, Any] = {'state': {'label': '', 'transitions': [], 'quiet': False}}
        # Held while several calls belong together: two viewers may teach at once.
        self.lock = asyncio.Lock()
        self._ros = ros
        self._node = node
        self._changed = changed
        self._clients: dict[str, Client] = {}
        self._subscriptions: list[Any] = []
        self._heard = time.monotonic()
        self._looking: asyncio.Task | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Listen to the node, and ask what it does not tell."""
        for service, kind in SERVICES.items():
            self._clients[service] = await self._ros.client(kind, f'{self.name}/{service}')
        for section, topic in LATCHED_TOPICS.items():
            self._subscriptions.append(await self._ros.subscribe(
                String, f'{self.name}/{topic}', LATCHED, partial(self._take_json, section)))
        self._subscriptions.append(await self._ros.subscribe(
            TransitionEvent, f'{self.name}/transition_event', QoSProfile(depth=10),
            self._take_transition))
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Let go of the node."""
        if self._looking:
            self._looking.cancel()
        for subscription in self._subscriptions:
            await self._ros.unsubscribe(subscription)
        for client in self._clients.values():
            await self._ros.drop_client(client)

    def look(self) -> None:
        """Ask for parameters and state again, soon."""
        self._wanted.set()

    def take_diagnostics(self, camera: str, status: DiagnosticStatus) -> None:
        """Take what the node says of a camera, which it does every second."""
        if time.monotonic() - self._heard > QUIET:
            # It may be another one under the same name.
            self.look()
        self._heard = time.monotonic()
        values = {item.key: item.value for item in status.values}
        cameras = {**self.sections.get('diagnostics', {}), camera: {
            'level': _LEVELS.get(status.level, 'error'), 'message': status.message,
            'values': values}}
        known = {each['label'] for each in self.sections.get('cameras', [])}
        if known:
            cameras = {label: each for label, each in cameras.items() if label in known}
        self._put('diagnostics', cameras)
        if values.get('state', '') != self.sections['state']['label']:
            self.look()

    async def set_parameters(self, values: Mapping[str, Any]) -> str:
        """Set parameters together; return the reason of the node where it refuses, else ''."""
        answer = await self._ask('set_parameters_atomically', SetParametersAtomically.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()
                        for name, value in values.items()]))
        self.look()
        return '' if answer.result.successful else answer.result.reason or 'refused'

    async def trigger(self, service: str) -> tuple[bool, str]:
        """Call `teach`, `tune` or `forget`; return whether it was done, and the node's words."""
        answer = await self._ask(service, Trigger.Request())
        self.look()
        return answer.success, answer.message

    async def freeze(self, frozen: bool) -> tuple[bool, str]:
        """Let the node hold its newest images, or let them go; return as `trigger` does."""
        answer = await self._ask('freeze', SetBool.Request(data=frozen))
        return answer.success, answer.message

    async def change_state(self, transition: str) -> bool:
        """Ask for one of TRANSITIONS; return whether it succeeded."""
        answer = await self._ask('change_state', ChangeState.Request(
            transition=Transition(id=TRANSITIONS[transition])))
        self.look()
        return answer.success

    async def reconfigure(self, values: Mapping[str, Any]) -> str:
        """
        Set parameters that cannot change while the node is configured; return as `set_parameters`.

        The node goes back to the state that it is in, with the old values if it refuses these.
        """
        state = await self._state()
        for transition in _DOWN.get(state, ()):
            if not await self.change_state(transition):
                return f'{transition} failed: see the log of the node'
        reason = await self.set_parameters(values)
        for transition in _UP.get(state, ()):
            if not await self.change_state(transition):
                fault = await self._fault()
                return reason or f'{transition} failed: {fault or "see the log of the node"}'
        return reason

    async def _fault(self) -> str:
        """Return what diagnostics say next, if that is an error."""
        await asyncio.sleep(1.5)
        return next((each['message'] for each in self.sections.get('diagnostics', {}).values()
                     if each['level'] == 'error'), '')

    async def _ask(self, service: str, request: Any, timeout: float | None = None) -> Any:
        client = self._clients[service]
        return await (self._ros.call(client, request, timeout) if timeout
                      else self._ros.call(client, request))

    async def _state(self) -> str:
        answer = await self._ask('get_state', GetState.Request(), QUESTION_TIMEOUT)
        return answer.current_state.label

    async def _keep_looking(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self._look_at_state()
                await self._look_at_parameters()
            except NoAnswer:
                pass
            except Exception as error:
                self._node.get_logger().error(
                    f'{self.name}: {type(error).__name__}: {error}')
            quiet = time.monotonic() - self._heard > QUIET
            if quiet != self.sections['state']['quiet']:
                self._put('state', {**self.sections['state'], 'quiet': quiet})
            try:
                await asyncio.wait_for(self._wanted.wait(), 1.0 if quiet else LOOK_PERIOD)
                # One look for all that changes at once.
                await asyncio.sleep(0.05)
            except asyncio.TimeoutError:
                pass

    async def _look_at_state(self) -> None:
        label = await self._state()
        answer = await self._ask('get_available_transitions', GetAvailableTransitions.Request(),
                                 QUESTION_TIMEOUT)
        offered = {item.transition.label for item in answer.available_transitions}
        self._put('state', {**self.sections['state'], 'label': label, 'transitions': [
            name for name in TRANSITIONS if name in offered]})

    async def _look_at_parameters(self) -> None:
        if self.sections['state']['label'] == 'configuring':
            # It answers when it is configured.
            return
        listed = await self._ask('list_parameters', ListParameters.Request(), QUESTION_TIMEOUT)
        names = [name for name in listed.result.names if not _OF_ROS.match(name)]
        described = await self._ask(
            'describe_parameters', DescribeParameters.Request(names=names), QUESTION_TIMEOUT)
        answer = await self._ask(
            'get_parameters', GetParameters.Request(names=names), QUESTION_TIMEOUT)
        values = [_read_value(name, value) for name, value in zip(names, answer.values)]
        self._put('parameters', [
            _describe(descriptor, value)
            for descriptor, value in zip(described.descriptors, values) if value is not None])
        self._take_parameters(dict(zip(names, values)))

    def _take_parameters(self, values: Mapping[str, Any]) -> None:
        self._put('words', _entries(values.get('vocabulary')))
        try:
            topics = read_cameras(values)
        except ParameterError:
            return
        namespace = posixpath.dirname(self.name)
        subscribed = {name: kind for name, kinds in self._subscribed() for kind in kinds}
        transport = '/compressed' if values.get('transport') == 'compressed' else ''
        cameras = []
        for camera in topics:
            image = posixpath.join(
                namespace, camera.image.replace('~', self.name, 1)) + transport
            if len(topics) == 1 and image not in subscribed:
                image = _only_image(subscribed) or image
            cameras.append({
                'name': camera.name, 'label': camera.name or 'segmentation', 'image': image,
                'compressed': bool(transport),
                'outputs': posixpath.join(self.name, camera.name).rstrip('/')})
        self._put('cameras', cameras)

    def _subscribed(self) -> list[tuple[str, list[str]]]:
        namespace, name = posixpath.split(self.name)
        try:
            return self._node.get_subscriber_names_and_types_by_node(name, namespace)
        except Exception:
            # rclpy raises NodeNameNonExistentError, but not the same one on all distributions.
            return []

    def _take_json(self, section: str, message: String) -> None:
        try:
            self._put(section, json.loads(message.data))
        except ValueError as error:
            self._node.get_logger().warning(
                f'{self.name}/{LATCHED_TOPICS[section]} is no JSON: {error}')

    def _take_transition(self, event: TransitionEvent) -> None:
        # What the state before it offered would be refused in this one.
        self._put('state', {**self.sections['state'], 'label': event.goal_state.label,
                            'transitions': []})
        self.look()

    def _put(self, section: str, value: Any) -> None:
        if self.sections.get(section) != value:
            self.sections[section] = value
            self._changed(section)


def _read_value(name: str, value: Any) -> Any:
    """Return the value of a parameter as JSON has it, None for one that is not set."""
    read = Parameter.from_parameter_msg(ParameterMessage(name=name, value=value)).value
    return list(read) if isinstance(read, Sequence) and not isinstance(read, str) else (
        read.tolist() if hasattr(read, 'tolist') else read)


def _describe(descriptor: ParameterDescriptor, value: Any) -> dict[str, Any]:
    """Return what a browser makes a control of."""
    limits = [part for part in descriptor.additional_constraints.split('; ') if part]
    reconfigure = _RECONFIGURE in limits
    limits = [part for part in limits if part != _RECONFIGURE]
    bounds = [*descriptor.integer_range, *descriptor.floating_point_range]
    choices = limits[0].split(' or ') if len(limits) == 1 else []
    if value not in choices or not all(map(_WORD.fullmatch, choices)):
        choices = []
    return {
        'name': descriptor.name, 'value': value, 'description': descriptor.description,
        'limits': '; '.join(limits), 'choices': choices, 'reconfigure': reconfigure,
        'read_only': descriptor.read_only,
        'bounds': [bounds[0].from_value, bounds[0].to_value] if bounds else None,
        'whole': bool(descriptor.integer_range)}


def _entries(vocabulary: Any) -> dict[str, Any]:
    """Return the entries of a vocabulary, presets written out, as the node reads it."""
    try:
        entries = Vocabulary.parse(vocabulary).entries
    except VocabularyError as error:
        return {'entries': [], 'fault': str(error)}
    return {'fault': '', 'entries': [
        {'name': entry.name, 'queries': list(entry.queries)} for entry in entries]}


def _only_image(subscribed: Mapping[str, str]) -> str:
    """Return the one topic of images that a node reads, '' unless there is just one."""
    found = [topic for topic, kind in subscribed.items()
             if kind in ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')]
    return found[0] if len(found) == 1 else ''
