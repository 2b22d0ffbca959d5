"""Starts the node: says what it takes, or says that it starts and imports PyTorch."""

from collections.abc import Sequence
import sys

from csa_ros.parameters.table import Parameter
from csa_ros.parameters.table import PARAMETERS
from csa_ros.presets import SIGN
from csa_ros.process.executable import load
from csa_ros.ros.context import LibraryLog
from csa_ros.ros.usage import asks_for_help
from csa_ros.ros.usage import usage
from rclpy.logging import get_logger

# Too long to be shown where the default is; its preset is another name for it.
_SHOWN = {'vocabulary': f'{SIGN}street'}
_DESCRIPTION = (
    'Segments camera images by words, which can be changed while it runs: subscribes to image and '
    'publishes ~/labels, ~/overlay, ~/confidence, ~/legend and more. `ros2 launch csa_ros '
    'segment.launch.py --show-args` lists what the launch file takes.')


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, or print its usage; return the exit status."""
    args = sys.argv if args is None else list(args)
    if asks_for_help(args[1:]):
        print(usage('segment', _DESCRIPTION, [
            (parameter.name, describe(parameter)) for parameter in PARAMETERS]))
        return 0
    get_logger('segment').info('starting')
    LibraryLog.install('segment')
    return load('csa_ros.ros.node', interrupted=0).main(args)


def describe(parameter: Parameter) -> str:
    """Return what `--help` says of a parameter."""
    default = _SHOWN.get(parameter.name, parameter.default)
    shown = str(default).lower() if isinstance(default, bool) else str(default) or "''"
    takes = parameter.constraints or ' or '.join(parameter.choices)
    return ' '.join(filter(None, [
        parameter.description, takes and f'Takes {takes}.',
        parameter.bounds and f'From {parameter.bounds[0]:g} to {parameter.bounds[1]:g}.',
        'Changes only while unconfigured.' if parameter.loaded else '',
        f'(default: {shown})']))
