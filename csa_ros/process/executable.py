"""
What all executables have in common: how they begin, and how they end.

Nothing here is imported that takes long, so that `--help` and what is missing are said at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import importlib
import os
from pathlib import Path
import signal
import sys
from types import ModuleType
from typing import Any
import warnings

from csa_ros.process import home

INTERRUPTED = 128 + signal.SIGINT
# Libraries that write to stderr themselves, line by line and past any log. What fails in them is
# an error of ours, with more to it; who looks for more sets these otherwise.
_QUIET = {
    'OPENCV_LOG_LEVEL': 'SILENT',
    'OPENCV_FFMPEG_LOGLEVEL': '-8',
    'TORCH_CPP_LOG_LEVEL': 'ERROR',
}
# Where the name of a module is not that of the package which pip installs.
_PACKAGES = {'PIL': 'Pillow', 'cv2': 'opencv-python-headless', 'open_clip': 'open_clip_torch',
             'yaml': 'PyYAML'}
# Every node that launch starts is given them.
_ROS_ARGS = '--ros-args'
_OF_ROS = ('ament_index_python', 'builtin_interfaces', 'launch', 'rclpy', 'rosidl_runtime_py')


def run(module: str, arguments: str = '', interrupted: int = INTERRUPTED) -> int:
    """
    Import a module and run its `main`; return the exit status.

    `arguments` is a module whose `make_parser` has its command line, and which takes no time to
    import: it answers `--help`, and refuses what is wrong, before `module` is imported.

    A module that is missing is named in one sentence, with what to do, and the status is 1. Ctrl-C
    ends all of it without a traceback: with the status `interrupted`, as far as `main` does not
    see to it itself.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.formatwarning = _in_one_line
    warning = home.settle()
    if warning:
        print(f'{_name()}: {warning}', file=sys.stderr)
    try:
        if arguments:
            load(arguments, interrupted).make_parser().parse_args()
        return load(module, interrupted).main() or 0
    except ImportError as error:
        print(f'{_name()}: {explain(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'\n{_name()}: interrupted', file=sys.stderr)
        return interrupted
    finally:
        # The interpreter takes a while to take PyTorch apart.
        _end_on_ctrl_c(interrupted)


def load(module: str, interrupted: int = INTERRUPTED) -> ModuleType:
    """Import a module that takes long to import; Ctrl-C meanwhile ends the process at once."""
    with _ended_at_once(interrupted):
        return importlib.import_module(module)


def explain(error: ImportError) -> str:
    """Say which module is missing where, and what to do, in a sentence."""
    name = error.name or ''
    package = name.partition('.')[0]
    python = f'{sys.executable} (Python {sys.version_info.major}.{sys.version_info.minor})'
    if package == 'csa_ros':
        return f'{error}: the installation is incomplete; build or install csa_ros again'
    if not isinstance(error, ModuleNotFoundError) or (name != package and package in sys.modules):
        return (f'{python} cannot load {name or "a module"}, which is there ({error}): as a rule '
                'it was built for another Python, or what it needs is missing; install it anew in '
                'the environment of this Python')
    if package in _OF_ROS or package.endswith(('_msgs', '_interfaces', '_srvs')):
        return (f'{python} finds no module {name!r}, which is of ROS: source the installation '
                'first, as in `. /opt/ros/kilted/setup.bash`, under the Python that it is built '
                'for')
    launched = ('. Under launch, name the Python of that environment: '
                '`python:=/path/to/venv/bin/python3` for segment.launch.py, '
                "prefix='/path/to/venv/bin/python3' for a Node of your own"
                if _ROS_ARGS in sys.argv else '')
    return (f'{python} finds no module {name!r}: activate the virtual environment that has it, as '
            'in `. venv/bin/activate`, and start this again, or install it with `pip install '
            f'{_PACKAGES.get(package, package)}`{launched}')


@contextmanager
def _ended_at_once(status: int) -> Iterator[None]:
    """End the process on Ctrl-C without a word; libraries in the middle of an import lose it."""
    before = _end_on_ctrl_c(status)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_on_ctrl_c(status: int) -> Any:
    """Let Ctrl-C end the process from now on; return the handler before."""
    before = signal.getsignal(signal.SIGINT)
    # A shell has what it starts in the background ignore Ctrl-C.
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(status))
    return before


def _in_one_line(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                 line: str | None = None) -> str:
    """Return what Python warns of as all else is said here, without the line of the source."""
    return f'{_name()}: {message} ({Path(filename).name}, line {lineno})\n'


def _name() -> str:
    return Path(sys.argv[0]).name
