"""Classes are taught while the node runs: atomically, kept in a file, and never half."""

import array
import base64
from collections import Counter
import functools
from itertools import groupby
import json
import threading

from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation.datasets.demo import Street
from csa_ros.ros import outputs
from csa_ros.segmenter import Segmenter
from csa_ros.teaching.examples import Example
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.file import read
from csa_ros.teaching.file import write
import cv2
from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import make_image
from graph import wait_for
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger
import torch

NONSENSE = 'zorblax'
TAUGHT = 'building'
OTHERS = [name for name in CLASSES if name != TAUGHT]
SHOWN, ALSO_SHOWN, UNSEEN = 0, 1, 12


@functools.lru_cache
def picture(seed):
    """Return the picture of a street and its truth."""
    return Street(seed).read()


@pytest.fixture(scope='module')
def backbone():
    """Return the bundled model."""
    return Segmenter.load('demo', 'cpu').backbone


@pytest.fixture
def start(graph, tmp_path, backbone):
    """Start a node with the bundled model; collect what it says of examples in the graph."""
    def begin(on=graph, attention='auto', **parameters):
        def load(settings, **_):
            return Segmenter(backbone, attention, settings, tmp_path)

        on.examples, on.thumbnails = [], []
        qos = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                         reliability=ReliabilityPolicy.RELIABLE)
        for topic, told in ('examples', on.examples), ('examples/thumbnails', on.thumbnails):
            on.client.create_subscription(
                String, f'/segment/{topic}',
                lambda message, told=told: told.append(json.loads(message.data)), qos)
        return on.start(tmp_path, load=load, **{'vocabulary': OTHERS, **parameters})

    return begin


def street(seed, stamp=(1, 0)):
    """Return the image of a street, its truth, and a box around most of what is taught."""
    rgb, truth = picture(seed)
    height, width = truth.shape
    message = Image(width=width, height=height, encoding='rgb8', step=3 * width)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.data = array.array('B', rgb.tobytes())
    mask = (truth == CLASSES.index(TAUGHT)).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
    box = max(boxes[1:], key=lambda box: box[4])[:4]
    return message, mask.astype(bool), [int(side) for side in box]


def names(legend):
    return [item['name'] for item in legend['classes']]


def call(graph, name, kind=Trigger, **request):
    """Call a service while images go on; return (success, message)."""
    future = graph.call_later(kind, name, kind.Request(**request))
    wait_for(future.done, f'an answer of {name}')
    return future.result().success, future.result().message


def show(graph, seed, stamp, **parameters):
    """Let the node see a street, and teach what is in its box; return the answer."""
    image, _, box = street(seed, stamp)
    graph.mask_of(image)
    assert not any(graph.set_each(**{'teach_region': box, **parameters}))
    success, message = call(graph, 'teach')
    assert success, message
    return message


def shown_pictures(graph):
    """Return stamp and JPEG of each thumbnail that the node has told, by class."""
    return {item['name']: [
        (each['stamp']['sec'] * 10**9 + each['stamp']['nanosec'], base64.b64decode(each['jpeg']))
        for each in item['thumbnails']] for item in graph.thumbnails[-1]['classes']}


def score(labels, truth, words):
    """Return the IoU of what is taught."""
    there = labels == words.index(NONSENSE)
    return (there & truth).sum() / (there | truth).sum()


def labels_of(graph, stamp):
    """Return the labels of the unseen street."""
    image, truth, _ = street(UNSEEN, stamp)
    mask = graph.mask_of(image)
    return np.frombuffer(mask.data, np.uint8).reshape(truth.shape)


def taught(graph):
    """Return which classes of the newest legend are taught, and by how many examples."""
    return {item['name']: item['taught'] for item in graph.legends[-1]['classes']
            if 'taught' in item}


