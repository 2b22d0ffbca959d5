"""Segments the images of cameras by words; with `demo:=true`, those of a rendered street."""

from dataclasses import replace
import os
from pathlib import Path
import posixpath
import tempfile

from ament_index_python.packages import get_package_share_directory
from csa_ros.ros.launching import existing
from csa_ros.ros.launching import interpreter
from csa_ros.ros.launching import is_true
from csa_ros.ros.launching import layered
from csa_ros.ros.launching import overrides
from csa_ros.ros.launching import sim_time
from csa_ros.ros.launching import value_of
from csa_ros.ros.launching import written
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.actions import LogInfo
from launch.actions import OpaqueFunction
from launch.actions import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
import yaml

CONFIG = Path(get_package_share_directory('csa_ros')) / 'config'
# Arguments that are passed on as text, by the parameters that they set.
OVERRIDES = {
    'vocabulary': 'vocabulary', 'model': 'model', 'device': 'device', 'attention': 'attention',
    'cameras': 'cameras', 'image': 'image_topic', 'depth': 'depth_topic',
    'camera_info': 'camera_info_topic', 'transport': 'transport'}
# Names the file in which Fast DDS finds its settings; version 3 has a new name, and warns of the
# old one.
FAST_DDS_PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE'
                     if os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
                     else 'FASTDDS_DEFAULT_PROFILES_FILE')

ZENOH_SHARED_MEMORY = 'transport/shared_memory/enabled=true'


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument(
            'image', default_value='',
            description='Topic of the images to segment, with {camera} where the name of each of '
                        'the cameras stands; empty: that of the driver or params file, or image'),
        DeclareLaunchArgument(
            'depth', default_value='',
            description='Topic of depth images for ~/points, registered to the camera, in the '
                        'same way; empty: that of the driver or params file, or depth'),
        DeclareLaunchArgument(
            'camera_info', default_value='',
            description='Topic of the calibration for ~/points, in the same way; empty: that of '
                        'the driver or params file, or camera_info'),
        DeclareLaunchArgument(
            'cameras', default_value='',
            description='Names of several cameras, as in "front, left" for front/image and '
                        'left/image; empty: those of the params file, or one without a name'),
        DeclareLaunchArgument(
            'driver', default_value='',
            description='Driver of the camera, by the name of a file in config/cameras, as in '
                        '"realsense", for its topics; or a YAML file of parameters like these'),
        DeclareLaunchArgument(
            'transport', default_value='',
            description='raw, or compressed for /compressed below the topic of the images; '
                        'empty: that of the params file or config/segment.yaml'),
        DeclareLaunchArgument(
            'vocabulary', default_value='',
            description='Words to segment by, as in "road, car|truck, person|pedestrian"; '
                        'empty: those of the vocabulary file, params file or config/segment.yaml'),
        DeclareLaunchArgument(
            'vocabulary_file', default_value='',
            description='YAML file that sets the parameter vocabulary, or the bare name of one in '
                        'config/vocabularies, as in "indoor"'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='demo, demo:/path, PRESET, ARCH/TAG of open_clip, PRESET:/path, '
                        'ARCH:/path or /path/to/folder; '
                        'empty: that of the params file or config/segment.yaml'),
        DeclareLaunchArgument(
            'device', default_value='',
            description='auto, cpu or cuda; '
                        'empty: that of the params file or config/segment.yaml'),
        DeclareLaunchArgument(
            'attention', default_value='',
            description='csa, vanilla, maskclip, clearclip, naclip, sc-clip or gem; '
                        'empty: that of the params file or config/segment.yaml'),
        DeclareLaunchArgument(
            'params_file', default_value='',
            description='YAML file of parameters that replace those of config/segment.yaml and '
                        'of the driver'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='', choices=['', 'true', 'false'],
            description='Take the time from /clock, as a simulation or a bag gives it; '
                        'empty: as the params file has it, or false'),
        DeclareLaunchArgument(
            'python', default_value='',
            description='Python that has the requirements, as in ~/venv/bin/python; '
                        'empty: python3 of the shell, which an active virtual environment sets'),
        DeclareLaunchArgument(
            'large_images', default_value='false', choices=['true', 'false'],
            description='Give Fast DDS more shared memory, so that large images get through, or '
                        'let Zenoh use it, by RMW_IMPLEMENTATION; the process of the camera needs '
                        'it as well: see docs/troubleshooting.md'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description='Show the images and the overlay of every camera in RViz'),
        DeclareLaunchArgument(
            'web', default_value='false', choices=['true', 'false'],
            description='Serve a page on which to see what the node sees and to change its words, '
                        'for any browser: see docs/web.md'),
        DeclareLaunchArgument(
            'web_host', default_value='127.0.0.1',
            description='Address that the page is served at; 0.0.0.0 lets other machines in, with '
                        'the token in the URL that is printed'),
        DeclareLaunchArgument(
            'web_port', default_value='8780',
            description='TCP port of the page; 0 takes any that is free'),
        DeclareLaunchArgument(
            'demo', default_value='false', choices=['true', 'false'],
            description='Start a camera in a rendered street, or one for each of the cameras, '
                        'and segment it with the bundled model: needs no camera and no network'),
        DeclareLaunchArgument(
            'name', default_value='segment',
            description='Name of the node'),
        DeclareLaunchArgument(
            'namespace', default_value='',
            description='Namespace of the nodes and of the topics with relative names'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Least severity that the node logs'),
        OpaqueFunction(function=start_nodes),
    ])


