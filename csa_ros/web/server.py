"""The HTTP server of the page: a few files, and a WebSocket for each browser."""

from collections.abc import Awaitable
from collections.abc import Callable
from importlib import resources

from aiohttp import web
from aiohttp import WSCloseCode
from csa_ros.web.access import Access
from csa_ros.web.access import AccessError
from csa_ros.web.hub import Hub
from csa_ros.web.viewer import Viewer

MOST_VIEWERS = 50
# Of those that have not said the token yet.
MOST_STRANGERS = 50
# Bytes of a message: 255 classes with their synonyms take less.
MOST_BYTES = 2**17
_TYPES = {'.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript',
          '.svg': 'image/svg+xml'}
_HEADERS = {
    # Nothing from elsewhere, no script or style in the page, in no other page.
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store'}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(hub: Hub, access: Access, read_only: bool) -> web.Application:
    """Return the server of the page, for browsers that `access` lets in."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            access.check_request(request.headers.get('Host', ''), request.headers.get('Origin'))
            return await handler(request)
        except AccessError as error:
            return web.Response(status=403, text=f'{error}\n', headers=_HEADERS)
        except web.HTTPException as error:
            error.headers.update(_HEADERS)
            raise

    application = web.Application(middlewares=[guard], client_max_size=MOST_BYTES)
    for name, answer in _files().items():
        application.router.add_get(f'/{name}', answer)
    sockets = _Sockets(hub, access, read_only)
    application.router.add_get('/socket', sockets.serve)
    # Or the server would wait for them.
    application.on_shutdown.append(sockets.close)
    return application


class _Sockets:
    """Serves browsers, so many at a time."""

    def __init__(self, hub: Hub, access: Access, read_only: bool) -> None:
        self._hub = hub
        self._access = access
        self._read_only = read_only
        self._strangers = self._viewers = 0
        self._open: set[web.WebSocketResponse] = set()

    async def close(self, _: web.Application) -> None:
        """Say goodbye to all browsers."""
        for socket in list(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Talk to a browser until it goes."""
        if self._viewers >= MOST_VIEWERS or self._strangers >= MOST_STRANGERS:
            return web.Response(
                status=503, headers=_HEADERS,
                text=f'{MOST_VIEWERS} browsers show this page: close one of them\n')
        socket = web.WebSocketResponse(
            heartbeat=15.0, max_msg_size=MOST_BYTES, compress=False, timeout=2.0)
        viewer = Viewer(socket, self._hub, self._access, self._read_only)
        self._strangers += 1
        try:
            await socket.prepare(request)
            self._open.add(socket)
            admitted = await viewer.admit()
        except BaseException:
            self._open.discard(socket)
            raise
        finally:
            self._strangers -= 1
        self._viewers += admitted
        try:
            if admitted:
                await viewer.run()
        finally:
            self._viewers -= admitted
            self._open.discard(socket)
        return socket


def _files() -> dict[str, _Handler]:
    """Return what answers for each file of the page, all of which are read here, once."""
    answers = {}
    for file in resources.files('csa_ros.web').joinpath('static').iterdir():
        kind = _TYPES.get(file.name[file.name.rfind('.'):])
        if kind:
            name = '' if file.name == 'index.html' else file.name
            answers[name] = _answer(file.read_bytes(), kind)
    return answers


def _answer(body: bytes, kind: str) -> _Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset='utf-8', headers=_HEADERS)
    return answer
