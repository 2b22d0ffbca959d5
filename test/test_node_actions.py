"""Actions are recorded and named while the node runs: by their order, kept, and never half."""

from functools import partial
import json
import threading

from csa_ros.actions.file import ActionsFile
from csa_ros.actions.recogniser import Recogniser
from csa_ros.ros.actions import outputs
from csa_ros.ros.actions.node import ActionsNode
from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import Graph
from graph import make_image
from graph import wait_for
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger
from towers import make_backbone

FRAMES = Recogniser.frames
# Of a window of 0.8 s, in nanoseconds.
PART = 10**8
LATCHED = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                     reliability=ReliabilityPolicy.RELIABLE)


class ProbeRecogniser(Recogniser):
    """Counts what it looks at; tests hold up its words, and let it fail."""

    def __init__(self, folder, method='clip-fsar', seed=0):
        super().__init__(make_backbone(seed), method, cache_dir=folder)
        self.may_encode = threading.Event()
        self.may_encode.set()
        self.looked_at = 0
        self.error = None

    def observe(self, rgb):
        self.looked_at += 1
        if self.error:
            raise self.error
        return super().observe(rgb)

    def encode(self, names, prompts=''):
        assert self.may_encode.wait(40)
        if 'unencodable' in names:
            raise RuntimeError('out of memory')
        return super().encode(names, prompts)


class ActionsGraph(Graph):
    """The node that names actions, which is shown clips."""

    name = 'actions'

    def start(self, folder, **parameters):
        def load(model, device, precision, method, weights):
            self.recogniser = ProbeRecogniser(folder, method)
            return self.recogniser

        self.answers, self.known = [], []
        self.client.create_subscription(
            String, '/actions/examples',
            lambda message: self.known.append(json.loads(message.data)), LATCHED)
        self.run(partial(ActionsNode, load), True, (), {'window': 0.8, **parameters})
        self.sent = 10**12
        return self

    @property
    def pipeline(self):
        return self.node._pipeline

    def listen_to_actions(self):
        """Collect what is said; return the subscription."""
        subscription = self.client.create_subscription(
            String, '/actions/action/json',
            lambda message: self.answers.append(json.loads(message.data)), QoSProfile(depth=50))
        wait_for(lambda: self.pipeline._outputs.wanted(), 'a listener that is known')
        return subscription

    def stop_listening(self, subscription):
        self.client.destroy_subscription(subscription)
        wait_for(lambda: not self.pipeline._outputs.wanted(), 'a listener that is gone')

    def send_at(self, stamp, grey=0):
        """Send an image of one brightness until the node has it."""
        image = make_image(stamp=divmod(stamp, 10**9))
        image.data = image.data.__class__('B', bytes([grey]) * len(image.data))
        received = self.report().totals['received']

        def arrived():
            self.send(image)
            return self.report().totals['received'] > received

        wait_for(arrived, 'an image')
        self.flush()

    def flush(self):
        """Wait until the thread that looks at images has nothing to do."""
        self.idle(self.pipeline._frames)

    @staticmethod
    def idle(worker):
        """Wait until a worker has nothing to do."""
        for _ in range(2):
            # What it does when it is asked may come before what waits.
            done = threading.Event()
            worker.call(done.set)
            wait_for(done.is_set, 'a worker that is done')
            wait_for(lambda: not worker._items, 'a worker that is done')

    def show(self, greys, gap=PART):
        """Send a clip, after nothing for so long that a window begins with it."""
        self.sent += 10**9
        for grey in greys:
            self.send_at(self.sent, grey)
            self.sent += gap

    def said(self, greys):
        """Return what is said of a clip."""
        before = len(self.answers)
        self.show(greys)
        wait_for(lambda: len(self.answers) > before, 'an answer')
        return self.answers[-1]

    def call(self, name):
        """Call a service; return whether it succeeded and what it said."""
        answer = self._call(Trigger, name, Trigger.Request())
        return answer.success, answer.message

    def record(self, name, greys):
        """Record a clip, and return what is answered."""
        assert self.set_each(action_name=name) == ['']
        self.show(greys)
        return self.call('record')