def start_nodes(context):
    """Return the actions that start the nodes, now that the arguments have values."""
    namespace = value_of(context, 'namespace')
    name = value_of(context, 'name')
    demo = is_true(context, 'demo')
    rviz = is_true(context, 'rviz')
    environment, advice = large_image_settings(context)
    files, values = parameters(context, demo, posixpath.join('/', namespace, name))
    nodes = [*advice, Node(
        package='csa_ros', executable='segment', exec_name='segment', name=name,
        namespace=namespace, output='screen', prefix=interpreter(context),
        # Of the names that fit a node the last counts, and a name has the place of the first file
        # that has it: /**, with which config/segment.yaml begins, comes before the node's own, for
        # which launch sets these values.
        parameters=[*layered([*files, *written(values, posixpath.join('/', namespace, name))]),
                    *sim_time(context)],
        additional_env=environment,
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        # Only the demo is all there is: elsewhere the rest of the robot must go on.
        on_exit=Shutdown() if demo else None)]
    if demo or rviz:
        cameras, compressed = read_cameras(files, values, namespace, name)
    if demo:
        nodes += [demo_camera(context, camera, number, namespace, environment)
                  for number, camera in enumerate(cameras)]
    if is_true(context, 'web'):
        nodes.append(web(context, namespace, environment))
    if rviz:
        # First: where there is no RViz, launch gives up, and leaves behind what it has started.
        nodes.insert(0, Node(
            package='rviz2', executable='rviz2', name='rviz',
            arguments=['-d', write_rviz(cameras, compressed, namespace, name)],
            parameters=sim_time(context), additional_env=environment))
    return nodes


def read_cameras(files, values, namespace, name):
    """Return the cameras with full names of their topics, and whether they send /compressed."""
    # Here, because launch runs under the Python of ROS: only what needs it should need NumPy and
    # OpenCV there.
    from csa_ros.parameters import cameras
    from csa_ros.parameters.file import read_files
    merged = {**read_files(map(Path, files), posixpath.join('/', namespace, name)), **values}
    found = [replace(camera, **{topic: absolute(getattr(camera, topic), namespace, name)
                                for topic in cameras.TOPICS})
             for camera in cameras.read_cameras(merged)]
    return found, merged['transport'] == 'compressed'


def demo_camera(context, camera, number, namespace, environment):
    """Return a camera in streets of its own."""
    suffix, below = (f'_{camera.name}', f'{camera.name}/') if camera.name else ('', '')
    return Node(
        package='csa_ros', executable='demo_camera', exec_name='demo_camera',
        name=f'demo_camera{suffix}'.replace('/', '_'), namespace=namespace, output='screen',
        prefix=interpreter(context), parameters=[{'seed': number * 1000}, *sim_time(context)],
        remappings=[('image', camera.image), ('camera_info', camera.camera_info),
                    ('true_labels', f'{below}true_labels'),
                    ('true_classes', f'{below}true_classes')],
        additional_env=environment, on_exit=Shutdown())


