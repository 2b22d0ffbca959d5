"""
Who may come in: the checks of a request before anything is done for it.

A page of another site, opened in a browser that can reach this one, can send requests here. The
Host header tells those apart that came by a name which was bent to this machine's address (DNS
rebinding), the Origin header those of other sites. The token keeps out everybody else.
"""

from collections.abc import Collection
import hmac
from ipaddress import ip_address
import secrets
import socket
from urllib.parse import urlsplit

from csa_ros.web.parameters import Settings


class AccessError(Exception):
    """A request is refused; the message says why."""


class Access:
    """
    Judges requests by the settings of the page.

    `token` is what a browser has to know, '' for nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self.token = settings.token or (
            '' if settings.is_loopback else secrets.token_urlsafe(24))
        self._addresses_only_loopback = settings.is_loopback
        self._names = {'localhost', *settings.host_names}
        if not settings.is_loopback:
            self._names |= _own_names()

    def check_request(self, host: str, origin: str | None) -> None:
        """Raise AccessError unless the headers Host and Origin are those of the page itself."""
        name = _host_name(host)
        if name is None or not (name in self._names or self._is_address(name)):
            raise AccessError(
                f'this page is not called {host[:80]!r}: open it by the URL that it printed, or '
                'add the name to the parameter host_names')
        # What is no browser sends none.
        if origin is not None and origin not in (f'http://{host}', f'https://{host}'):
            raise AccessError(f'requests of {origin[:80]!r} are refused: open the page itself')

    def check_token(self, token: object) -> None:
        """Raise AccessError unless a browser knows the token."""
        given = token if isinstance(token, str) else ''
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise AccessError('the token is missing or wrong: open the URL that the page printed '
                              'when it started')

    def _is_address(self, name: str) -> bool:
        """Return whether a name is an IP address, which nobody can bend to another machine."""
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._addresses_only_loopback


def urls(settings: Settings, token: str, port: int) -> list[str]:
    """Return where the page is, the token included, for people to open."""
    fragment = f'#token={token}' if token else ''
    names: Collection[str] = [settings.host]
    if not settings.is_loopback and ip_address(settings.host).is_unspecified:
        names = dict.fromkeys([_own_address(), socket.gethostname()])
    return [f'http://{f"[{name}]" if ":" in name else name}:{port}/{fragment}' for name in names]


def _host_name(host: str) -> str | None:
    """Return a Host header without its port, None for what is none."""
    try:
        parts = urlsplit(f'//{host}')
        parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and '@' not in host else None


def _own_names() -> set[str]:
    name = socket.gethostname().casefold()
    return {name, f'{name}.local'}


def _own_address() -> str:
    """Return the address by which others reach this machine, as far as it can be told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Of the range for documents (RFC 5737): nothing is sent, a route is chosen.
            probe.connect(('192.0.2.1', 9))
            return probe.getsockname()[0]
        except OSError:
            return '127.0.0.1'
