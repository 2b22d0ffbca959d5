"""What comes before a node: arguments that set nothing, its log, and a log for libraries."""

import logging
import os
import warnings
from warnings import warn

from csa_ros.demo.camera import main as run_camera
from csa_ros.parameters.table import NAMES
from csa_ros.ros.context import explain_stray
from csa_ros.ros.context import initialize
from csa_ros.ros.context import LibraryLog
from csa_ros.ros.context import StartError
from csa_ros.ros.node import main as run_node
from csa_ros.tools.hydra_labels import main as run_hydra
import pytest
import rclpy


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return where a process may write, and leave the environment as it was."""
    for name in 'ROS_LOG_DIR', 'ROS_HOME':
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    return tmp_path


# Arguments

@pytest.mark.parametrize('args, said', [
    (['modle:=demo'], 'modle:=demo; parameters are given as in --ros-args -p model:=demo'),
    (['model:=demo'], '-p model:=demo'),
    (['-p', 'model:=demo'], '-p model:=demo'),
    (['--params-file', 'x.yaml'], '--params-file x.yaml'),
    (['demo'], 'demo; parameters are given as in --ros-args -p NAME:=VALUE'),
    (['--ros-args', '-p', 'lazy:=true', '--', 'vocabulry:=road, sky'],
     "-p 'vocabulary:=road, sky'"),
])
def test_arguments_that_set_nothing_are_mentioned(args, said):
    assert said in explain_stray(args, NAMES)


@pytest.mark.parametrize('args', [
    [], ['--ros-args', '-p', 'model:=demo'], ['--ros-args', '-r', 'image:=/camera', '--'],
    # Rules of ROS 1, which rcl still takes.
    ['image:=/camera/image_raw'], ['__node:=segment'], ['__ns:=/robot'],
])
def test_arguments_of_a_node_are_not(args):
    assert not explain_stray(args, NAMES)


@pytest.mark.parametrize('run, given, said', [
    (run_node, ['modle:=demo', 'model:=demo', 'refin:=pamr'],
     ['modle (did you mean model?)', 'refin (did you mean refine?)']),
    (run_node, ['speed:=3'], ['speed']),
    (run_camera, ['rat:=3.0', 'encoding:=none'], ['rat (did you mean rate?)']),
])
def test_parameters_that_are_not_known_are_mentioned(capfd, run, given, said):
    """Each run ends at a value that is refused, so that nothing is loaded."""
    args = [item for name in [*given, 'lazy:=3'] for item in ('-p', name)]
    assert run(['executable', '--ros-args', *args]) == 1
    warned, = (line for line in capfd.readouterr().err.splitlines() if 'not known' in line)
    assert 'WARN' in warned and 'ros2 param list /' in warned
    assert all(part in warned for part in said), warned


def test_what_every_node_takes_is_not_mentioned(capfd):
    given = ['use_sim_time:=false', 'start_type_description_service:=true', 'lazy:=3',
             'qos_overrides./image.subscription.depth:=2']
    assert run_node(['segment', '--ros-args', *(
        item for name in given for item in ('-p', name))]) == 1
    assert 'not known' not in capfd.readouterr().err


@pytest.mark.parametrize('args', [['modle:=demo'], ['-p', 'modle'], ['--log-level', 'loud'],
                                  ['--params-file', '/nowhere.yaml'], ['--nonsense']], ids=str)
@pytest.mark.parametrize('run', [
    lambda args: run_node(['segment', *args]), lambda args: run_camera(['demo_camera', *args]),
    lambda args: run_hydra(['--output', '/nowhere', *args])], ids=['node', 'camera', 'hydra'])
def test_arguments_that_ros_refuses_are_one_error(capfd, run, args):
    assert run(['--ros-args', *args]) == 1
    errors = capfd.readouterr().err
    assert 'bad arguments: ' in errors
    assert 'Traceback' not in errors


# The folder for log files

@pytest.mark.parametrize('variables', [
    {'ROS_LOG_DIR': '/dev/null/log'}, {'ROS_HOME': '/dev/null'}, {'HOME': '/dev/null'},
    {'ROS_LOG_DIR': '~/x', 'HOME': '/dev/null'}, {'ROS_LOG_DIR': '/proc/nowhere'},
], ids=str)
def test_a_folder_that_cannot_be_written_is_replaced(folders, monkeypatch, capfd, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    initialize('segment', ['segment'])
    rclpy.shutdown()
    instead = os.environ['ROS_LOG_DIR']
    assert instead.startswith(str(folders)) and os.listdir(instead)
    said, = capfd.readouterr().err.splitlines()
    assert 'WARN' in said and instead in said and 'set ROS_LOG_DIR' in said


@pytest.mark.parametrize('variables, folder', [
    ({}, 'home/.ros/log'), ({'ROS_HOME': 'TMP/ros'}, 'ros/log'),
    ({'ROS_LOG_DIR': 'TMP/a/b'}, 'a/b'), ({'ROS_LOG_DIR': '~/logs'}, 'home/logs')], ids=str)
def test_a_folder_that_can_is_used(folders, monkeypatch, capfd, variables, folder):
    """It is where rcl itself looks: no other has a file afterwards."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace('TMP', str(folders)))
    initialize('segment', ['segment'])
    rclpy.shutdown()
    assert os.listdir(folders / folder)
    assert not capfd.readouterr().err


def test_without_any_folder_there_is_an_error(folders, monkeypatch):
    monkeypatch.setenv('HOME', '/dev/null')
    monkeypatch.setattr('tempfile.tempdir', '/dev/null')
    with pytest.raises(StartError, match='logging'):
        initialize('segment', ['segment'])
    # Nothing is left behind.
    assert not rclpy.ok()


# What libraries say

@pytest.fixture
def library_log(monkeypatch):
    """Install the log for the time of a test."""
    root = logging.getLogger()
    monkeypatch.setattr(root, 'handlers', [])
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        LibraryLog.install('segment')
        yield
        logging.captureWarnings(False)


@pytest.mark.parametrize('say, level, text', [
    (lambda: warn('it is full', stacklevel=1), 'WARN', 'it is full'),
    (lambda: logging.getLogger('open_clip').warning('no %s', 'weights'), 'WARN',
     'open_clip: no weights'),
    (lambda: logging.error('broken'), 'ERROR', 'root: broken'),
    (lambda: logging.getLogger('hub').critical('lost'), 'ERROR', 'hub: lost'),
])
def test_what_libraries_say_is_in_the_log_of_the_node(library_log, capfd, say, level, text):
    say()
    errors = capfd.readouterr().err
    assert level in errors.partition(']')[0]
    assert '[segment]: ' in errors and text in errors


def test_what_libraries_note_is_not(library_log, capfd):
    logging.getLogger('open_clip').info('loading')
    assert not capfd.readouterr().err
