"""What the node has on the graph is what docs/topics.md lists: SROS 2 permits nothing else."""

from graph import DEACTIVATE
from graph import make_image
from graph import wait_for
from pages import table
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import PointCloud2

KINDS = ('subscription', 'publisher', 'service')
# What is there in some distributions, or with some packages, alone.
SOMETIMES = ('label_info', 'detections', 'found', 'objects', 'get_type_description')


def declared(cameras, transport, points=True):
    """Return the (kind, name, type) that docs/topics.md promises a node with these parameters."""
    found = set()
    for name, kind, message_type, when in table('topics.md', 'Everything on the graph'):
        name, when = name.strip('`'), when.replace('`', '')
        if 'use_sim_time' in when or ('transport' in when and transport not in when):
            continue
        if 'listener to the points' in when and not points:
            continue
        if 'model of segments' in when:
            # Those are in test_node_segments.py, and this node has none.
            continue
        folder, _, topic = name.removeprefix('/segment').partition('/')
        names = [name]
        if '²' in when and cameras:
            start = name.removesuffix(f'/{topic}')
            names = [f'{start}/{camera}/{topic}' for camera in cameras]
        found |= {(kind, each, message_type.strip('`')) for each in names}
    return found


def present(graph):
    """Return the (kind, name, type) of the node as another node on the graph sees it."""
    client = graph.client
    return {(kind, name, message_type)
            for kind, ask in zip(KINDS, (client.get_subscriber_names_and_types_by_node,
                                         client.get_publisher_names_and_types_by_node,
                                         client.get_service_names_and_types_by_node))
            for name, types in ask('segment', '/') for message_type in types}


def certain(expected):
    """Return what is there in all distributions, and without any other package."""
    return {item for item in expected if item[1].rpartition('/')[2] not in SOMETIMES}


def check(graph, expected):
    """Wait until the node has what docs/topics.md lists, and fail if it has more."""
    wait_for(lambda: certain(expected) <= present(graph), 'what docs/topics.md lists')
    assert present(graph) <= expected


@pytest.mark.parametrize('cameras, transport', [
    ([], 'raw'), ([], 'compressed'), (['front', 'left'], 'raw'), (['front'], 'compressed')])
def test_every_topic_and_service_is_declared(graph, tmp_path, cameras, transport):
    parameters = {'cameras': cameras} if cameras else {}
    graph.start(tmp_path, listen=False, transport=transport, **parameters)
    check(graph, declared(cameras, transport, points=False))
    prefix = f'{cameras[0]}/' if cameras else ''
    graph.listen(f'{prefix}points', [], PointCloud2)
    message = make_image() if transport == 'raw' else CompressedImage()
    topic = f'{prefix}image' + ('' if transport == 'raw' else '/compressed')
    everything = declared(cameras[:1], transport)

    def seen():
        graph.send_to(topic, message)
        return certain(item for item in everything
                       if 'depth' in item[1] or 'info' in item[1]) <= present(graph)

    wait_for(seen, 'what docs/topics.md lists for points')
    assert present(graph) <= everything | declared(cameras, transport)
    assert not graph.client.get_client_names_and_types_by_node('segment', '/')


def test_a_pause_takes_nothing_but_the_inputs_off(graph, tmp_path):
    graph.start(tmp_path, listen=False)
    graph.change_state(DEACTIVATE)
    everything = declared([], 'raw')
    assert present(graph) <= everything


# In the column `QoS` of the table.
RELIABLE, AS_OFFERED = 'reliable', 'as its publishers offer'
# Elsewhere in the tests, and with vision_msgs alone.
NOT_STARTED = ('image/compressed', '~/label_info', '~/found', '~/objects', '~/segments')


def endpoints(graph, topic):
    """Return what the node has on a topic: publishers and subscriptions."""
    return [info for ask in (graph.client.get_publishers_info_by_topic,
                             graph.client.get_subscriptions_info_by_topic)
            for info in ask(topic) if info.node_name == 'segment']


def test_topics_have_the_type_and_qos_of_the_docs(graph, tmp_path):
    graph.start(tmp_path, listen=False)
    graph.listen('points', [], PointCloud2)
    for name, kind, qos, _ in table('topics.md', 'Topics'):
        topic = name.split('`')[1]
        if topic in NOT_STARTED:
            continue

        def there(topic='/' + topic.replace('~', 'segment').lstrip('/')):
            graph.send_to('image', make_image())
            return endpoints(graph, topic)

        info, = wait_for(there, f'an endpoint on {topic}')
        assert info.topic_type.replace('/msg', '') == kind.split(',')[0], topic
        assert qos.split(',')[0] == (AS_OFFERED if '(in)' in name else RELIABLE), topic
        # The images have publishers, which are reliable, and the other inputs have none.
        if '(in)' not in name or topic == 'image':
            wait_for(lambda there=there: there()[0].qos_profile.reliability
                     == ReliabilityPolicy.RELIABLE, f'a reliable {topic}')
        else:
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT, topic
        latched = info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert latched == ('transient local' in qos), topic