def test_a_class_is_taught_found_kept_and_forgotten(start, graph, tmp_path, backbone):
    file, truth = tmp_path / 'taught.safetensors', street(UNSEEN)[1]
    segmenter = Segmenter(backbone, cache_dir=tmp_path)
    rgb, _ = picture(UNSEEN)
    words = [*OTHERS, NONSENSE]
    before = score(segmenter.segment(rgb, words).labels, truth, words)
    assert before < 0.05
    start(examples=str(file))
    wait_for(lambda: graph.examples)
    # A word that is not in the vocabulary joins it, in one step with what it was shown.
    message = show(graph, SHOWN, (11, 0), teach_name=NONSENSE)
    assert message.startswith('zorblax: 1 example (') and message.endswith(f'in {file}')
    wait_for(lambda: taught(graph) == {NONSENSE: 1})
    assert [(item['version'], len(item['classes'])) for item in graph.legends] == [
        (1, len(OTHERS)), (2, len(words))]
    assert graph.get('vocabulary') == words
    assert 'zorblax: 2 examples, IoU in leave-one-out 0.' in show(graph, ALSO_SHOWN, (13, 0))
    wait_for(lambda: taught(graph) == {NONSENSE: 2})
    assert shown_pictures(graph) == {
        NONSENSE: [(example.look.stamp, example.look.thumbnail)
                   for example in read(file, segmenter.fingerprint())]}
    labels = labels_of(graph, (14, 0))
    assert score(labels, truth, words) > before + 0.25
    # What was frozen is taught, whatever comes.
    assert call(graph, 'freeze', SetBool, data=True) == (
        True, 'what is taught are images of the camera with the stamp 14.000000000')
    wait_for(lambda: graph.examples[-1]['frozen'] == {'': {'sec': 14, 'nanosec': 0}})
    show(graph, SHOWN, (15, 0), teach_region='')
    # A polygon is taken as it is: nothing is cut out of it.
    show(graph, SHOWN, (16, 0), teach_region='[100, 60, 220.5, 60, 220, 180, 100, 180]')
    torch.testing.assert_close(
        graph.node._pipeline.examples[-1].look.key,
        segmenter.look(rgb, [(100, 60), (220.5, 60), (220, 180), (100, 180)]).key)
    assert call(graph, 'forget')[0] is True
    assert call(graph, 'freeze', SetBool, data=False)[0] is True
    wait_for(lambda: graph.examples[-1]['classes'] == [])
    wait_for(lambda: graph.examples[-1]['frozen'] == {})
    seen = [[example['stamp']['sec'] for example in item['examples']]
            for known in graph.examples for item in known['classes']]
    # What is frozen is told with what is known already.
    assert [each for each, _ in groupby(seen)] == [[11], [11, 13], [11, 13, 14], [11, 13, 14, 14]]
    assert [len(each['classes']) for each in graph.thumbnails] == [0, 1, 1, 1, 1, 0]
    assert not read(file, segmenter.fingerprint())
    assert call(graph, 'forget') == (False, 'there is no example to forget')
    assert NONSENSE in names(graph.legends[-1]) and not taught(graph)


def test_what_was_taught_is_there_again_in_another_node(start, graph, tmp_path, backbone):
    file = tmp_path / 'taught.safetensors'
    segmenter, examples = Segmenter(backbone, cache_dir=tmp_path), Examples()
    for seed in (SHOWN, ALSO_SHOWN):
        rgb, _ = picture(seed)
        examples = examples.add(NONSENSE, segmenter.look(rgb, street(seed)[2]))
    write(file, examples)
    rgb, _ = picture(UNSEEN)
    words = segmenter.encode([*OTHERS, NONSENSE], 'simple', examples)
    start(examples=str(file))
    np.testing.assert_array_equal(labels_of(graph, (10, 0)), segmenter.segment(rgb, words).labels)
    assert [item['version'] for item in graph.legends] == [1]
    assert taught(graph) == {NONSENSE: 2}
    # The words learn from the examples, until they change; the legend stays.
    success, message = call(graph, 'tune')
    assert success and 'from 2 examples of zorblax' in message
    wait_for(lambda: graph.examples[-1]['tuned'])
    assert (labels_of(graph, (11, 0)) != segmenter.segment(rgb, words).labels).any()
    # Other words, and then those from before: they still have their examples.
    for vocabulary, expected in (OTHERS, {}), ([*OTHERS, NONSENSE], {NONSENSE: 2}):
        assert graph.set_each(vocabulary=vocabulary) == ['']
        wait_for(lambda vocabulary=vocabulary: names(graph.legends[-1]) == vocabulary)
        assert taught(graph) == expected
    np.testing.assert_array_equal(labels_of(graph, (12, 0)), segmenter.segment(rgb, words).labels)
    # Windows of another kind cannot be compared with what was shown.
    assert '2 examples were seen in other windows' in graph.set_each(short_side=224)[0]


