"""The launch files and the configs: what they name exists, and what they start gets its values."""

import ast
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys

from csa_ros.demo.acting import ACTIONS
from csa_ros.parameters import actions as of_actions
from csa_ros.parameters.cameras import TOPICS
from csa_ros.parameters.config import read_config
from csa_ros.parameters.table import PARAMETERS
from csa_ros.vocabulary import Vocabulary
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILE = ROOT / 'launch/segment.launch.py'
ACTIONS_FILE = ROOT / 'launch/actions.launch.py'
SHARED = ROOT / 'csa_ros/ros/launching.py'
PROFILE = ROOT / 'config/fastdds_large_images.xml'
DRIVERS = sorted((ROOT / 'config/cameras').glob('*.yaml'))
SHARED_MEMORY = 'transport/shared_memory/enabled=true'
VOCABULARIES = sorted((ROOT / 'config/vocabularies').glob('*.yaml'))
TREES = {path: ast.parse(path.read_text()) for path in (LAUNCH_FILE, ACTIONS_FILE, SHARED)}

# Stands in for an executable: writes what it was started with, under the name of its node, and
# ends when the others have done so, because the end of one ends the demo.
RECORDER = """#!{python}
import glob, json, os, rclpy, sys, time
rclpy.init(args=sys.argv)
node = rclpy.create_node('stand_in', automatically_declare_parameters_from_overrides=True)
arguments = rclpy.utilities.remove_ros_args(sys.argv)[1:]
record = {{
    'node': node.get_fully_qualified_name(),
    'topics': {{topic: node.resolve_topic_name(topic)
               for topic in ('image', 'camera_info', 'true_labels')}},
    'parameters': {{name: value.value for name, value in node._parameters.items()}},
    'log_level': node.get_logger().get_effective_level().name,
    'fast_dds': {{name: value for name, value in os.environ.items()
                 if name.endswith('DEFAULT_PROFILES_FILE')}},
    'files': [open(path).read() for path in arguments if os.path.isfile(path)],
    'python': os.environ.get('STAND_IN_PYTHON'),
}}
output = {folder!r} + '/' + node.get_name() + '.json'
with open(output + '.part', 'w') as file:
    json.dump(record, file)
os.replace(output + '.part', output)
deadline = time.monotonic() + 30
while (len(glob.glob({folder!r} + '/*.json')) < int(os.environ['STAND_INS'])
       and time.monotonic() < deadline):
    time.sleep(0.05)
"""


def calls(function, path=LAUNCH_FILE):
    return [node for node in ast.walk(TREES[path]) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == function]


def constant(name, path=LAUNCH_FILE):
    value, = (ast.literal_eval(node.value) for node in TREES[path].body
              if isinstance(node, ast.Assign) and node.targets[0].id == name)
    return value


def keyword(call, name):
    return next(item.value.value for item in call.keywords if item.arg == name)


