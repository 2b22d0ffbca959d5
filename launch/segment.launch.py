"""Segments the images of cameras by words; with `demo:=true`, those of a rendered street."""

import os
from pathlib import Path
import posixpath
from typing import List

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.actions import LogInfo
from launch.actions import OpaqueFunction
from launch.actions import Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
import yaml

CONFIG = Path(get_package_share_directory('csa_ros')) / 'config'
OVERRIDES = ('vocabulary', 'model', 'device', 'attention', 'cameras', 'transport')
# With one camera; those of several are found under their names.
INPUTS = ('image', 'depth', 'camera_info')
# Names the file in which Fast DDS finds its settings; version 3 has a new name, and warns of the
# old one.
FAST_DDS_PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE'
                     if os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy')
                     else 'FASTDDS_DEFAULT_PROFILES_FILE')

ZENOH_SHARED_MEMORY = 'transport/shared_memory/enabled=true'


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument(
            'image', default_value='image',
            description='Topic of the images to segment; sensor_msgs/Image'),
        DeclareLaunchArgument(
            'depth', default_value='depth',
            description='Topic of depth images for ~/points, registered to the camera'),
        DeclareLaunchArgument(
            'camera_info', default_value='camera_info',
            description='Topic of the calibration for ~/points; sensor_msgs/CameraInfo'),
        DeclareLaunchArgument(
            'cameras', default_value='',
            description='Names of several cameras, as in "front, left" for front/image and '
                        'left/image; empty: those of the params file, or one on image'),
        DeclareLaunchArgument(
            'transport', default_value='',
            description='raw, or compressed for image/compressed; '
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
            description='demo, PRESET, ARCH/TAG of open_clip, PRESET:/path or ARCH:/path; '
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
            description='YAML file of parameters that replace those of config/segment.yaml'),
        DeclareLaunchArgument(
            'large_images', default_value='false', choices=['true', 'false'],
            description='Give Fast DDS more shared memory, so that large images get through, or '
                        'let Zenoh use it, by RMW_IMPLEMENTATION; the process of the camera needs '
                        'it as well: see docs/troubleshooting.md'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description='Show the images and the overlay in RViz'),
        DeclareLaunchArgument(
            'demo', default_value='false', choices=['true', 'false'],
            description='Start a camera in a rendered street and segment it with the bundled '
                        'model: needs no camera and no network'),
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
    namespace = LaunchConfiguration('namespace').perform(context)
    name = LaunchConfiguration('name').perform(context)
    image = absolute(LaunchConfiguration('image').perform(context), namespace)
    demo = IfCondition(LaunchConfiguration('demo'))
    in_demo = demo.evaluate(context)
    environment, advice = large_image_settings(context)
    return [
        *advice,
        Node(
            package='csa_ros', executable='segment', name=name, namespace=namespace,
            output='screen', parameters=parameters(context, in_demo),
            remappings=[(topic, absolute(LaunchConfiguration(topic).perform(context), namespace))
                        for topic in INPUTS],
            additional_env=environment,
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            # Only the demo is all there is: elsewhere the rest of the robot must go on.
            on_exit=Shutdown() if in_demo else None),
        Node(
            package='csa_ros', executable='demo_camera', name='demo_camera', namespace=namespace,
            output='screen', remappings=[('image', image)], additional_env=environment,
            on_exit=Shutdown(), condition=demo),
        Node(
            package='rviz2', executable='rviz2', name='rviz',
            arguments=['-d', str(CONFIG / 'segment.rviz')],
            remappings=[('/image', image),
                        ('/segment/overlay', absolute(f'{name}/overlay', namespace))],
            additional_env=environment, condition=IfCondition(LaunchConfiguration('rviz'))),
    ]


def large_image_settings(context):
    """Return the environment of the processes, beside that of launch, and what else is to do."""
    if not IfCondition(LaunchConfiguration('large_images')).evaluate(context):
        return {}, []
    middleware = os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp'
    if middleware.startswith('rmw_fastrtps'):
        return {FAST_DDS_PROFILES: str(CONFIG / 'fastdds_large_images.xml')}, []
    if middleware == 'rmw_zenoh_cpp':
        others = os.environ.get('ZENOH_CONFIG_OVERRIDE')
        return {'ZENOH_CONFIG_OVERRIDE': ';'.join(filter(None, [others, ZENOH_SHARED_MEMORY]))}, []
    return {}, [LogInfo(msg=f'large_images has no effect on {middleware}: what large images need '
                            'there is in docs/troubleshooting.md, "Few images arrive"')]


def parameters(context, in_demo):
    """Return the node's parameter files and values; the later ones take precedence."""
    sources = [str(CONFIG / 'segment.yaml')]
    if in_demo:
        sources.append(str(CONFIG / 'demo.yaml'))
    params_file = LaunchConfiguration('params_file').perform(context)
    if params_file:
        sources.append(existing('params_file', params_file))
    values = {}
    vocabulary_file = LaunchConfiguration('vocabulary_file').perform(context)
    if vocabulary_file:
        values['vocabulary'] = ParameterValue(
            read_vocabulary(vocabulary_file), value_type=List[str])
    for key in OVERRIDES:
        value = LaunchConfiguration(key).perform(context)
        if value:
            # As text: launch would read the word `no` as false and `1` as a number.
            values[key] = ParameterValue(value, value_type=str)
    # Of the names that fit a node the last counts, and a name has the place of the first file that
    # has it: /**, with which config/segment.yaml begins, comes before the node's own, for which
    # launch sets these values.
    return [*sources, values] if values else sources


def read_vocabulary(value):
    """Return the words in a vocabulary file given as a path or as a name in the package."""
    # Not what macOS puts beside files: `._indoor.yaml`.
    shipped = {path.stem: path for path in (CONFIG / 'vocabularies').glob('[!.]*.yaml')}
    path = shipped.get(value) or existing(
        'vocabulary_file', value, f'; the package has {", ".join(sorted(shipped))}')
    try:
        node, = yaml.safe_load(Path(path).read_text()).values()
        return list(node['ros__parameters']['vocabulary'])
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f'vocabulary_file: {path} must set the parameter vocabulary to a list, '
                         'as config/vocabularies/indoor.yaml does') from error


def existing(argument, value, hint=''):
    """Return the path; launch itself would go on without a file that is missing."""
    path = Path(value).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{argument}: there is no file {value}{hint}')
    return str(path)


def absolute(topic, namespace):
    """Return a topic's full name, as a node in the namespace resolves it."""
    return posixpath.join('/', namespace, topic)