@pytest.mark.parametrize('spoil, reason', [
    (lambda file: file.write_bytes(file.read_bytes()[:-9]), 'is damaged'),
    (lambda file: file.write_bytes(b'PNG'), 'is damaged, or no file of examples'),
    (lambda file: None, 'were seen by another model')], ids=['cut', 'other', 'model'])
def test_a_file_that_cannot_be_used_is_left_as_it_is(graph, tmp_path, backbone, spoil, reason):
    file = tmp_path / 'taught.safetensors'
    rgb, _ = picture(SHOWN)
    write(file, Examples().add('dock', Segmenter(backbone).look(rgb)))
    spoil(file)
    before = file.read_bytes()
    graph.start(tmp_path, examples=str(file)).flow()
    wait_for(lambda: [item for item in graph.statuses if reason in item.message
                      and item.level == item.WARN] or graph.send(make_image()))
    assert names(graph.legends[-1]) == ['sky', 'road']
    assert not any(graph.set_each(teach_name='dock'))
    graph.send(make_image())
    success, message = call(graph, 'teach')
    assert success and 'not in the file' in message and reason in message
    assert file.read_bytes() == before


def test_what_cannot_be_taught_is_refused(graph, tmp_path):
    graph.start(tmp_path, autostart=False)
    graph.change_state(CONFIGURE)
    graph.change_state(ACTIVATE)

    def refusal(name='teach', kind=Trigger, **request):
        success, message = call(graph, name, kind, **request)
        assert not success
        return message

    assert 'teach_name is empty: set it to the class that is shown' in refusal()
    assert graph.set_each(teach_name='dock') == ['']
    assert 'no image has arrived yet' in refusal()
    assert 'no image has arrived yet' in refusal('freeze', SetBool, data=True)
    assert 'nothing was shown of any word in the vocabulary' in refusal('tune')
    graph.flow()
    assert graph.set_each(teach_region=[500, 20, 30, 30]) == ['']
    assert 'outside the picture of 64 x 48 pixels' in refusal()
    assert graph.set_each(teach_region=[10, 20, 1, 1]) == ['']
    assert 'too small for this model' in refusal()
    assert graph.set_each(teach_region='10, 20, 12, 20, 10.5, 22') == ['']
    assert 'too small for this model' in refusal()
    assert graph.set_each(teach_region=[10, 20, 65, 20, 10, 40]) == ['']
    assert 'a corner at 65, 20, outside the picture of 64 x 48 pixels' in refusal()
    assert "'dock'" not in refusal('forget')
    for name, value, reason in (
            ('teach_region', [1, 2, 3], 'four numbers'), ('teach_region', [1, 2, 0, 3], 'above 0'),
            ('teach_region', [1, 2], 'has 2 numbers, [1.0, 2.0]: it must be four'),
            ('teach_region', [1, 2, 3, 4, 5, 6, 7], 'has 7 numbers'),
            ('teach_region', [1.0, 2.0] * 1001, 'has 1001 corners, more than 1000: leave out'),
            ('teach_region', [1.0, 2.0, 3.0, 4.0, 5.0, float('nan')], 'corner of a polygon'),
            ('teach_name', 'a|b', 'holds |'), ('teach_camera', 'rear', 'one without a name'),
            ('examples', 'other', 'read-only')):
        assert reason in graph.set_each(**{name: value})[0]
    full = [f'word {number}' for number in range(255)]
    assert graph.set_each(vocabulary=full, teach_region='') == ['', '']
    wait_for(lambda: len(graph.legends[-1]['classes']) == 255)
    assert '256 classes are more than the 255' in refusal()
    assert graph.set_each(vocabulary=['sky', 'road|unencodable']) == ['']
    graph.flow()
    assert graph.node._pipeline.newest.examples is graph.node._pipeline.examples
    assert not graph.node._pipeline.examples
    graph.change_state(DEACTIVATE)
    graph.change_state(CLEANUP)
    for name in 'teach', 'tune', 'forget':
        assert 'the node is not configured' in refusal(name)