def strings():
    return {node.value for node in ast.walk(TREES[LAUNCH_FILE])
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def parameters_of(path):
    return yaml.safe_load(path.read_text())['/**']['ros__parameters']


def image_topics(layout):
    return {config['imageMode']['imageTopic']
            for name, config in layout['configById'].items() if name.startswith('Image!')}


def leaves(layout):
    if isinstance(layout, str):
        return {layout}
    return leaves(layout['first']) | leaves(layout['second'])


@pytest.mark.parametrize('path, parameters, expected', [
    (LAUNCH_FILE, PARAMETERS, {
        'image', 'depth', 'camera_info', 'cameras', 'driver', 'transport', 'vocabulary',
        'vocabulary_file', 'model', 'device', 'attention', 'params_file', 'use_sim_time', 'python',
        'large_images', 'rviz', 'web', 'web_host', 'web_port', 'demo', 'name', 'namespace',
        'log_level'}),
    (ACTIONS_FILE, of_actions.PARAMETERS, {
        'image', 'transport', 'actions', 'examples', 'method', 'method_weights', 'model', 'device',
        'params_file', 'use_sim_time', 'python', 'demo', 'name', 'namespace', 'log_level'})],
    ids=['segment', 'actions'])
def test_launch_arguments_are_described_and_used(path, parameters, expected):
    declared = {call.args[0].value: call for call in calls('DeclareLaunchArgument', path)}
    assert set(declared) == expected
    assert all(len(keyword(call, 'description')) > 10 for call in declared.values())
    overrides = constant('OVERRIDES', path)
    read = {call.args[0].value for call in calls('LaunchConfiguration', path)}
    read |= {call.args[1].value for file in (path, SHARED) for name in ('is_true', 'value_of')
             for call in calls(name, file) if isinstance(call.args[1], ast.Constant)}
    assert read | set(overrides) == set(declared)
    assert set(overrides.values()) <= {parameter.name for parameter in parameters}


def test_launched_executables_and_files_exist():
    started = {keyword(call, 'executable') for call in calls('Node')
               if keyword(call, 'package') == 'csa_ros'}
    assert started == {'segment', 'demo_camera', 'web'}
    started |= {keyword(call, 'executable') for call in calls('Node', ACTIONS_FILE)}
    assert started <= {path.name for path in (ROOT / 'bin').iterdir()}
    named = {text for text in strings() if text.endswith(('.yaml', '.rviz', '.xml'))
             and not set(text) & set('* ') and not text.startswith('.')}
    assert named == {'segment.yaml', 'demo.yaml', 'segment.rviz', 'fastdds_large_images.xml'}
    assert all((ROOT / 'config' / name).is_file() for name in named)
    assert (ROOT / 'config/vocabularies').is_dir() and (ROOT / 'config/cameras').is_dir()


def test_config_holds_every_parameter_with_its_default():
    for name, table in ('segment', PARAMETERS), ('actions', of_actions.PARAMETERS):
        assert parameters_of(ROOT / f'config/{name}.yaml') == {
            parameter.name: parameter.default for parameter in table}


def test_demo_config_sets_known_parameters():
    assert parameters_of(ROOT / 'config/demo.yaml') == {'model': 'demo'}
    assert parameters_of(ROOT / 'config/actions_demo.yaml') == {
        'model': 'demo', 'actions': list(ACTIONS)}


def test_vocabulary_files_set_the_vocabulary_alone():
    assert {'street', 'indoor', 'off_road'} <= {path.stem for path in VOCABULARIES}
    for path in VOCABULARIES:
        parameters = parameters_of(path)
        assert list(parameters) == ['vocabulary'], path
        assert len(Vocabulary.parse(parameters['vocabulary'])) > 1, path


@pytest.mark.parametrize('path', DRIVERS, ids=lambda path: path.stem)
def test_files_of_drivers_name_topics_for_one_camera_and_for_several(path):
    given = parameters_of(path)
    assert 'image_topic' in given and set(given) <= set(TOPICS.values())
    # What the words beside them promise: a topic for one camera and for each of several.
    values = {parameter.name: parameter.default for parameter in PARAMETERS}
    for names in '', 'front', 'front, rear/left':
        found = read_config({**values, **given, 'cameras': names}).cameras
        assert [camera.name for camera in found] == (names.split(', ') if names else [''])
        for camera in found:
            assert all(camera.name in getattr(camera, kind) for kind in TOPICS)
            assert len({getattr(camera, kind) for kind in TOPICS}) == 3


def test_viewers_show_input_and_overlay():
    rviz = yaml.safe_load((ROOT / 'config/segment.rviz').read_text())
    topics = {display['Name']: display['Topic'] for display
              in rviz['Visualization Manager']['Displays']}
    assert {name: topic['Value'] for name, topic in topics.items()} == {
        'Input': '/image', 'Overlay': '/segment/overlay'}
    assert topics['Input']['Reliability Policy'] == 'Best Effort'
    layout = json.loads((ROOT / 'config/foxglove_layout.json').read_text())
    assert image_topics(layout) == {'/image', '/segment/overlay'}
    assert leaves(layout['layout']) == set(layout['configById'])
    assert any(name.startswith('Parameters!') for name in layout['configById'])
    # Lichtblick and Foxglove each read a title of their own.
    titles = [(panel['foxglovePanelTitle'], panel['lichtblickPanelTitle'])
              for panel in layout['configById'].values()]
    assert all(foxglove == lichtblick for foxglove, lichtblick in titles)


def test_fast_dds_takes_its_settings():
    """It would go on without them, with a line on stderr."""
    program = """if True:
        import os, pathlib, rclpy
        rclpy.init()
        node = rclpy.create_node('large_images')
        used = pathlib.Path('/proc/self/maps').read_text().split()
        print(max(os.stat(path).st_size for path in used if path.startswith('/dev/shm/fast')))
    """
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60,
        env={**os.environ, profiles_variable(): str(PROFILE)})
    assert done.stderr == ''
    assert int(done.stdout) >= 32 * 2**20


