"""Two machines with a network of their own between them, which are namespaces of this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import Any
from typing import NamedTuple

from remote import StressError

# From linux/if_tun.h: a device of IP packets, without four bytes about each before it.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
_DEVICE = 'link0'
# Of packets that wait for the relay, so many that none is dropped unseen.
_QUEUE = 20000
_TOOLS = ('ip', 'mount', 'nsenter', 'unshare')
# For who is not root: root of a namespace of users of its own.
_USER = [] if os.geteuid() == 0 else ['--user', '--map-root-user']


class Machine(NamedTuple):
    """
    A machine on the network: its address, and what starts a program there.

    `device` is the file descriptor of its network device: what is read from it the machine has
    sent, and what is written to it the machine receives.
    """

    address: str
    device: int
    enter: list[str]

    def command(self, *command: Any) -> list[Any]:
        """Return the command that runs another one on this machine."""
        return [*self.enter, *command]

    def dropped(self) -> int:
        """Return the packets that its network device has dropped before anybody read them."""
        found, = json.loads(subprocess.check_output(
            self.command('ip', '-statistics', '-json', 'link', 'show', _DEVICE)))
        return found['stats64']['tx']['dropped']


def missing() -> str:
    """Return why there can be no such machines here, '' if there can."""
    tools = [tool for tool in _TOOLS if not shutil.which(tool)]
    if tools:
        return f'needs the commands {", ".join(tools)} of iproute2 and util-linux'
    try:
        with machines():
            return ''
    except StressError as error:
        return str(error)


@contextmanager
def machines() -> Iterator[tuple[Machine, Machine]]:
    """
    Yield two machines, whose devices a relay is to connect.

    They share files with this one, but no network and no shared memory. Needs Linux, and root or
    namespaces for users; StressError if the kernel does not allow it.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_machine(f'10.77.0.{number}')) for number in (1, 2))


@contextmanager
def _machine(address: str) -> Iterator[Machine]:
    here, there = socket.socketpair()
    with here, there:
        process = subprocess.Popen(
            ['unshare', *_USER, '--net', '--mount', sys.executable, __file__, address,
             str(there.fileno())],
            pass_fds=[there.fileno()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        there.close()
        _, devices, _, _ = socket.recv_fds(here, 1, 1)
        try:
            if not devices:
                reason = process.communicate()[0].strip().splitlines()[-1:]
                raise StressError(f'no network namespace with a TUN device: {"".join(reason)}')
            user = ['--user', '--preserve-credentials'] if _USER else []
            yield Machine(address, devices[0], [
                'nsenter', '--target', str(process.pid), *user, '--net', '--mount'])
        finally:
            for device in devices:
                os.close(device)
            # It ends as its socket does.
            here.close()
            process.communicate()


def _set_up(address: str, number: int) -> None:
    """Be a machine, which gives its device through a socket and lasts as long as that."""
    with socket.socket(fileno=number) as other:
        device = os.open('/dev/net/tun', os.O_RDWR)
        fcntl.ioctl(device, _TUNSETIFF,
                    struct.pack('16sH22x', _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
        for command in ('mount -t tmpfs tmpfs /dev/shm', 'ip link set lo up',
                        f'ip address add {address}/24 dev {_DEVICE}',
                        f'ip link set {_DEVICE} txqueuelen {_QUEUE} up',
                        f'ip route add 224.0.0.0/4 dev {_DEVICE}'):
            subprocess.run(command.split(), check=True)
        socket.send_fds(other, [b' '], [device])
        other.recv(1)


if __name__ == '__main__':
    _set_up(sys.argv[1], int(sys.argv[2]))
