"""All segment nodes that there are, what they send, and who looks at it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from csa_ros.presets import preset_names
from csa_ros.presets import PresetError
from csa_ros.presets import read_preset
from csa_ros.vocabulary import Vocabulary
from csa_ros.web.ros_thread import RosThread
from csa_ros.web.stream import Stream
from csa_ros.web.watched import WatchedNode
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterEvent
from rclpy.node import Node
from rclpy.qos import QoSProfile

# By which segment nodes are known, whatever state they are in.
_SIGNS = {'teach': 'std_srvs/srv/Trigger', 'freeze': 'std_srvs/srv/SetBool',
          'change_state': 'lifecycle_msgs/srv/ChangeState'}
LOOK_PERIOD = 1.0
WARN_PERIOD = 10.0


class Hub:
    """
    Finds segment nodes and keeps a stream for each of their cameras.

    `nodes` are those that are there, by their full names. `listeners` are told of each change: the
    name of the node, '' for the list of nodes, and of the section. All is for the event loop.
    """

    def __init__(self, ros: RosThread, executor: Executor, node: Node) -> None:
        self.nodes: dict[str, WatchedNode] = {}
        self.listeners: set[Callable[[str, str], None]] = set()
        self._ros = ros
        self._executor = executor
        self._node = node
        self._streams: dict[tuple[str, str], Stream] = {}
        self._looking: asyncio.Task | None = None
        self._subscriptions: list[Any] = []

    async def start(self) -> None:
        """Begin to look for nodes."""
        self._subscriptions = [
            await self._ros.subscribe(DiagnosticArray, '/diagnostics', QoSProfile(depth=10),
                                      self._take_diagnostics),
            await self._ros.subscribe(ParameterEvent, '/parameter_events', QoSProfile(depth=100),
                                      self._take_parameters)]
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Let go of all nodes."""
        if self._looking:
            self._looking.cancel()
        for stream in self._streams.values():
            await stream.stop()
        for watched in self.nodes.values():
            await watched.stop()
        for subscription in self._subscriptions:
            await self._ros.unsubscribe(subscription)

    def stream(self, node: str, camera: str) -> Stream | None:
        """Return the stream of a camera, None if there is no such camera."""
        watched = self.nodes.get(node)
        described = next((each for each in watched.sections.get('cameras', [])
                          if each['name'] == camera), None) if watched else None
        if described is None:
            return None
        key = node, camera
        stream = self._streams.get(key)
        if stream is None or stream.camera != described:
            if stream:
                asyncio.ensure_future(stream.stop())
            stream = self._streams[key] = Stream(
                self._ros, self._executor, node, described, self._warn)
            self._freeze(node)
        return stream

    def list_nodes(self) -> list[dict[str, Any]]:
        """Return the nodes with their cameras, as JSON has them."""
        return [{'name': name, 'cameras': watched.sections.get('cameras', [])}
                for name, watched in sorted(self.nodes.items())]

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self._look()
                for key, stream in list(self._streams.items()):
                    await stream.follow()
                    if stream.is_idle:
                        del self._streams[key]
            except Exception as error:
                self._node.get_logger().error(f'{type(error).__name__}: {error}')
            await asyncio.sleep(LOOK_PERIOD)

    async def _look(self) -> None:
        found = await self._ros.run(self._find)
        for name in found - self.nodes.keys():
            watched = self.nodes[name] = WatchedNode(
                self._ros, self._node, name, partial(self._tell, name))
            await watched.start()
            self._node.get_logger().info(f'found {name}')
        for name in self.nodes.keys() - found:
            await self.nodes.pop(name).stop()
            for key in [key for key in self._streams if key[0] == name]:
                await self._streams.pop(key).stop()
            self._node.get_logger().info(f'{name} is gone')
            self._tell('', 'nodes')

    def _find(self) -> set[str]:
        # The names of services are those of their clients as well, ours among them.
        there = {f'{namespace.rstrip("/")}/{name}'
                 for name, namespace in self._node.get_node_names_and_namespaces()}
        return there & segment_nodes(self._node.get_service_names_and_types())

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, camera = status.name.partition(': ')
            watched = self.nodes.get(f'/{name}')
            if watched:
                watched.take_diagnostics(camera, status)

    def _take_parameters(self, event: ParameterEvent) -> None:
        watched = self.nodes.get(event.node)
        if watched:
            watched.look()

    def _tell(self, node: str, section: str) -> None:
        if section == 'examples':
            self._freeze(node)
        for listener in list(self.listeners):
            listener(node, section)
            if section == 'cameras':
                listener('', 'nodes')

    def _freeze(self, node: str) -> None:
        """Tell the streams of a node which images it holds."""
        frozen = self.nodes[node].sections.get('examples', {}).get('frozen', {})
        for (name, camera), stream in self._streams.items():
            if name == node:
                stamp = frozen.get(camera)
                stream.freeze((stamp['sec'], stamp['nanosec']) if stamp else None)

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text, throttle_duration_sec=WARN_PERIOD)


def segment_nodes(services: list[tuple[str, list[str]]]) -> set[str]:
    """Return the full names of the segment nodes that offer such services."""
    found = [{name.rpartition('/')[0] for name, kinds in services
              if name.rpartition('/')[2] == sign and kind in kinds}
             for sign, kind in _SIGNS.items()]
    return set.intersection(*found)


def presets() -> dict[str, list[dict[str, Any]]]:
    """Return the entries of the vocabularies that come with the package, by their names."""
    try:
        return {name: [{'name': entry.name, 'queries': list(entry.queries)}
                       for entry in Vocabulary.parse(list(read_preset(name))).entries]
                for name in preset_names()}
    except PresetError:
        return {}