def web(context, namespace, environment):
    """Return the node that serves the page."""
    return Node(
        package='csa_ros', executable='web', exec_name='web', name='web', namespace=namespace,
        output='screen', prefix=interpreter(context),
        parameters=[{'host': value_of(context, 'web_host'),
                     'port': int(value_of(context, 'web_port'))},
                    *sim_time(context)],
        additional_env=environment)


def write_rviz(cameras, compressed, namespace, name):
    """Return the path of a configuration for RViz that shows these cameras."""
    from csa_ros.adapters.rviz import arrange
    from csa_ros.adapters.rviz import View
    views = [View(camera.name, camera.image + ('/compressed' if compressed else ''),
                  absolute(posixpath.join('~', camera.name, 'overlay'), namespace, name))
             for camera in cameras]
    template = yaml.safe_load((CONFIG / 'segment.rviz').read_text())
    # It stays, as the parameters do that launch itself writes: whoever moves panels may save it.
    with tempfile.NamedTemporaryFile(
            'w', prefix='csa_ros_', suffix='.rviz', delete=False) as file:
        yaml.safe_dump(arrange(template, views), file, sort_keys=False)
    return file.name


def large_image_settings(context):
    """Return the environment of the processes, beside that of launch, and what else is to do."""
    if not is_true(context, 'large_images'):
        return {}, []
    middleware = os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp'
    if middleware.startswith('rmw_fastrtps'):
        return {FAST_DDS_PROFILES: str(CONFIG / 'fastdds_large_images.xml')}, []
    if middleware == 'rmw_zenoh_cpp':
        others = os.environ.get('ZENOH_CONFIG_OVERRIDE')
        return {'ZENOH_CONFIG_OVERRIDE': ';'.join(filter(None, [others, ZENOH_SHARED_MEMORY]))}, []
    return {}, [LogInfo(msg=f'large_images has no effect on {middleware}: what large images need '
                            'there is in docs/troubleshooting.md, "Few images arrive"')]


def parameters(context, demo, node):
    """Return the node's parameter files, of which later ones take precedence, and its values."""
    files = [str(CONFIG / 'segment.yaml')]
    if demo:
        files.append(str(CONFIG / 'demo.yaml'))
    driver = value_of(context, 'driver')
    if driver:
        files.append(shipped_or_existing('driver', driver, 'cameras'))
    params_file = value_of(context, 'params_file')
    if params_file:
        files.append(existing('params_file', params_file))
    values = {}
    vocabulary_file = value_of(context, 'vocabulary_file')
    if vocabulary_file:
        values['vocabulary'] = read_vocabulary(vocabulary_file, node)
    return files, {**values, **overrides(context, OVERRIDES)}


def read_vocabulary(value, node):
    """Return the words in a vocabulary file, given as a path or as a name in the package."""
    # As the node would read it, of which launch knows nothing.
    from csa_ros.parameters.file import read_files
    path = shipped_or_existing('vocabulary_file', value, 'vocabularies')
    words = read_files([Path(path)], node).get('vocabulary')
    if not isinstance(words, (str, list)) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'vocabulary_file: {path} must set the parameter vocabulary to a list of '
                         'words, as config/vocabularies/indoor.yaml does')
    return words


def shipped_or_existing(argument, value, folder):
    """Return the path of a file in a folder of config by its bare name, or of any file."""
    from csa_ros.files import visible_files
    shipped = {path.stem: str(path) for path in visible_files(CONFIG / folder, ('.yaml',))}
    return shipped.get(value) or existing(
        argument, value, f'; the package has {", ".join(sorted(shipped))}')


def absolute(topic, namespace, name):
    """Return a topic's full name, as a node of that name in the namespace resolves it."""
    return posixpath.join('/', namespace, topic.replace('~', name, 1))