def test_an_image_that_is_too_old_is_refused_unless_it_is_frozen(graph, tmp_path, monkeypatch):
    graph.start(tmp_path, teach_name='dock').flow()
    assert call(graph, 'freeze', SetBool, data=True)[0] is True
    monkeypatch.setattr('csa_ros.ros.teaching.MAX_AGE', -1.0)
    assert call(graph, 'teach')[0] is True
    assert call(graph, 'freeze', SetBool, data=False)[0] is True
    success, message = call(graph, 'teach')
    assert not success and 's old, more than -1 s' in message


def test_words_that_fail_to_encode_teach_nothing(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.set_each(teach_name='unencodable') == ['']
    success, message = call(graph, 'teach')
    assert not success and 'out of memory' in message
    assert not graph.node._pipeline.examples
    graph.flow()
    assert names(graph.legends[-1]) == ['sky', 'road']


def test_frames_go_on_while_somebody_is_taught(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.set_each(teach_name='dock') == ['']
    graph.segmenter.may_encode.clear()
    future = graph.call_later(Trigger, 'teach', Trigger.Request())
    graph.flow()
    wait_for(graph.segmenter.encoding.is_set)
    graph.flow()
    assert not future.done() and not taught(graph)
    # It is answered, too, when the model is freed before it is done.
    assert graph.change_state(DEACTIVATE)
    graph.segmenter.may_encode.set()
    wait_for(future.done)
    assert future.result().success
    assert graph.change_state(CLEANUP)


def test_who_waits_is_answered_when_the_model_is_freed(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.set_each(teach_name='dock') == ['']
    graph.segmenter.may_encode.clear()
    graph.segmenter.encoding.clear()
    future = graph.call_later(Trigger, 'teach', Trigger.Request())
    graph.stream(graph.segmenter.encoding.is_set)
    threading.Timer(0.5, graph.segmenter.may_encode.set).start()
    assert graph.change_state(DEACTIVATE) and graph.change_state(CLEANUP)
    wait_for(future.done)
    assert 'the model was freed meanwhile' in future.result().message
    # The next one is not kept waiting by it.
    assert graph.change_state(CONFIGURE) and graph.change_state(ACTIVATE)
    graph.flow()
    assert call(graph, 'teach')[0] is True


def test_of_several_cameras_one_is_named(graph, tmp_path):
    graph.start(tmp_path, listen=False, cameras=['front', 'left'], teach_name='dock')
    graph.listen('left/labels', graph.labels)

    def seen():
        graph.send_to('left/image', make_image())
        return graph.labels

    wait_for(seen)
    _, message = call(graph, 'teach')
    assert 'teach_camera is empty, and there are the cameras front, left' in message
    assert 'one of front, left' in graph.set_each(teach_camera='rear')[0]
    assert graph.set_each(teach_camera='front') == ['']
    assert 'no image of front has arrived' in call(graph, 'teach')[1]
    assert graph.set_each(teach_camera='left') == ['']
    success, message = call(graph, 'teach')
    assert success, message
    assert graph.node._pipeline.examples[0].look.camera == 'left'


def test_thumbnails_are_of_the_newest_and_bounded():
    def example(name, size):
        return Example(name, Look(*[torch.zeros(1)] * 4, '', stamp=size, thumbnail=bytes(size)))

    def told(*examples):
        return Counter((item['name'], each['stamp']['nanosec'])
                       for item in outputs._thumbnails(Examples(examples))
                       for each in item['thumbnails'])

    dock, bin_ = ([(name, size) for size in range(1, 21)] for name in ('dock', 'bin'))
    newest = [each[-outputs.MOST_THUMBNAILS:] for each in (dock, bin_)]
    assert told(*(example(*each) for each in dock + bin_)) == Counter(sum(newest, []))
    # All of one class are newer than those of the other: each has as many as there is room for.
    large = outputs.THUMBNAIL_BYTES // 4
    assert told(*(example('dock', large - i) for i in range(4)),
                *(example('bin', large - i) for i in range(4))) == Counter(
                    [(name, large - i) for name in ('dock', 'bin') for i in (2, 3)])
    # What a tool has made may have none.
    assert not told(example('dock', 0))
    assert outputs._thumbnails(Examples((example('dock', 0),))) == [
        {'name': 'dock', 'thumbnails': []}]
