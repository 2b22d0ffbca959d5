"""One browser: what it looks at, what it is sent, and what it asks for."""

import asyncio
from collections.abc import Coroutine
import json
from typing import Any

from aiohttp import web
from aiohttp import WSMsgType
from csa_ros.web.access import Access
from csa_ros.web.access import AccessError
from csa_ros.web.actions import act
from csa_ros.web.checks import ActionError
from csa_ros.web.frames import KINDS
from csa_ros.web.hub import Hub
from csa_ros.web.hub import presets
from csa_ros.web.ros_thread import NoAnswer
from csa_ros.web.stream import Stream

# Seconds that a browser has to say the token.
TOKEN_TIMEOUT = 5.0
# Of what a browser asks for: more of it at once is no person.
MOST_ACTIONS = 4
# Seconds between two accounts of what has changed, so that a burst is one.
STATE_PERIOD = 0.1
# Close codes of ours, as RFC 6455 leaves them to applications.
BAD_TOKEN = 4401


class Viewer:
    """
    Talks to a browser over a WebSocket until one of them ends it.

    What it is sent waits until it has taken what came before: it gets the newest frame then, and
    of each section of a node's state what it is then.
    """

    def __init__(self, socket: web.WebSocketResponse, hub: Hub, access: Access, read_only: bool
                 ) -> None:
        self._socket = socket
        self._hub = hub
        self._access = access
        self._read_only = read_only
        self._node = ''
        self._camera = ''
        self._kinds: frozenset[str] = frozenset()
        self._frozen = False
        self._stream: Stream | None = None
        self._dirty: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()
        # Whether the browser has shown what it was sent last.
        self._ready = asyncio.Event()
        self._ready.set()
        # Set when something else is looked at.
        self._restart = asyncio.Event()
        self._number = -1
        self._acting: set[asyncio.Task] = set()

    async def admit(self) -> bool:
        """Return whether the browser knows the token; it is told if it does not."""
        try:
            first = await self._socket.receive(TOKEN_TIMEOUT)
            given = _read(first.data) if first.type is WSMsgType.TEXT else {}
            self._access.check_token(given.get('token'))
            return True
        except asyncio.TimeoutError:
            reason = f'no token came within {TOKEN_TIMEOUT:.0f} s'
        except (AccessError, ActionError) as error:
            reason = str(error)
        await self._socket.close(code=BAD_TOKEN, message=reason.encode()[:120])
        return False

    async def run(self) -> None:
        """Serve the browser until it goes."""
        self._hub.listeners.add(self._note)
        tasks = [asyncio.create_task(self._send_state()),
                 asyncio.create_task(self._send_frames())]
        try:
            await self._send({'type': 'hello', 'read_only': self._read_only,
                              'presets': presets()})
            self._note('', 'nodes')
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
                else:
                    await self._refuse(None, 'a message is text with an object in JSON')
        finally:
            self._hub.listeners.discard(self._note)
            for task in [*tasks, *self._acting]:
                task.cancel()
            if self._stream:
                self._stream.look(self, frozenset())

    async def _take(self, text: str) -> None:
        number = None
        try:
            request = _read(text)
            number = request.get('id') if isinstance(request.get('id'), int) else None
            kind = request.get('type')
            if kind == 'watch':
                self._watch(request)
            elif kind == 'ack':
                self._ready.set()
            elif kind == 'act':
                self._begin(self._act(request, number))
            else:
                raise ActionError(f'type is {kind!r:.60}: use watch, ack or act')
        except ActionError as error:
            await self._refuse(number, str(error))

    def _watch(self, request: dict[str, Any]) -> None:
        """Look at what a browser wants to see; it may name what is not there yet."""
        node, camera, kinds = (request.get(key) for key in ('node', 'camera', 'kinds'))
        if not isinstance(node, str) or not isinstance(camera, str):
            raise ActionError('node and camera are texts')
        if not isinstance(kinds, list) or not all(kind in KINDS for kind in kinds):
            raise ActionError(f'kinds is {kinds!r:.60}: use some of {", ".join(KINDS)}')
        if node != self._node:
            if node in self._hub.nodes:
                self._dirty.update((node, section) for section in self._hub.nodes[node].sections)
            self._changed.set()
            self._number = -1
        self._node, self._camera, self._kinds = node, camera, frozenset(kinds)
        self._frozen = request.get('frozen') is True
        self._follow()

    def _follow(self) -> None:
        """Look at the stream of the camera, if it is there."""
        stream = self._hub.stream(self._node, self._camera)
        if self._stream and self._stream is not stream:
            self._stream.look(self, frozenset())
        self._stream = stream
        if stream:
            stream.look(self, self._kinds)
        # The task begins anew, with what is looked at now.
        self._restart.set()

    async def _send_frames(self) -> None:
        """Send the newest frame whenever the browser has shown the one before."""
        while True:
            await self._ready.wait()
            self._restart.clear()
            stream, kinds, frozen = self._stream, self._kinds, self._frozen
            changed = asyncio.ensure_future(self._restart.wait())
            arrives = asyncio.ensure_future(
                stream.after(self._number, frozen) if stream else self._restart.wait())
            try:
                await asyncio.wait({changed, arrives}, return_when=asyncio.FIRST_COMPLETED)
                if not stream or changed.done() or not arrives.done():
                    continue
                frame: Any = arrives.result()
            finally:
                changed.cancel()
                arrives.cancel()
            self._number = frame.number
            packed = await stream.packed(frame, kinds)
            self._ready.clear()
            await self._socket.send_bytes(packed)

    def _note(self, node: str, section: str) -> None:
        """Remember that a section has changed."""
        if node in ('', self._node):
            self._dirty.add((node, section))
            self._changed.set()

    async def _send_state(self) -> None:
        """Send what has changed, each section as it is by then."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(STATE_PERIOD)
            self._changed.clear()
            dirty, self._dirty = self._dirty, set()
            for node, section in sorted(dirty):
                if not node:
                    await self._send({'type': 'nodes', 'nodes': self._hub.list_nodes()})
                    # What was waited for may be there now.
                    self._follow()
                elif node == self._node and node in self._hub.nodes:
                    await self._send({'type': 'section', 'node': node, 'section': section,
                                      'value': self._hub.nodes[node].sections.get(section)})

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._acting) >= MOST_ACTIONS:
            work.close()
            raise ActionError(f'{MOST_ACTIONS} requests are under way: wait for one to end')
        task = asyncio.create_task(work)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _act(self, request: dict[str, Any], number: int | None) -> None:
        try:
            if self._read_only:
                raise ActionError('this page only shows: it was started with read_only')
            watched = self._hub.nodes.get(str(request.get('node')))
            if watched is None:
                raise ActionError(f'there is no segment node {request.get("node")!r:.60}')
            done, message = await act(request, watched)
            await self._send({'type': 'answer', 'id': number, 'ok': done, 'message': message})
        except (ActionError, NoAnswer) as error:
            await self._refuse(number, str(error))

    async def _refuse(self, number: int | None, reason: str) -> None:
        await self._send({'type': 'answer', 'id': number, 'ok': False, 'message': reason})

    async def _send(self, message: dict[str, Any]) -> None:
        if not self._socket.closed:
            await self._socket.send_str(json.dumps(message, ensure_ascii=False))


def _read(text: str) -> dict[str, Any]:
    """Return a message; raise ActionError for what is no object in JSON."""
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ActionError(f'a message is an object in JSON: {error}') from error
    if not isinstance(message, dict):
        raise ActionError(f'a message is an object in JSON, not {message!r:.60}')
    return message


def _refuse_constant(name: str) -> None:
    raise ValueError(f'JSON has no {name}')