BRIGHTER = list(range(20, 20 + 30 * FRAMES, 30))
DARKER = BRIGHTER[::-1]


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """Return a graph with a node, which runs for all tests here."""
    folder = tmp_path_factory.mktemp('actions')
    with ActionsGraph() as graph:
        graph.folder = folder
        graph.start(folder, examples=str(folder / 'recorded.safetensors'))
        yield graph


@pytest.fixture
def graph(running):
    """Return the graph with a node that knows nothing, whatever a test before has left."""
    running.recogniser.may_encode.set()
    running.recogniser.error = None
    running.set_each(action_name='')
    while running.pipeline.examples:
        assert running.call('forget')[0]
    assert running.set_each(actions='', window=0.8, max_rate=0.0, threshold=0.0) == [''] * 4
    # What a test before has set may still be on its way into force.
    running.idle(running.pipeline._words)
    assert not running.pipeline.newest.words.names
    running.flush()
    del running.answers[:]
    return running


def test_what_is_recorded_is_told_by_its_order(graph):
    before = graph.recogniser.looked_at
    assert graph.record('brighter', BRIGHTER) == (
        True, f'brighter: 1 example, of the last 0.8 s, in {graph.folder}/recorded.safetensors')
    success, message = graph.record('Darker', DARKER)
    assert success and 'Darker: 1 example' in message
    assert graph.get('actions') == ['brighter', 'Darker']
    # Nobody has listened so far: what was not recorded was not looked at.
    assert graph.recogniser.looked_at == before + 2 * FRAMES
    subscription = graph.listen_to_actions()
    darker = graph.said(DARKER)
    last = darker['stamp']
    assert last['sec'] * 10**9 + last['nanosec'] == graph.sent - PART
    brighter = graph.said(BRIGHTER)
    assert darker['probabilities']['Darker'] > brighter['probabilities']['Darker'] + 0.01
    for answer in darker, brighter:
        assert answer['action'] == list(answer['probabilities'])[0] == max(
            answer['probabilities'], key=answer['probabilities'].get)
        assert answer['frame_id'] == 'camera_optical'
        assert sum(answer['probabilities'].values()) == pytest.approx(1, abs=0.01)
    # The upper and lower case of a name make no other action.
    assert 'Darker: 2 examples' in graph.record('darker', DARKER)[1]
    assert graph.set_each(threshold=1.0) == ['']
    assert graph.said(DARKER)['action'] == 'none'
    known = wait_for(lambda: graph.known[-1]['actions'][-1]['count'] == 2 and graph.known[-1])
    assert [item['name'] for item in known['actions']] == ['brighter', 'Darker']
    assert known['actions'][0]['examples'][0]['camera'] == '/image'
    assert known['file'].endswith('recorded.safetensors')
    graph.stop_listening(subscription)