def profiles_variable():
    """Return the name that Fast DDS has for its settings in this distribution."""
    old = os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
    return 'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE'


@pytest.fixture
def launch(tmp_path):
    """
    Return a function that launches stand-ins for the executables.

    It returns what was printed and what each of `count` stand-ins got, by the name of its node.
    """
    pytest.importorskip('launch_ros', reason='launch comes with a ROS installation, not from PyPI')
    prefix = tmp_path / 'prefix'
    share = prefix / 'share/csa_ros'
    index = prefix / 'share/ament_index/resource_index/packages'
    for folder in (share, index):
        folder.mkdir(parents=True)
    (share / 'config').symlink_to(ROOT / 'config')
    for name in ('csa_ros/segment', 'csa_ros/actions', 'csa_ros/demo_camera', 'rviz2/rviz2'):
        executable = prefix / 'lib' / name
        executable.parent.mkdir(parents=True, exist_ok=True)
        executable.write_text(RECORDER.format(python=sys.executable, folder=str(tmp_path)))
        executable.chmod(0o755)
        (index / executable.parent.name).touch()

    def run(*arguments, count=1, succeeds=True, file=LAUNCH_FILE):
        environment = os.environ | {
            'AMENT_PREFIX_PATH': f'{prefix}:{os.environ.get("AMENT_PREFIX_PATH", "")}',
            'ROS_LOG_DIR': str(tmp_path / 'log'),
            'STAND_INS': str(count)}
        done = subprocess.run(
            [sys.executable, '-c', LAUNCHER, str(file), *arguments], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        assert (done.returncode == 0) == succeeds, done.stdout
        records = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}
        return done.stdout, records
    return run


# What `ros2 launch FILE NAME:=VALUE...` does.
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]),
    launch_arguments=[text.split(':=', 1) for text in sys.argv[2:]])]))
