"""What is found, and objects, over DDS: one node for all of it."""

import json

from csa_ros import segmenter
from csa_ros.ros import found
from geometry_msgs.msg import PoseArray
from graph import Graph
from graph import make_image
from graph import stamp_of
from graph import WORDS
import numpy as np
import pytest
from std_msgs.msg import String
from test_node_outputs import make_depth
from test_node_outputs import make_info
from test_node_outputs import pixels

# The probe labels every pixel as this.
LAST = WORDS[-1]
EVERYWHERE = {'box': [0, 0, 64, 48], 'area': 64 * 48}


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """Return a running node, which has nothing to look for yet, and whoever listens to all."""
    with Graph() as running:
        running.heat, running.texts, running.objects, running.places = [], [], [], []
        running.listening = False
        running.start(tmp_path_factory.mktemp('cache'), find_threshold=0.0).flow()
        yield running


def read(messages):
    return [json.loads(message.data) for message in messages]


def stamp_of_text(message):
    return message['stamp']['sec'], message['stamp']['nanosec']


def listen(graph):
    """Subscribe to all that needs no vision_msgs, once."""
    if not graph.listening:
        graph.listening = True
        graph.listen('heat', graph.heat)
        for topic, texts in (('found/json', graph.texts), ('objects/json', graph.objects)):
            graph.listen(topic, texts, String)
    graph.stream(lambda: graph.heat and graph.texts and graph.objects)


def stream_until(graph, condition, messages=None):
    """Stream until a message that comes from now on fulfils a condition; return it."""
    messages = graph.texts if messages is None else messages
    seen = len(messages)
    return graph.stream(lambda: next(filter(condition, read(messages[seen:])), None))


def test_nothing_is_made_before_somebody_listens(graph, monkeypatch):
    """Not even with phrases: then frames are segmented as ever."""
    computed = []
    relevancy = segmenter._relevancy
    monkeypatch.setattr(segmenter, '_relevancy',
                        lambda *given: computed.append(1) or relevancy(*given))
    assert graph.set_each(find=['a red car'], object_classes=[LAST]) == ['', '']
    graph.stream(lambda: graph.node._pipeline._snapshot.sought)
    graph.flow()
    assert not computed and not graph.client.count_subscribers('/depth')
    heat = []
    subscription = graph.listen('heat', heat)
    graph.stream(lambda: heat)
    assert computed
    graph.client.destroy_subscription(subscription)
    assert graph.set_each(find='', object_classes='') == ['', '']
    graph.stream(lambda: graph.node._pipeline._snapshot.sought is None)


def test_nothing_to_look_for_is_black_and_empty(graph):
    listen(graph)
    # A frame that was begun before may still come.
    message = stream_until(graph, lambda message: not message['found'])
    assert message.keys() == {'stamp', 'frame_id', 'found'}
    assert message['frame_id'] == 'camera_optical'
    stream_until(graph, lambda message: not message['objects'], graph.objects)
    assert (graph.heat[-1].encoding, graph.heat[-1].width, graph.heat[-1].height) == (
        'mono8', 64, 48)
    graph.stream(lambda: not pixels(graph.heat[-1]).any())


def test_what_is_found_belongs_to_its_frame(graph):
    listen(graph)
    assert graph.set_each(find=['a red car', 'road']) == ['']
    seen = len(graph.texts)

    def with_heat():
        # With a queue of one, a message may be lost where the next follows at once.
        heats = {stamp_of(heat): heat for heat in graph.heat}
        return next(((message, heats[stamp_of_text(message)])
                     for message in read(graph.texts[seen:])
                     if len(message['found']) >= 2 and stamp_of_text(message) in heats), None)

    message, heat = graph.stream(with_heat)
    assert {each['phrase'] for each in message['found']} == {'a red car', 'road'}
    for each in message['found']:
        assert each.keys() == {'phrase', 'score', 'box', 'area', 'distance'}
        assert 0 < each['score'] <= 1 and each['distance'] is None
    strongest = max(each['score'] for each in message['found'])
    assert abs(255 * strongest - pixels(heat).max()) < 0.2
    # Others come into force as a whole.
    assert graph.set_each(find='one, two, three') == ['']
    message = stream_until(graph, lambda message: any(
        each['phrase'] == 'two' for each in message['found']))
    assert {each['phrase'] for each in message['found']} <= {'one', 'two', 'three'}
    assert graph.set_each(find_threshold=1.0) == ['']
    stream_until(graph, lambda message: not message['found'])
    assert graph.set_each(find_threshold=0.0) == ['']


def test_objects_are_those_of_classes(graph):
    listen(graph)
    assert graph.set_each(object_classes=WORDS) == ['']
    message = stream_until(graph, lambda message: message['objects'], graph.objects)
    assert message.keys() == {'stamp', 'frame_id', 'objects'}
    one, = message['objects']
    assert (one['class'], one['box'], one['area']) == (LAST, *EVERYWHERE.values())
    assert 0 < one['confidence'] <= 1
    assert graph.set_each(min_object_area=64 * 48 + 1) == ['']
    stream_until(graph, lambda message: not message['objects'], graph.objects)