def test_words_alone_will_do_and_nothing_is_made_that_nobody_wants(graph):
    assert graph.set_each(actions=['waving', 'pointing']) == ['']
    wait_for(lambda: graph.pipeline.newest.words.names == ('waving', 'pointing'))
    before = graph.recogniser.looked_at
    graph.show(BRIGHTER)
    assert graph.recogniser.looked_at == before
    # Whoever begins to listen has an answer with the next image, of what came before as well.
    subscription = graph.listen_to_actions()
    graph.send_at(graph.sent, 255)
    answer = wait_for(lambda: graph.answers and graph.answers[-1])
    assert set(answer['probabilities']) == {'waving', 'pointing'}
    assert graph.recogniser.looked_at == before + FRAMES
    # Between two parts of the window nothing is looked at.
    graph.send_at(graph.sent + PART // 10, 255)
    assert graph.recogniser.looked_at == before + FRAMES
    graph.stop_listening(subscription)


def test_an_example_is_forgotten_and_its_word_stays(graph):
    assert graph.call('forget') == (False, 'there is no example to forget')
    for name in 'a', 'b', 'a':
        assert graph.record(name, BRIGHTER)[0]
    assert graph.set_each(action_name='c') == ['']
    assert "no example of 'c': known are a, b" in graph.call('forget')[1]
    assert graph.set_each(action_name='A') == ['']
    success, message = graph.call('forget')
    assert success and message.startswith('a: 2 examples forgotten, 0 left, in ')
    assert graph.get('actions') == ['a', 'b']
    assert ActionsFile(graph.folder / 'recorded.safetensors').load(
        graph.recogniser.fingerprint).names == ('b',)


def test_recording_needs_a_whole_window_of_now(graph, monkeypatch):
    assert 'action_name is empty: set it to the action that is shown' in graph.call('record')[1]
    assert graph.set_each(action_name='wave') == ['']
    graph.show(BRIGHTER[:3])
    success, message = graph.call('record')
    assert not success and 'the window of 0.8 s has images of 0.3 s only: let the' in message
    # From a slow camera some are taken twice, and from too slow a one there are too few.
    assert graph.record('wave', BRIGHTER[:5])[0] is False
    graph.show(BRIGHTER, gap=int(1.8 * PART))
    assert graph.call('record')[0]
    graph.show(BRIGHTER[:4], gap=int(3.9 * PART))
    assert 'has 3 different images, fewer than 4' in graph.call('record')[1]
    # A bag that starts over, and a camera that paused.
    for gap in -5 * 10**9, 10**9:
        graph.show(BRIGHTER)
        graph.sent += gap
        graph.send_at(graph.sent)
        assert 'has images of 0.1 s only' in graph.call('record')[1]
    graph.show(BRIGHTER)
    monkeypatch.setattr('csa_ros.ros.actions.pipeline.MAX_AGE', -1.0)
    assert 's old, more than -1 s: let the camera send some' in graph.call('record')[1]
    monkeypatch.undo()
    # An image that cannot be looked at is left out, and told.
    graph.recogniser.error = RuntimeError('out of memory')
    graph.show(BRIGHTER)
    success, message = graph.call('record')
    graph.recogniser.error = None
    assert not success and 'an image of the window could not be used, see the log' in message
    assert graph.pipeline.examples.counts == {'wave': 1}


def test_parameters_that_cannot_be_are_refused(graph):
    for name, value, reason in (
            ('actions', ['wave', 'Wave'], 'in upper and lower case'),
            ('actions', ['None'], 'give the action another name'),
            ('actions', ['a|b'], 'holds |'),
            ('actions', [f'a{number}' for number in range(101)], 'more than 100'),
            ('actions', ['very ' * 18 + 'slowly'], 'shorten the query'),
            ('action_name', 'a,b', 'holds'), ('prompts', ['no place'], 'prompts: '),
            ('window', 61.0, 'out of range'), ('threshold', 2.0, 'out of range'),
            ('method', 'mean', 'cannot change while the model is loaded'),
            ('method_weights', '/x', 'cannot change while the model is loaded'),
            ('precision', 'int8', 'use auto or fp32'), ('examples', 'other', 'read-only')):
        assert reason in graph.set_each(**{name: value})[0], name
    many = [f'a{number}' for number in range(100)]
    assert graph.set_each(actions=many, action_name='b') == ['', '']
    graph.show(BRIGHTER)
    assert 'actions has 101 names, more than 100' in graph.call('record')[1]
    assert not graph.pipeline.examples


def test_words_and_examples_come_into_force_together(graph):
    graph.recogniser.may_encode.clear()
    assert graph.set_each(actions=['a', 'b'], action_name='c') == ['', '']
    graph.show(BRIGHTER)
    before = graph.recogniser.looked_at
    answer = graph.call_later(Trigger, 'record', Trigger.Request())
    wait_for(lambda: graph.recogniser.looked_at == before + FRAMES)
    graph.show(DARKER)
    assert not answer.done() and not graph.pipeline.newest.examples
    assert graph.pipeline.newest.words.names == ()
    graph.recogniser.may_encode.set()
    wait_for(answer.done)
    assert answer.result().success
    assert graph.pipeline.newest.words.names == ('a', 'b', 'c')
    assert graph.pipeline.newest.examples.counts == {'c': 1}
    # What cannot be encoded leaves all as it was, and says so.
    assert graph.set_each(actions=['unencodable']) == ['']
    wait_for(lambda: graph.pipeline.fault)
    success, message = graph.call('record')
    assert not success and 'the new words are not in force: RuntimeError: out of mem' in message
    assert graph.pipeline.newest.words.names == ('a', 'b', 'c')
    assert graph.pipeline.examples.counts == {'c': 1}
    assert graph.set_each(actions=['a', 'b', 'c']) == ['']
    wait_for(lambda: not graph.pipeline.fault)


def test_there_is_an_answer_for_each_part_of_the_window_and_no_more(graph):
    subscription = graph.listen_to_actions()
    graph.show(BRIGHTER)
    assert not graph.answers
    doubts = graph.pipeline.cameras[0].doubts()
    assert 'there is nothing to recognise: set the parameter actions' in doubts['actions']
    assert graph.set_each(actions=['a']) == ['']
    wait_for(lambda: graph.pipeline.newest.words.names)
    assert graph.said(BRIGHTER)['probabilities'] == {'a': 1.0}
    graph.show([*BRIGHTER, *DARKER], gap=PART // 3)
    assert graph.set_each(window=1.6, actions=['a', 'b']) == ['', '']
    graph.flush()
    before = graph.report().totals['published']
    graph.show([*BRIGHTER, *DARKER])
    assert graph.report().totals['published'] - before == 1
    assert graph.set_each(max_rate=0.001) == ['']
    graph.flush()
    graph.show([*BRIGHTER, *DARKER])
    assert graph.report().totals['published'] - before == 1
    graph.stop_listening(subscription)
    status = wait_for(lambda: graph.statuses and graph.statuses[-1])
    assert status.name == 'actions: actions'
    values = {item.key: item.value for item in status.values}
    assert values['method'] == 'clip-fsar' and 'answers out (1/s)' in values
    assert 'window filled (%)' in values and 'point clouds' not in values


@pytest.mark.skipif(not outputs.Classification, reason='vision_msgs is not installed')
def test_classification_says_the_same(graph):
    said = []
    assert graph.set_each(actions=['a', 'b'], threshold=1.0) == ['', '']
    wait_for(lambda: graph.pipeline.newest.words.names)
    subscription = graph.listen('action', said, outputs.Classification)
    wait_for(lambda: graph.pipeline._outputs.wanted(), 'a listener that is known')
    graph.show(BRIGHTER)
    message = wait_for(lambda: said and said[-1])
    names = [result.class_id for result in message.results]
    scores = [result.score for result in message.results]
    assert names[0] == 'none' and sorted(names[1:]) == ['a', 'b'] and scores[1] >= scores[2]
    assert scores[0] == pytest.approx(1 - scores[1]) and sum(scores[1:]) == pytest.approx(1)
    graph.stop_listening(subscription)


def test_what_was_recorded_is_there_again_after_cleanup(graph):
    assert graph.record('wave', BRIGHTER)[0]
    file = graph.folder / 'recorded.safetensors'
    for transition in DEACTIVATE, CLEANUP:
        assert graph.change_state(transition)
    for service in 'record', 'forget':
        assert 'the node is not configured' in graph.call(service)[1]
    assert graph.set_each(actions='point', method='mean') == ['', '']
    for transition in CONFIGURE, ACTIVATE:
        assert graph.change_state(transition)
    assert graph.recogniser.method == 'mean' and graph.get('actions') == ['point', 'wave']
    assert graph.pipeline.examples.counts == {'wave': 1}
    assert 'no image has arrived yet' in graph.call('record')[1]
    # A file that cannot be used is left as it is, and the node goes on without.
    whole = file.read_bytes()
    for spoiled, reason in (
            (whole[:-9], 'is damaged'), (b'', 'is damaged, or no file of examples'),
            (whole.replace(b'tiny-0', b'tiny-1'), 'were seen by another model')):
        file.write_bytes(spoiled)
        for transition in DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE:
            assert graph.change_state(transition)
        assert reason in graph.pipeline.fault and not graph.pipeline.examples
        success, message = graph.record('wave', BRIGHTER)
        assert success and 'not in the file' in message and reason in message
        assert file.read_bytes() == spoiled
    file.unlink()
    for transition in DEACTIVATE, CLEANUP:
        assert graph.change_state(transition)
    assert graph.set_each(method='clip-fsar') == ['']
    for transition in CONFIGURE, ACTIVATE:
        assert graph.change_state(transition)
