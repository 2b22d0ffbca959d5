"""The launch file and the configs: what they name exists, and what they start gets its values."""

import ast
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys

from csa_ros.parameters.table import PARAMETERS
from csa_ros.vocabulary import Vocabulary
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILE = ROOT / 'launch/segment.launch.py'
PROFILE = ROOT / 'config/fastdds_large_images.xml'
SHARED_MEMORY = 'transport/shared_memory/enabled=true'
VOCABULARIES = sorted((ROOT / 'config/vocabularies').glob('*.yaml'))
TREE = ast.parse(LAUNCH_FILE.read_text())

# Stands in for an executable of the package: writes what it was started with, and ends when the
# others have done so, because the end of one ends the demo.
RECORDER = """#!{python}
import glob, json, os, rclpy, sys, time
rclpy.init(args=sys.argv)
node = rclpy.create_node('stand_in', automatically_declare_parameters_from_overrides=True)
record = {{
    'node': node.get_fully_qualified_name(),
    'image': node.resolve_topic_name('image'),
    'parameters': {{name: value.value for name, value in node._parameters.items()}},
    'log_level': node.get_logger().get_effective_level().name,
    'fast_dds': {{name: value for name, value in os.environ.items()
                 if name.endswith('DEFAULT_PROFILES_FILE')}},
}}
with open({output!r} + '.part', 'w') as file:
    json.dump(record, file)
os.replace({output!r} + '.part', {output!r})
deadline = time.monotonic() + 30
while (len(glob.glob(os.path.dirname({output!r}) + '/*.json')) < int(os.environ['STAND_INS'])
       and time.monotonic() < deadline):
    time.sleep(0.05)
"""


def calls(function):
    return [node for node in ast.walk(TREE) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == function]


def constant(name):
    value, = (ast.literal_eval(node.value) for node in TREE.body
              if isinstance(node, ast.Assign) and node.targets[0].id == name)
    return value


def keyword(call, name):
    return next(item.value.value for item in call.keywords if item.arg == name)


