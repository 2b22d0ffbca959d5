"""
The example for Nav2 against the real node: what semantic_segmentation_layer 1.0.0 makes of it.

`Layer` reads parameters and subscribes as `SemanticSegmentationLayer::onInitialize` does, and
turns labels into costs as `SegmentationBuffer` does.
"""

from pathlib import Path

from csa_ros.vocabulary import Vocabulary
from graph import stamp_of
from graph import wait_for
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import qos_check_compatible
from rclpy.qos import QoSCompatibility
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

CONFIG = Path(__file__).resolve().parents[1] / 'config/nav2_semantic_layer.yaml'
NAME = 'semantic_segmentation_layer'
TEXTS = Parameter.Type.STRING_ARRAY
# Every parameter that the layer declares, with its default. rclcpp refuses values of other types.
OF_LAYER = {'enabled': True, 'combination_method': 1, 'observation_sources': '',
            'publish_debug_topics': False, 'use_approximate_time_sync': True}
OF_SOURCE = {
    'segmentation_topic': '', 'confidence_topic': '', 'labels_topic': '', 'pointcloud_topic': '',
    'observation_persistence': 0.0, 'expected_update_rate': 0.0, 'class_types': TEXTS,
    'max_obstacle_distance': 5.0, 'min_obstacle_distance': 0.3, 'tile_map_decay_time': 5.0,
    'visualize_tile_map': False, 'use_cost_selection': True}
OF_CLASSES = {'classes': TEXTS, 'base_cost': 0, 'max_cost': 0, 'mark_confidence': 0,
              'samples_to_max_cost': 0, 'dominant_priority': False}
SENSOR_DATA = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT,
                         durability=DurabilityPolicy.VOLATILE)
LATCHED = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Layer:
    """The layer's parameters, and what it knows of the classes."""

    def __init__(self, node):
        self._node = node
        values = self._declare(NAME, OF_LAYER)
        assert values['enabled']
        self.exact = not values['use_approximate_time_sync']
        self.source, = values['observation_sources'].split()
        self.values = self._declare(f'{NAME}.{self.source}', OF_SOURCE)
        self.costs = {}
        for kind in self.values['class_types']:
            costs = self._declare(f'{NAME}.{self.source}.{kind}', OF_CLASSES)
            assert costs['classes'], f'no classes defined on type {kind}'
            # A class that is named twice keeps the costs of the first.
            self.costs = {**dict.fromkeys(costs['classes'], costs), **self.costs}
        self.id_to_cost = {}

    def _declare(self, prefix, parameters):
        return {key: self._node.declare_parameter(f'{prefix}.{key}', default).value
                for key, default in parameters.items()}

    def take_classes(self, pairs):
        """Rebuild the map of ids, as every LabelInfo makes the layer do."""
        self.id_to_cost = {label: self.costs[name] for label, name in pairs if name in self.costs}

    def max_cost(self, label):
        """Return what a tile that is seen often enough costs, or None if the layer skips it."""
        costs = self.id_to_cost.get(label)
        return costs and costs['max_cost']


@pytest.fixture
def costmap():
    """Return the costmap's node, which has read the example."""
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node(
        'local_costmap', namespace='/local_costmap', context=context,
        cli_args=['--ros-args', '--params-file', str(CONFIG)])
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def layer(costmap):
    return Layer(costmap)


def test_the_layer_takes_every_parameter_of_the_example(costmap, layer):
    given = {name for name in costmap._parameter_overrides if name.startswith(NAME)}
    assert given - set(costmap._parameters) == {f'{NAME}.plugin'}
    plugins = costmap._parameter_overrides['plugins'].value
    assert NAME in plugins
    assert all(f'{plugin}.plugin' in costmap._parameter_overrides for plugin in plugins)


def test_costs_and_distances_are_in_range(layer):
    for name, costs in layer.costs.items():
        assert 0 <= costs['base_cost'] <= costs['max_cost'] <= 254, name
        assert 0 <= costs['mark_confidence'] <= 255, name
    assert 0 < layer.values['min_obstacle_distance'] < layer.values['max_obstacle_distance']
    assert layer.values['tile_map_decay_time'] > 0


def test_every_class_of_the_vocabulary_has_a_cost_but_the_sky(layer):
    assert "vocabulary: '@street'" in CONFIG.read_text()
    names = Vocabulary.parse('@street').names
    assert set(names) - set(layer.costs) == {'sky'}
    assert set(layer.costs) <= set(names)


def test_topics_have_the_types_and_the_qos_that_the_layer_asks_for(graph, tmp_path, layer):
    graph.start(tmp_path, vocabulary='@street').flow()
    for key, qos in (('segmentation_topic', SENSOR_DATA), ('confidence_topic', SENSOR_DATA)):
        check_publisher(graph, layer.values[key], 'sensor_msgs/msg/Image', qos)
    check_publisher(graph, layer.values['pointcloud_topic'], 'sensor_msgs/msg/PointCloud2',
                    SENSOR_DATA)


def check_publisher(graph, topic, kind, qos):
    publisher, = graph.client.get_publishers_info_by_topic(topic)
    assert publisher.topic_type == kind
    assert publisher.node_name == 'segment'
    compatibility, reason = qos_check_compatible(publisher.qos_profile, qos)
    # A warning is about the subscription's liveliness, which takes whatever is offered.
    assert compatibility != QoSCompatibility.ERROR, (topic, reason)


def test_mask_and_confidence_pair_by_stamp_alone(graph, tmp_path, layer):
    assert layer.exact
    masks, confidences = {}, {}
    for key, messages in (('segmentation_topic', masks), ('confidence_topic', confidences)):
        graph.client.create_subscription(
            Image, layer.values[key],
            lambda message, messages=messages: messages.setdefault(stamp_of(message), message),
            SENSOR_DATA)
    graph.start(tmp_path, vocabulary='@street')
    stamp = graph.stream(lambda: next(iter(set(masks) & set(confidences)), None))
    mask, confidence = masks[stamp], confidences[stamp]
    assert mask.header == confidence.header
    assert mask.header.frame_id == 'camera_optical'
    for image in (mask, confidence):
        assert image.encoding == 'mono8'
        # The layer reads pixel v * width + u, whatever the step.
        assert image.step == image.width
        assert len(image.data) == image.width * image.height
    layer.take_classes((item['id'], item['name']) for item in graph.legends[-1]['classes'])
    # The last class of @street, which all of a probe's pixels have.
    assert layer.max_cost(np.frombuffer(mask.data, np.uint8)[0]) == 254


def test_label_info_gives_the_layer_its_classes(graph, tmp_path, layer):
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    infos = []
    graph.client.create_subscription(
        messages.LabelInfo, layer.values['labels_topic'], infos.append, LATCHED)
    graph.start(tmp_path, vocabulary='@street').flow()
    info = wait_for(lambda: infos)[-1]
    check_publisher(graph, layer.values['labels_topic'], 'vision_msgs/msg/LabelInfo', LATCHED)
    layer.take_classes((item.class_id, item.class_name) for item in info.class_map)
    assert layer.max_cost(0) is None, 'the sky is skipped'
    assert layer.max_cost(2) == 0, 'the pavement is free'
    assert layer.max_cost(255) is None, 'unknown pixels are skipped'
    graph.set_each(vocabulary='person, pavement')
    info = wait_for(lambda: len(infos) > 1 and infos[-1])
    layer.take_classes((item.class_id, item.class_name) for item in info.class_map)
    assert [layer.max_cost(label) for label in (0, 1, 2)] == [254, 0, None]
