"""Says which action is going on before a camera; with `demo:=true`, in rendered streets."""

from pathlib import Path
import posixpath

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
from launch.actions import OpaqueFunction
from launch.actions import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

CONFIG = Path(get_package_share_directory('csa_ros')) / 'config'
# Arguments that are passed on as text, by the parameters that they set.
OVERRIDES = {
    'actions': 'actions', 'model': 'model', 'device': 'device', 'method': 'method',
    'method_weights': 'method_weights', 'examples': 'examples', 'image': 'image_topic',
    'transport': 'transport'}


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument(
            'image', default_value='',
            description='Topic of the images to watch; empty: that of the params file, or image'),
        DeclareLaunchArgument(
            'transport', default_value='',
            description='raw, or compressed for /compressed below the topic of the images; '
                        'empty: that of the params file or config/actions.yaml'),
        DeclareLaunchArgument(
            'actions', default_value='',
            description='Actions to tell apart, as in "waving, pointing"; '
                        'empty: those of the params file, and of the file of examples'),
        DeclareLaunchArgument(
            'examples', default_value='',
            description='File that recorded actions are read from and kept in; '
                        'empty: that of the params file, or none'),
        DeclareLaunchArgument(
            'method', default_value='',
            description='clip-fsar, ma-clip or mean; '
                        'empty: that of the params file or config/actions.yaml'),
        DeclareLaunchArgument(
            'method_weights', default_value='',
            description='File of train_actions for the method; '
                        'empty: that of the params file, or none'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='demo, demo:/path, PRESET, ARCH/TAG of open_clip, PRESET:/path or '
                        'ARCH:/path; empty: that of the params file or config/actions.yaml'),
        DeclareLaunchArgument(
            'device', default_value='',
            description='auto, cpu or cuda; '
                        'empty: that of the params file or config/actions.yaml'),
        DeclareLaunchArgument(
            'params_file', default_value='',
            description='YAML file of parameters that replace those of config/actions.yaml'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='', choices=['', 'true', 'false'],
            description='Take the time from /clock, as a simulation or a bag gives it; '
                        'empty: as the params file has it, or false'),
        DeclareLaunchArgument(
            'python', default_value='',
            description='Python that has the requirements, as in ~/venv/bin/python; '
                        'empty: python3 of the shell, which an active virtual environment sets'),
        DeclareLaunchArgument(
            'demo', default_value='false', choices=['true', 'false'],
            description='Start a camera before which one action after the other happens, and '
                        'name them with the bundled model: needs no camera and no network'),
        DeclareLaunchArgument(
            'name', default_value='actions',
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
    namespace, name = value_of(context, 'namespace'), value_of(context, 'name')
    demo, node = is_true(context, 'demo'), posixpath.join('/', namespace, name)
    files = [str(CONFIG / 'actions.yaml')]
    if demo:
        files.append(str(CONFIG / 'actions_demo.yaml'))
    params_file = value_of(context, 'params_file')
    if params_file:
        files.append(existing('params_file', params_file))
    values = overrides(context, OVERRIDES)
    nodes = [Node(
        package='csa_ros', executable='actions', exec_name='actions', name=name,
        namespace=namespace, output='screen', prefix=interpreter(context),
        parameters=[*layered([*files, *written(values, node)]), *sim_time(context)],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        # Only the demo is all there is: elsewhere the rest of the robot must go on.
        on_exit=Shutdown() if demo else None)]
    if demo:
        topic = values.get('image_topic', 'image').replace('~', name, 1)
        nodes.append(Node(
            package='csa_ros', executable='demo_camera', exec_name='demo_camera',
            name='demo_camera', namespace=namespace, output='screen',
            prefix=interpreter(context), remappings=[('image', topic)],
            parameters=[{'action': 'all', 'stay': 3.0}, *sim_time(context)], on_exit=Shutdown()))
    return nodes
