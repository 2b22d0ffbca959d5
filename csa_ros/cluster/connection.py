"""A cluster of Ray: the one at an address, the one that runs here, or one of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
import logging
import os
import signal
import socket
from typing import Any

from csa_ros.cluster.errors import ClusterError
from csa_ros.process.threads import usable_threads
import ray

# Ask for a cluster of this machine alone, whatever else runs.
LOCAL = 'local'
_AUTO = 'auto'
_CLIENT = 'ray://'
# Seconds; Ray itself tries an address where nobody listens for minutes.
_CONNECT_TIMEOUT = 5.0
# Bytes. Pieces of work and what is told of them are small: Ray would take a third of the memory.
_OBJECT_STORE = 100 * 1024 ** 2


@contextmanager
def connected(address: str = '') -> Iterator[str]:
    """
    Be connected to a cluster; give the address of its dashboard, empty if it has none.

    `address` is HOST:PORT, ray://HOST:PORT or `local`; empty is, as for `ray.init`, what
    RAY_ADDRESS says, else the cluster that `ray start` has begun on this machine, else a new one
    of this machine, which ends with the block. Raises ClusterError if there is none.
    """
    # Ray exits with another status than the one that the command has chosen for a signal.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        dashboard = _connect(address or os.environ.get('RAY_ADDRESS', ''))
        signal.signal(signal.SIGTERM, handler)
        yield dashboard
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)


def _connect(address: str) -> str:
    try:
        if address == LOCAL:
            return _start()
        if address:
            _check(address)
            return _init(address=address)
        try:
            return _init(address=_AUTO)
        except ConnectionError:
            return _start()
    except ClusterError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        where = f'the cluster at {address}' if address else 'a cluster of Ray'
        raise ClusterError(f'{where} cannot be used: {" ".join(str(error).split())}. If it asks '
                           'for a token, export RAY_AUTH_MODE=token here, with what `ray '
                           'get-auth-token` prints there in ~/.ray/auth_token') from error


def _start() -> str:
    # A program that labels pictures has nothing to report to anybody, unless its user says so.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    return _init(address=LOCAL, num_cpus=usable_threads(), object_store_memory=_OBJECT_STORE)


def _init(**options: Any) -> str:
    context = ray.init(logging_level=logging.WARNING, log_to_driver=False, **options)
    return context.dashboard_url or ''


def _check(address: str) -> None:
    """Raise ClusterError for what is no address, or where nobody listens."""
    if address == _AUTO:
        return
    host, _, port = address.removeprefix(_CLIENT).rpartition(':')
    if not host or not port.isdecimal():
        raise ClusterError(
            f'{address!r} is no address of a cluster: write HOST:PORT, as `ray start --head` '
            f'prints it, {_CLIENT}HOST:10001, or {LOCAL} for one of this machine')
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f'no cluster answers at {address}: {error}. Start one there with `ray start --head`, '
            f'see that its port can be reached from here, or use --ray {LOCAL}') from error
