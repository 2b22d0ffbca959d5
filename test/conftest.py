"""Where ROS is found, and a graph around the node, for the tests that need it."""

import gc
import os
from pathlib import Path
import signal
import sys

import hypothesis
import pytest

# The wheels of ROS live in the virtual environment; a sourced ROS has set the path already.
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)
# Neither robots nearby nor other test runs take part. Humble knows the second name alone, later
# distributions warn of it.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
# As Humble always does: a message takes no value of another type than its field's.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
# A shell ignores SIGINT for what it runs in the background, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What takes long on a busy machine is no failure.
hypothesis.settings.register_profile(
    'untimed', hypothesis.settings(), deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('untimed')
# They take longest, most of it in few tests.
LONGEST = frozenset(f'test_{name}.py' for name in (
    'bench', 'bench_node', 'demo_run', 'flake8', 'int8', 'mypy', 'node_faults', 'node_images',
    'node_lifecycle', 'node_teaching', 'ray', 'stress', 'web_page'))
# The stress runs are scripts, and share modules as such.
sys.path.append(str(Path(__file__).parent / 'stress'))


def pytest_collection_modifyitems(items):
    """Begin with the longest files: at the end, the other workers would wait for them."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish():
    """Spare garbage collections what the imports have made: a node collects when it is freed."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Let the interpreter free all of it at its end."""
    gc.unfreeze()


@pytest.fixture
def graph():
    """Return an empty graph; `graph.start()` adds the node."""
    from graph import Graph
    with Graph() as empty:
        yield empty
