"""What comes before a node: a place for its log, its arguments, and words for what is wrong."""

from collections.abc import Iterable
from collections.abc import Sequence
import difflib
import logging
import os
from pathlib import Path
import shlex
import sys
import tempfile

import rclpy
from rclpy.logging import get_logger
from rclpy.node import Node

_ROS_ARGS = '--ros-args'
_MOST_NAMES = 5
# What every node takes. Overrides of QoS are declared when their topic is subscribed to.
_OF_RCLPY = ('use_sim_time', 'start_type_description_service')
_QOS = 'qos_overrides.'


class StartError(RuntimeError):
    """ROS cannot be started; the message says why, and what to do."""


def initialize(name: str, args: Sequence[str] | None = None, parameters: Sequence[str] = ()
               ) -> None:
    """
    Initialise rclpy for the executable of a node; raise StartError if that fails.

    `args` begin with the executable; None are those of the process. Those that set nothing are
    warned of, with the closest of `parameters`.
    """
    moved = _provide_log_folder()
    args = sys.argv if args is None else args
    try:
        rclpy.init(args=list(args))
    # rclpy has no public name for what bad arguments raise.
    except RuntimeError as error:
        # Without a log file the context is there all the same.
        rclpy.try_shutdown()
        raise StartError(f'bad arguments: {error}') from error
    logger = get_logger(name)
    if moved:
        logger.warning(moved)
    stray = explain_stray(args[1:], parameters)
    if stray:
        logger.warning(stray)


def explain_stray(args: Sequence[str], parameters: Sequence[str]) -> str:
    """
    Say which arguments are not those of a node, and what may be meant by them; '' if all are.

    `args` are without the executable. Outside of `--ros-args`, `NAME:=VALUE` is a rule for names
    of topics, as it was in ROS 1, and rcl warns of that: it is mentioned here only where it could
    not be one, or is like the name of a parameter.
    """
    stray = [item for item in _outside_of_ros(args)
             if ':=' not in item or _closest(item, parameters)]
    if not stray:
        return ''
    meant = [f'{_closest(item, parameters)}:={item.partition(":=")[2]}' for item in stray
             if _closest(item, parameters)]
    example = shlex.join(meant[0:1]) if meant else 'NAME:=VALUE'
    return (f'arguments that a node does not take, and that set nothing: {shlex.join(stray)}; '
            f'parameters are given as in {_ROS_ARGS} -p {example}')


def warn_of_unknown(node: Node) -> None:
    """Log which parameters a node, all of whose own are declared, was given and does not know."""
    # rclpy has no public name for them.
    given = getattr(node, '_parameter_overrides', {})
    unknown = [name for name in given if not node.has_parameter(name)
               and name not in _OF_RCLPY and not name.startswith(_QOS)]
    if not unknown:
        return
    known = list(getattr(node, '_parameters', {}))
    shown = ', '.join(f'{name}{_hint(name, known)}' for name in unknown[:_MOST_NAMES])
    more = f' and {len(unknown) - _MOST_NAMES} more' if len(unknown) > _MOST_NAMES else ''
    node.get_logger().warning(
        f'parameters that are not known, and ignored: {shown}{more}; `ros2 param list '
        f'{node.get_fully_qualified_name()}` lists those that are')


class LibraryLog(logging.Handler):
    """Passes on what Python libraries log and warn of, so that it is in the log of the node."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self._logger = get_logger(name)

    @classmethod
    def install(cls, name: str) -> None:
        """Let all of it go to the log of the node with this name."""
        logging.captureWarnings(True)
        logging.getLogger().addHandler(cls(name))

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        text = record.getMessage().strip()
        # What Python warns of says for itself where it comes from.
        text = text if record.name == 'py.warnings' else f'{record.name}: {text}'
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        else:
            self._logger.warning(text)


def _outside_of_ros(args: Iterable[str]) -> list[str]:
    """Return the arguments that are not between `--ros-args` and `--`."""
    found, of_ros = [], False
    for item in args:
        if item == _ROS_ARGS or (of_ros and item == '--'):
            of_ros = item == _ROS_ARGS
        elif not of_ros:
            found.append(item)
    return found


def _closest(argument: str, parameters: Sequence[str]) -> str:
    """Return the parameter whose name `NAME:=VALUE` begins with, or nearly; '' if none."""
    name, sign, _ = argument.partition(':=')
    close = difflib.get_close_matches(name, parameters, 1, 0.75) if sign else []
    return close[0] if close else ''


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f' (did you mean {close[0]}?)' if close else ''


def _provide_log_folder() -> str:
    """Give rcl another folder for its log file if it could not use its own; say so, or ''."""
    folder = _log_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ''
    except OSError as error:
        reason = error.strerror or str(error)
    try:
        instead = tempfile.mkdtemp(prefix='ros_log_')
    except OSError:
        # Then rcl says that it has none.
        return ''
    os.environ['ROS_LOG_DIR'] = instead
    return (f'the folder for log files, {folder}, cannot be used ({reason}): they are in '
            f'{instead}; set ROS_LOG_DIR to a folder that can be written')


def _log_folder() -> Path:
    """Return where rcl puts its log file: `rcl_logging_get_logging_directory`."""
    folder = (os.environ.get('ROS_LOG_DIR')
              or os.path.join(os.environ.get('ROS_HOME') or '~/.ros', 'log'))
    # HOME alone counts there.
    return Path(os.environ.get('HOME', '') + folder[1:] if folder.startswith('~') else folder)