@pytest.mark.parametrize('values, reason', [
    ({'find': ['']}, 'find has an empty name'),
    ({'find': [f'phrase {index}' for index in range(9)]},
     "find has 9 phrases, more than 8: drop those from 'phrase 8' on"),
    ({'find': ['a', 'a']}, "find has 'a' 2 times"),
    ({'find': ['car ' * 30]}, 'find has a phrase of 119 characters, more than 100: shorten'),
    ({'find': ['x ' * 40]}, 'and the text tower of tiny reads at most 24: shorten'),
    ({'find': ['a\u200bb']}, 'with a control or invisible character'),
    ({'find': [1, 2]}, 'it must be a list of names'),
    ({'find_threshold': 1.5}, 'find_threshold out of range'),
    ({'object_classes': ['raod']}, "object_classes has 'raod', which is no name in the "
     "vocabulary (did you mean 'road'?)"),
    ({'min_object_area': 0}, 'min_object_area out of range'),
])
def test_what_cannot_be_found_is_refused_with_the_reason(graph, values, reason):
    before = {name: graph.get(name) for name in values}
    given, = graph.set_each(**values)
    assert reason in given
    assert {name: graph.get(name) for name in values} == before


def test_a_vocabulary_without_an_object_class_is_refused(graph):
    assert graph.set_each(object_classes=[LAST]) == ['']
    reason, = graph.set_each(vocabulary='car, bus')
    assert f"object_classes has '{LAST}'" in reason
    assert graph.set_each(object_classes='') == ['']


def test_phrases_that_cannot_be_encoded_leave_the_old_ones(graph, monkeypatch):
    listen(graph)
    assert graph.set_each(find=['before']) == ['']
    stream_until(graph, lambda message: message['found'])

    def fail(*_):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(graph.segmenter, 'seek', fail)
    assert graph.set_each(find=['after']) == ['']
    graph.stream(lambda: any(
        'find is not in force: RuntimeError: out of memory' in status.message
        for status in graph.statuses))
    message = stream_until(graph, lambda message: message['found'])
    assert {each['phrase'] for each in message['found']} == {'before'}
    monkeypatch.undo()
    assert graph.set_each(find=['later']) == ['']
    stream_until(graph, lambda message: message['found']
                 and message['found'][0]['phrase'] == 'later')


def test_with_depth_it_is_somewhere(graph):
    listen(graph)
    assert graph.set_each(find=['thing']) == ['']

    def with_depth(metres):
        def make(stamp):
            graph.send_to('camera_info', make_info())
            graph.send_to('depth', make_depth(stamp, metres=metres))
            return make_image(stamp=stamp)
        return make

    seen = len(graph.texts)

    def near(item):
        return item['found'] and item['found'][0]['distance']

    # Nobody listens to places: whoever reads what is found has the distance all the same.
    message = graph.stream(lambda: next(filter(near, read(graph.texts[seen:])), None),
                           with_depth(3.0))
    assert message['found'][0]['distance'] == pytest.approx(3.0, abs=0.05)
    places = []
    subscription = graph.listen('found/points', places, PoseArray)
    place = graph.stream(lambda: next((each for each in places if each.poses), None),
                         with_depth(3.0))
    assert place.header.frame_id == 'camera_optical'
    assert place.poses[0].position.z == pytest.approx(3.0)
    assert place.poses[0].orientation.w == 1
    # What has no depth is nowhere, and found all the same.
    graph.stream(lambda: not places[-1].poses
                 and read(graph.texts[-1:])[0]['found'][0]['distance'] is None,
                 with_depth(np.nan))
    graph.client.destroy_subscription(subscription)
    assert graph.set_each(find='') == ['']
    graph.stream(lambda: not graph.client.count_subscribers('/depth'))


@pytest.mark.skipif(not found.Detection2DArray, reason='vision_msgs is not installed')
def test_detections_say_the_same(graph):
    listen(graph)
    assert graph.set_atomically(find=['thing'], object_classes=[LAST], min_object_area=1) == ''
    detections, objects = [], []
    graph.listen('found', detections, found.Detection2DArray)
    graph.listen('objects', objects, found.Detection2DArray)
    graph.stream(lambda: detections and detections[-1].detections and objects
                 and objects[-1].detections)
    for message, name in (detections[-1], 'thing'), (objects[-1], LAST):
        one = message.detections[0]
        assert one.header.frame_id == message.header.frame_id == 'camera_optical'
        assert one.results[0].hypothesis.class_id == name
        assert 0 < one.results[0].hypothesis.score <= 1
    assert (one.bbox.size_x, one.bbox.size_y) == (64, 48)
    assert (one.bbox.center.position.x, one.bbox.center.position.y) == (32, 24)
