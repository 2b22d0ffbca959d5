"""Our code uses only what every supported distribution of ROS has."""

import ast
import importlib
import inspect
import json
from pathlib import Path

from csa_ros.bench.node import LabelListener
from csa_ros.demo.camera import DemoCamera
from csa_ros.demo.listener import Listener
from csa_ros.ros.legend_listener import LegendListener
from csa_ros.ros.node import SegmentNode
import pytest
import rclpy
from rclpy.context import Context
from ros_uses import uses

TABLE = json.loads((Path(__file__).parent / 'data/ros_names.json').read_text())
DISTRIBUTIONS = ['humble', 'jazzy', 'kilted']
# What rclpy has under these names is not what we mean by them: fields of messages, attributes of
# ours, methods of threading.Event, and fields of compiled types, of which Kilted alone has stubs.
NOT_OF_ROS = {'._condition', '._state', '.available_transitions', '.clear', '.current_state',
              '.is_set', '.node', '.set', '.to_dict', '.total_count_change', '.version'}
HINT = 'run scripts/ros_names, as docs/distributions.md has it'


def methods_of_rclpy():
    """Return the names of the methods and properties in the installed rclpy, each with a dot."""
    modules = [importlib.import_module(f'rclpy.{name}')
               for name in ('client', 'clock', 'context', 'executors', 'guard_condition',
                            'lifecycle', 'node', 'parameter', 'publisher', 'qos', 'service',
                            'subscription', 'task', 'time', 'timer')]
    classes = {item for module in modules for item in vars(module).values()
               if inspect.isclass(item) and item.__module__.startswith('rclpy.')}
    return {f'.{name}' for item in classes for name, value in vars(item).items()
            if inspect.isfunction(value) or isinstance(value, (classmethod, property))}


def test_table_has_every_name_that_is_used():
    known, guessed = uses()
    ours = known | (guessed & methods_of_rclpy()) - NOT_OF_ROS
    assert {'rclpy.init(args)', '.create_timer', 'launch.LaunchDescription'} <= ours
    missing = ours - set(TABLE)
    assert not missing, HINT


@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_distributions_have_every_name_that_is_used(distribution):
    missing = {name for name, found in TABLE.items() if distribution not in found.split()}
    assert not missing - NOT_OF_ROS


@pytest.mark.parametrize('name', sorted(
    name for name in TABLE if not name.startswith('.') and '(' not in name))
def test_installed_distribution_has_the_name(name):
    package, *path = name.split('.')
    if package.startswith('launch'):
        # Not `launch`, which our folder of launch files passes for.
        pytest.importorskip('launch_ros', reason='launch comes with a ROS installation alone')
    item = importlib.import_module(package)
    for part in path:
        if inspect.ismodule(item) and not hasattr(item, part):
            importlib.import_module(f'{item.__name__}.{part}')
        item = getattr(item, part)


def test_names_that_are_excepted_would_be_missed():
    assert all(set(TABLE[name].split()) != set(DISTRIBUTIONS) for name in NOT_OF_ROS)


@pytest.mark.parametrize('kind', [
    SegmentNode, LegendListener, LabelListener, Listener, DemoCamera],
    ids=lambda kind: kind.__name__)
def test_nodes_leave_the_private_parts_of_rclpy_alone(kind):
    ours = [each for each in kind.__mro__ if each.__module__.startswith('csa_ros.')]
    base, context = kind.__mro__[len(ours)], Context()
    rclpy.init(context=context)
    node = base('bare', context=context)
    try:
        theirs = {*vars(node), *dir(base)}
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert '_parameters' in theirs
    names = {part.attr for each in ours for part in ast.walk(ast.parse(inspect.getsource(each)))
             if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
             and isinstance(part.value, ast.Name) and part.value.id == 'self'}
    names |= {name for each in ours for name in vars(each)}
    assert not {name for name in names & theirs if name[0] == '_' and name[:2] != '__'}