sys.exit(service.run())
"""


def test_launch_gives_the_node_the_config(launch):
    _, records = launch()
    node, = records.values()
    assert (node['node'], node['python'], node['log_level']) == ('/segment', None, 'INFO')
    assert node['parameters']['use_sim_time'] is False
    # Nothing is remapped, so that rules around the launch file count.
    assert node['topics'] == {name: f'/{name}' for name in node['topics']}
    assert {name: node['parameters'][name] for name in parameters_of(
        ROOT / 'config/segment.yaml')} == parameters_of(ROOT / 'config/segment.yaml')


def shown(record):
    """Return the topics that RViz shows, by the names of the panels."""
    content, = map(yaml.safe_load, record['files'])
    panels = {panel['Name']: panel['Topic']['Value']
              for panel in content['Visualization Manager']['Displays']}
    assert set(content['Window Geometry']) > set(panels)
    return panels


def test_launch_names_the_node_and_its_topics(launch):
    _, records = launch('name:=seg', 'namespace:=robot', 'image:=front/image', 'log_level:=debug',
                        'use_sim_time:=true', 'rviz:=true', 'transport:=compressed', count=2)
    node = records['seg']
    assert (node['node'], node['log_level']) == ('/robot/seg', 'DEBUG')
    assert node['parameters']['image_topic'] == 'front/image'
    assert shown(records['rviz']) == {
        'Input': '/robot/front/image/compressed', 'Overlay': '/robot/seg/overlay'}
    assert all(record['parameters']['use_sim_time'] is True for record in records.values())


def test_launch_starts_the_demo(launch):
    _, records = launch('demo:=true', 'image:=/street/image', count=2)
    assert set(records) == {'segment', 'demo_camera'}
    assert records['segment']['parameters']['model'] == 'demo'
    assert records['segment']['parameters']['image_topic'] == '/street/image'
    assert records['demo_camera']['topics'] == {
        'image': '/street/image', 'camera_info': '/camera_info', 'true_labels': '/true_labels'}


def test_launch_starts_a_demo_camera_for_each_name(launch, tmp_path):
    """The names and patterns may come from a file or the command line, as for the node."""
    params = tmp_path / 'params.yaml'
    params.write_text(yaml.safe_dump({'robot/segment': {'ros__parameters': {
        'cameras': ['front', 'rear/left'], 'image_topic': 'wrong'}}}))
    python = tmp_path / 'a folder/python'
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nSTAND_IN_PYTHON=1 exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    _, records = launch(
        'demo:=true', 'rviz:=true', f'params_file:={params}', 'image:={camera}/color/image_raw',
        'namespace:=robot', f'python:={python}', count=4)
    assert set(records) == {'segment', 'demo_camera_front', 'demo_camera_rear_left', 'rviz'}
    for camera in 'front', 'rear/left':
        record = records[f'demo_camera_{camera.replace("/", "_")}']
        assert record['topics'] == {
            'image': f'/robot/{camera}/color/image_raw',
            'camera_info': f'/robot/{camera}/camera_info',
            'true_labels': f'/robot/{camera}/true_labels'}
    seeds = {record['parameters'].get('seed') for record in records.values()}
    assert len(seeds) == 3
    assert shown(records['rviz']) == {
        'Input front': '/robot/front/color/image_raw',
        'Overlay front': '/robot/segment/front/overlay',
        'Input rear/left': '/robot/rear/left/color/image_raw',
        'Overlay rear/left': '/robot/segment/rear/left/overlay'}
    assert {name for name, record in records.items() if record['python']} == {*records} - {'rviz'}


def test_launch_reads_the_topics_of_a_driver(launch):
    _, records = launch('driver:=realsense', 'depth:=/depth', 'rviz:=true', count=2)
    given = records['segment']['parameters']
    assert (given['image_topic'], given['depth_topic']) == (
        parameters_of(ROOT / 'config/cameras/realsense.yaml')['image_topic'], '/depth')
    assert shown(records['rviz'])['Input'] == '/camera/camera/color/image_raw'


@pytest.mark.parametrize('arguments, reason', [
    (['driver:=kinect'], 'driver: there is no file kinect; the package has gazebo, oak, real'),
    (['python:=/nowhere/python'], 'python: there is no program /nowhere/python; give the Python'),
    (['python:=/tmp'], 'python: there is no program /tmp;'),
    (['rviz:=true', 'cameras:=front, left', 'image:=/image'], 'front and left the same topic'),
    (['demo:=true', 'image:=/{camera}/image'], 'cameras has no name to put for {camera}'),
    (['use_sim_time:=yes'], 'use_sim_time'),
])
def test_launch_refuses_what_cannot_be_meant(launch, arguments, reason):
    printed, records = launch(*arguments, succeeds=False)
    assert reason in printed
    assert not records


def test_actions_are_watched_in_the_demo_and_elsewhere(launch, tmp_path):
    params = tmp_path / 'params.yaml'
    params.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'actions': ['wave', 'point'], 'window': 3.0}}}))
    _, records = launch(f'params_file:={params}', 'image:=/camera/image', 'name:=watch',
                        'namespace:=robot', 'examples:=1e3', file=ACTIONS_FILE)
    node, = records.values()
    assert node['node'] == '/robot/watch'
    given = node['parameters']
    assert (given['actions'], given['window'], given['examples'], given['image_topic']) == (
        ['wave', 'point'], 3.0, '1e3', '/camera/image')


def test_actions_of_the_demo_happen_before_its_camera(launch):
    _, records = launch('demo:=true', 'image:=street', count=2, file=ACTIONS_FILE)
    assert set(records) == {'actions', 'demo_camera'}
    assert records['actions']['parameters']['actions'] == list(ACTIONS)
    assert records['demo_camera']['topics']['image'] == '/street'
    assert records['demo_camera']['parameters']['action'] == 'all'


@pytest.mark.parametrize('large', [False, True])
def test_launch_gives_fast_dds_its_settings(launch, monkeypatch, large):
    monkeypatch.delenv(profiles_variable(), raising=False)
    _, records = launch('demo:=true', f'large_images:={str(large).lower()}', count=2)
    for record in records.values():
        files = record['fast_dds']
        assert list(files) == ([profiles_variable()] if large else [])
        assert all(Path(file).samefile(PROFILE) for file in files.values())


@pytest.mark.parametrize('middleware, others, expected, said', [
    ('', '', {profiles_variable(): str(PROFILE)}, ''),
    ('rmw_fastrtps_cpp', '', {profiles_variable(): str(PROFILE)}, ''),
    ('rmw_fastrtps_dynamic_cpp', '', {profiles_variable(): str(PROFILE)}, ''),
    ('rmw_zenoh_cpp', '', {'ZENOH_CONFIG_OVERRIDE': SHARED_MEMORY}, ''),
    ('rmw_zenoh_cpp', 'mode="client"',
     {'ZENOH_CONFIG_OVERRIDE': f'mode="client";{SHARED_MEMORY}'}, ''),
    ('rmw_cyclonedds_cpp', '', {}, 'rmw_cyclonedds_cpp: what large images need'),
    ('rmw_connextdds', '', {}, 'rmw_connextdds: what large images need'),
])
def test_launch_gives_large_images_what_the_middleware_needs(
        monkeypatch, middleware, others, expected, said):
    launch = pytest.importorskip('launch.launch_context', reason='launch comes with ROS alone')
    spec = importlib.util.spec_from_file_location('segment_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'CONFIG', PROFILE.parent)
    monkeypatch.setenv('RMW_IMPLEMENTATION', middleware)
    monkeypatch.setenv('ZENOH_CONFIG_OVERRIDE', others)
    context = launch.LaunchContext()
    for asked in 'true', 'false':
        context.launch_configurations['large_images'] = asked
        environment, advice = module.large_image_settings(context)
        assert environment == (expected if asked == 'true' else {})
        texts = [part.text for action in advice for part in action.msg]
        assert len(texts) == (1 if said and asked == 'true' else 0)
        assert all(said in text for text in texts)


@pytest.mark.parametrize('node', ['/**', 'segment', '/segment'])
def test_launch_arguments_go_before_files(launch, tmp_path, node):
    params = tmp_path / 'params.yaml'
    params.write_text(yaml.safe_dump({node: {'ros__parameters': {
        'model': 'RN50/openai', 'device': 'cuda', 'vocabulary': ['floor'], 'lazy': False}}}))
    _, records = launch('demo:=true', f'params_file:={params}', 'vocabulary_file:=indoor',
                        'device:=cpu', 'attention:=gem', count=2)
    parameters = records['segment']['parameters']
    assert parameters['device'] == 'cpu'
    assert parameters['attention'] == 'gem'
    assert parameters['model'] == 'RN50/openai'
    assert parameters['lazy'] is False
    assert parameters['vocabulary'] == parameters_of(
        ROOT / 'config/vocabularies/indoor.yaml')['vocabulary']
    assert parameters['crop'] == 0


@pytest.mark.parametrize('node', ['/**', '/segment'])
def test_lists_take_the_place_of_texts(launch, tmp_path, node):
    """Of both, for the same nodes, rcl would take the text, whichever file comes last."""
    params = tmp_path / 'params.yaml'
    params.write_text(f"{node}: {{ros__parameters: {{cameras: [front, left], model: '5e-1',\n"
                      "  vocabulary: 'floor, wall', qos_overrides: {/image: {subscription: "
                      '{depth: 3}}}}}\n', encoding='utf-8')
    _, records = launch(f'params_file:={params}', 'vocabulary_file:=indoor', 'demo:=true', count=3)
    given = records['segment']['parameters']
    assert given['cameras'] == ['front', 'left']
    assert given['model'] == '5e-1'
    assert given['vocabulary'] == parameters_of(
        ROOT / 'config/vocabularies/indoor.yaml')['vocabulary']
    assert given['qos_overrides./image.subscription.depth'] == 3
    assert given['crop'] == 0


@pytest.mark.parametrize('words', [
    'road, car|truck', 'no', 'y', '5e-1', '[road, no]', '@indoor, suitcase'])
def test_launch_passes_words_as_text(launch, words):
    _, records = launch(f'vocabulary:={words}', 'vocabulary_file:=indoor')
    assert records['segment']['parameters']['vocabulary'] == words


def test_launch_refuses_a_vocabulary_file_without_words(launch):
    printed, records = launch(f'vocabulary_file:={ROOT / "config/demo.yaml"}', succeeds=False)
    assert 'must set the parameter vocabulary' in printed
    assert not records


def test_launch_reads_a_vocabulary_file_as_the_node_would(launch, tmp_path):
    path = tmp_path / 'words.yaml'
    path.write_text('other: {ros__parameters: {vocabulary: [car]}}\n'
                    "/robot/*: {ros__parameters: {vocabulary: [road, 'no', '5e-1']}}\n"
                    'robot: {other: {ros__parameters: {vocabulary: [bus]}}}\n')
    _, records = launch(f'vocabulary_file:={path}', 'namespace:=robot')
    assert records['segment']['parameters']['vocabulary'] == ['road', 'no', '5e-1']


@pytest.mark.parametrize('argument', ['params_file', 'vocabulary_file'])
def test_launch_refuses_files_that_are_missing(launch, argument):
    printed, records = launch(f'{argument}:=nowhere.yaml', succeeds=False)
    assert f'{argument}: there is no file nowhere.yaml' in printed
    assert not records