def strings():
    return {node.value for node in ast.walk(TREE)
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


def test_launch_arguments_are_described_and_used():
    declared = {call.args[0].value: call for call in calls('DeclareLaunchArgument')}
    assert set(declared) == {
        'image', 'depth', 'camera_info', 'cameras', 'transport', 'vocabulary', 'vocabulary_file',
        'model', 'device', 'attention', 'params_file', 'large_images', 'rviz', 'demo', 'name',
        'namespace', 'log_level'}
    assert all(len(keyword(call, 'description')) > 10 for call in declared.values())
    overrides, inputs = constant('OVERRIDES'), constant('INPUTS')
    read = {call.args[0].value for call in calls('LaunchConfiguration')
            if isinstance(call.args[0], ast.Constant)}
    assert read | {*overrides, *inputs} == set(declared)
    assert set(overrides) <= {parameter.name for parameter in PARAMETERS}


def test_launched_executables_and_files_exist():
    started = {keyword(call, 'executable') for call in calls('Node')
               if keyword(call, 'package') == 'csa_ros'}
    assert started == {'segment', 'demo_camera'}
    assert started <= {path.name for path in (ROOT / 'bin').iterdir()}
    named = {text for text in strings()
             if text.endswith(('.yaml', '.rviz', '.xml')) and not set(text) & set('* ')}
    assert named == {'segment.yaml', 'demo.yaml', 'segment.rviz', 'fastdds_large_images.xml'}
    assert all((ROOT / 'config' / name).is_file() for name in named)
    assert (ROOT / 'config/vocabularies').is_dir()


def test_config_holds_every_parameter_with_its_default():
    assert parameters_of(ROOT / 'config/segment.yaml') == {
        parameter.name: parameter.default for parameter in PARAMETERS}


def test_demo_config_sets_known_parameters():
    assert parameters_of(ROOT / 'config/demo.yaml') == {'model': 'demo'}


def test_vocabulary_files_set_the_vocabulary_alone():
    assert {'street', 'indoor', 'off_road'} <= {path.stem for path in VOCABULARIES}
    for path in VOCABULARIES:
        parameters = parameters_of(path)
        assert list(parameters) == ['vocabulary'], path
        assert len(Vocabulary.parse(parameters['vocabulary'])) > 1, path


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
    # The launch file remaps the topics of the RViz config by their names.
    assert {'/image', '/segment/overlay'} <= strings()


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

    It returns what was printed and what each stand-in got, by the executable's name.
    """
    pytest.importorskip('launch_ros', reason='launch comes with a ROS installation, not from PyPI')
    prefix = tmp_path / 'prefix'
    share = prefix / 'share/csa_ros'
    index = prefix / 'share/ament_index/resource_index/packages'
    for folder in (share, index, prefix / 'lib/csa_ros'):
        folder.mkdir(parents=True)
    (index / 'csa_ros').touch()
    (share / 'config').symlink_to(ROOT / 'config')
    for name in ('segment', 'demo_camera'):
        executable = prefix / 'lib/csa_ros' / name
        executable.write_text(
            RECORDER.format(python=sys.executable, output=str(tmp_path / f'{name}.json')))
        executable.chmod(0o755)

    def run(*arguments, succeeds=True):
        environment = os.environ | {
            'AMENT_PREFIX_PATH': f'{prefix}:{os.environ.get("AMENT_PREFIX_PATH", "")}',
            'ROS_LOG_DIR': str(tmp_path / 'log'),
            'STAND_INS': '2' if 'demo:=true' in arguments else '1'}
        done = subprocess.run(
            [sys.executable, '-c', LAUNCHER, str(LAUNCH_FILE), *arguments], env=environment,
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
    assert (node['node'], node['image'], node['log_level']) == ('/segment', '/image', 'INFO')
    assert {name: node['parameters'][name] for name in parameters_of(
        ROOT / 'config/segment.yaml')} == parameters_of(ROOT / 'config/segment.yaml')


def test_launch_names_the_node_and_its_topics(launch):
    _, records = launch('name:=seg', 'namespace:=robot', 'image:=front/image', 'log_level:=debug')
    node = records['segment']
    assert node['node'] == '/robot/seg'
    assert node['image'] == '/robot/front/image'
    assert node['log_level'] == 'DEBUG'


def test_launch_starts_the_demo(launch):
    _, records = launch('demo:=true', 'image:=/street/image')
    assert set(records) == {'segment', 'demo_camera'}
    assert {record['image'] for record in records.values()} == {'/street/image'}
    assert records['segment']['parameters']['model'] == 'demo'


@pytest.mark.parametrize('large', [False, True])
def test_launch_gives_fast_dds_its_settings(launch, monkeypatch, large):
    monkeypatch.delenv(profiles_variable(), raising=False)
    _, records = launch('demo:=true', f'large_images:={str(large).lower()}')
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
                        'device:=cpu', 'attention:=gem')
    parameters = records['segment']['parameters']
    assert parameters['device'] == 'cpu'
    assert parameters['attention'] == 'gem'
    assert parameters['model'] == 'RN50/openai'
    assert parameters['lazy'] is False
    assert parameters['vocabulary'] == parameters_of(
        ROOT / 'config/vocabularies/indoor.yaml')['vocabulary']
    assert parameters['crop'] == 0


@pytest.mark.parametrize('words', [
    'road, car|truck', 'no', 'on', '1', '[road, no]', '@indoor, suitcase'])
def test_launch_passes_words_as_text(launch, words):
    _, records = launch(f'vocabulary:={words}', 'vocabulary_file:=indoor')
    assert records['segment']['parameters']['vocabulary'] == words


def test_launch_refuses_a_vocabulary_file_without_words(launch):
    printed, records = launch(f'vocabulary_file:={ROOT / "config/demo.yaml"}', succeeds=False)
    assert 'must set the parameter vocabulary' in printed
    assert not records


@pytest.mark.parametrize('argument', ['params_file', 'vocabulary_file'])
def test_launch_refuses_files_that_are_missing(launch, argument):
    printed, records = launch(f'{argument}:=nowhere.yaml', succeeds=False)
    assert f'{argument}: there is no file nowhere.yaml' in printed
    assert not records
