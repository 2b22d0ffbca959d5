"""The parameters of the page's node, which are read when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.names import read_names
from csa_ros.parameters.table import Parameter

LOOPBACK = '127.0.0.1'
# Of 6 bits each, as secrets.token_urlsafe makes them: more than can be guessed over a network.
LEAST_TOKEN = 16

PARAMETERS = (
    Parameter(
        'host', LOOPBACK,
        f'Address that the page is served at: {LOOPBACK} for this machine alone, 0.0.0.0 for all '
        'networks that it is in; then a token is needed.',
        read_only=True,
        constraints='an IP address, or localhost'),
    Parameter(
        'port', 8780,
        'TCP port of the page; 0 takes any that is free.',
        bounds=(0, 65535),
        read_only=True),
    Parameter(
        'token', '',
        'What a browser has to know; empty makes one at each start, or none at all where the page '
        'is for this machine alone.',
        read_only=True,
        constraints=f'at least {LEAST_TOKEN} letters, digits, - and _'),
    Parameter(
        'read_only', False,
        'Show all, and refuse whatever would change something: for an audience.',
        read_only=True),
    Parameter(
        'host_names', '',
        'Names that browsers may call this machine by, beside its own name and its addresses: a '
        'list, or one string with commas between them.',
        words=True,
        read_only=True,
        constraints='names of hosts'),
)
NAMES = tuple(parameter.name for parameter in PARAMETERS)


@dataclass(frozen=True)
class Settings:
    """What the parameters say; `token` is '' where none was given."""

    host: str
    port: int
    token: str
    read_only: bool
    host_names: tuple[str, ...]

    @property
    def is_loopback(self) -> bool:
        """Return whether no other machine can reach the page."""
        return self.host == 'localhost' or ip_address(self.host).is_loopback


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Return what the parameters say; raise ParameterError."""
    checked = {item.name: item.check(values[item.name]) for item in PARAMETERS}
    host = checked['host'].strip()
    try:
        host == 'localhost' or ip_address(host)
    except ValueError as error:
        raise ParameterError(
            f'host is {host!r}: give an IP address of this machine, such as {LOOPBACK}, or '
            '0.0.0.0 for all') from error
    token = checked['token']
    if token and (len(token) < LEAST_TOKEN or not token.replace('-', '').replace('_', '').isalnum()
                  or not token.isascii()):
        raise ParameterError(
            f'token has {len(token)} characters: it must be at least {LEAST_TOKEN} letters, '
            'digits, - and _, or empty, so that one is made')
    names = read_names('host_names', checked['host_names'])
    return Settings(host, checked['port'], token, checked['read_only'],
                    tuple(name.casefold() for name in names))
