"""Starts the node that names actions: says what it takes, or that it starts."""

from collections.abc import Sequence
import sys

from csa_ros.parameters.actions import PARAMETERS
from csa_ros.process.executable import load
from csa_ros.ros.context import LibraryLog
from csa_ros.ros.start import describe
from csa_ros.ros.usage import asks_for_help
from csa_ros.ros.usage import usage
from rclpy.logging import get_logger

_DESCRIPTION = (
    'Watches a camera and says which action is going on, by its name and by examples that were '
    'recorded: subscribes to image and publishes ~/action/json, ~/action and ~/examples. `ros2 '
    'launch csa_ros actions.launch.py --show-args` lists what the launch file takes.')


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, or print its usage; return the exit status."""
    args = sys.argv if args is None else list(args)
    if asks_for_help(args[1:]):
        print(usage('actions', _DESCRIPTION, [
            (parameter.name, describe(parameter)) for parameter in PARAMETERS]))
        return 0
    get_logger('actions').info('starting')
    LibraryLog.install('actions')
    return load('csa_ros.ros.actions.node', interrupted=0).main(args)
