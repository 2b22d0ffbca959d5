"""The pictures of one camera: subscribed to and encoded once, however many viewers there are."""

import asyncio
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import Executor
import json
import time
from typing import Any

from csa_ros.sample_range import SampleRange
from csa_ros.web.encoding import encode
from csa_ros.web.encoding import pack
from csa_ros.web.frames import Assembler
from csa_ros.web.frames import Frame
from csa_ros.web.frames import IMAGE
from csa_ros.web.frames import OUTPUTS
from csa_ros.web.frames import Stamp
from csa_ros.web.ros_thread import RosThread
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import String

# Seconds for which topics stay subscribed to that nobody looks at any more: a page is opened anew
# or changes what it shows.
GRACE = 5.0
_IMAGE, _COMPRESSED, _STRING = (
    'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'std_msgs/msg/String')
_TOPICS = {'labels': ('labels', Image, _IMAGE), 'confidence': ('confidence', Image, _IMAGE),
           'heat': ('heat', Image, _IMAGE), 'found': ('found/json', String, _STRING),
           'objects': ('objects/json', String, _STRING)}


class Stream:
    """
    What one camera of a node sends.

    `camera` is one of the section `cameras` of the node. Pictures are encoded by `executor`. All
    is for the event loop.
    """

    def __init__(self, ros: RosThread, executor: Executor, node: str, camera: Mapping[str, Any],
                 log: Callable[[str], object]) -> None:
        self.camera = camera
        self.assembler = Assembler(time.monotonic)
        self.newest: Frame | None = None
        self._arrived = asyncio.Event()
        self._ros = ros
        self._executor = executor
        self._name = node
        self._log = log
        self._samples = SampleRange()
        # What each viewer looks at, and when a kind was looked at last.
        self._looks: dict[object, frozenset[str]] = {}
        self._looked_at: dict[str, float] = {}
        self._subscriptions: dict[str, Any] = {}
        self._changing = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        """Return whether nobody looks, and nothing is subscribed to."""
        return not self._looks and not self._subscriptions

    def look(self, viewer: object, kinds: frozenset[str]) -> None:
        """Let a viewer look at some kinds, or at none."""
        if kinds:
            self._looks[viewer] = kinds
        else:
            self._looks.pop(viewer, None)
        self.assembler.wanted = frozenset().union(*self._looks.values())

    async def follow(self) -> None:
        """Subscribe to what is looked at, and to nothing else; to be called every second."""
        async with self._changing:
            now = time.monotonic()
            self._looked_at.update(dict.fromkeys(self.assembler.wanted, now))
            for kind in set(self._subscriptions) - self.assembler.wanted:
                if now - self._looked_at[kind] > GRACE:
                    await self._ros.unsubscribe(self._subscriptions.pop(kind))
            for kind in self.assembler.wanted.difference(self._subscriptions):
                self._subscriptions[kind] = await self._subscribe(kind)
            for subscription in self._subscriptions.values():
                await self._ros.run(subscription.follow)
            if not self._subscriptions:
                self.assembler.forget()
                self.newest = None

    async def stop(self) -> None:
        """Unsubscribe from all of it."""
        async with self._changing:
            for subscription in self._subscriptions.values():
                await self._ros.unsubscribe(subscription)
            self._subscriptions.clear()

    def freeze(self, stamp: Stamp | None) -> None:
        """Take it that the node holds the image with a stamp, or none."""
        before = self.assembler.frozen
        self.assembler.freeze(stamp)
        if self.assembler.frozen is not before:
            self._wake()

    async def after(self, number: int, frozen: bool) -> Frame:
        """Return the newest frame, or the one that is held, once it is not that of a number."""
        while True:
            frame = self.assembler.frozen if frozen else self.newest
            if frame and frame.number != number:
                return frame
            await self._arrived.wait()

    async def packed(self, frame: Frame, kinds: frozenset[str]) -> bytes:
        """Return the message of a frame with some kinds of it; each is made once for all."""
        key = frozenset(frame.parts.keys() & kinds)
        if key not in frame.made:
            frame.made[key] = asyncio.ensure_future(self._pack(frame, key))
        # What one viewer waits for does not end with that viewer.
        return await asyncio.shield(frame.made[key])

    async def _pack(self, frame: Frame, kinds: frozenset[str]) -> bytes:
        parts = {}
        for kind in (IMAGE, *OUTPUTS):
            if kind in kinds:
                part = await self._encoded(frame, kind)
                if part:
                    parts[kind] = part
        return pack(frame, self._name, self.camera['name'], parts)

    async def _encoded(self, frame: Frame, kind: str) -> dict[str, Any] | None:
        if kind not in frame.made:
            frame.made[kind] = asyncio.get_running_loop().run_in_executor(
                self._executor, encode, kind, frame.parts[kind], self._samples)
        try:
            return await asyncio.shield(frame.made[kind])
        except ValueError as error:
            self._log(f'{self._name}: {kind}: {error}')
            return None

    async def _subscribe(self, kind: str) -> Any:
        if kind == IMAGE:
            compressed = self.camera['compressed']
            return await self._ros.follow(
                CompressedImage if compressed else Image, _COMPRESSED if compressed else _IMAGE,
                self.camera['image'], lambda message: self._take(kind, message))
        topic, message_type, type_name = _TOPICS[kind]
        return await self._ros.follow(
            message_type, type_name, f'{self.camera["outputs"]}/{topic}',
            lambda message: self._take(kind, message))

    def _take(self, kind: str, message: Any) -> None:
        try:
            if isinstance(message, String):
                stamp = json.loads(message.data)['stamp']
                moment, size = (stamp['sec'], stamp['nanosec']), 0
            else:
                stamp = message.header.stamp
                moment, size = (stamp.sec, stamp.nanosec), len(message.data)
        except (KeyError, TypeError, ValueError) as error:
            self._log(f'{self._name}: {kind} cannot be read: {error}')
            return
        before = self.assembler.frozen
        frame = self.assembler.add(kind, moment, message, size)
        if frame:
            self.newest = frame
        if frame or self.assembler.frozen is not before:
            self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()
