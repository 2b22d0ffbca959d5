"""The node that serves the page, for any number of segment nodes."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import signal
import sys
from typing import Any

from aiohttp import web
from csa_ros.parameters.errors import ParameterError
from csa_ros.ros.context import initialize
from csa_ros.ros.context import StartError
from csa_ros.ros.context import warn_of_unknown
from csa_ros.ros.descriptors import declarations
from csa_ros.web.access import Access
from csa_ros.web.access import urls
from csa_ros.web.hub import Hub
from csa_ros.web.parameters import NAMES
from csa_ros.web.parameters import PARAMETERS
from csa_ros.web.parameters import read_settings
from csa_ros.web.parameters import Settings
from csa_ros.web.ros_thread import RosThread
from csa_ros.web.server import make_application
import rclpy
from rclpy.exceptions import ParameterException
from rclpy.logging import get_logger
from rclpy.node import Node

# Pictures are encoded beside one another, and leave the other cores to the model.
_ENCODERS = 2


class WebNode(Node):
    """Reads the parameters of the page; raises ParameterError or rclpy's ParameterException."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('web', **kwargs)
        self.declare_parameters('', declarations(PARAMETERS))
        warn_of_unknown(self)
        self.settings: Settings = read_settings(
            {name: self.get_parameter(name).value for name in NAMES})


class Page:
    """
    The page of a node while it is served, as a context.

    `urls` are where it is then. `ended` is set when ROS is shut down from outside. Entering raises
    OSError if the address cannot be listened to.
    """

    def __init__(self, node: WebNode) -> None:
        self.urls: list[str] = []
        self.ended = asyncio.Event()
        self._node = node
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix='encoder')

    async def __aenter__(self) -> 'Page':
        settings = self._node.settings
        access = Access(settings)
        self._ros = RosThread(self._node, self.ended.set)
        self._hub = Hub(self._ros, self._encoders, self._node)
        self._runner = web.AppRunner(
            make_application(self._hub, access, settings.read_only), access_log=None)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, settings.host, settings.port).start()
            await self._hub.start()
        except BaseException:
            await self.__aexit__()
            raise
        self.urls = urls(settings, access.token, self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hub.stop()
        await self._runner.cleanup()
        self._ros.stop()
        self._encoders.shutdown()


async def _serve(node: WebNode) -> None:
    loop = asyncio.get_running_loop()
    async with Page(node) as page:
        # Instead of rclpy's, so that all ends in its order.
        for number in signal.SIGINT, signal.SIGTERM:
            loop.add_signal_handler(number, page.ended.set)
        # Not in the log, which goes out to /rosout and into files: the token is in it.
        print('The page is at', ' or '.join(page.urls), flush=True)
        await page.ended.wait()


def main(args: Sequence[str] | None = None) -> int:
    """Serve the page until told to stop; return 1 if it could not start."""
    node = None
    try:
        initialize('web', args, NAMES)
        node = WebNode()
        asyncio.run(_serve(node))
    except StartError as error:
        get_logger('web').fatal(str(error))
        return 1
    except (ParameterError, ParameterException) as error:
        get_logger('web').fatal(f'bad parameter: {error}')
        return 1
    except OSError as error:
        get_logger('web').fatal(
            f'{error}: another program may have the port; give another, as in -p port:=8781, or '
            '-p port:=0 for any that is free')
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        if node:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
