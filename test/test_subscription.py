"""The node subscribes as the publishers of a topic offer, and follows them as they come and go."""

import itertools
import subprocess
import sys
import time

from csa_ros.ros.subscription import AdaptiveSubscription
from csa_ros.ros.transport import remedy_for_losses
from graph import Graph
from graph import TIMEOUT
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from std_msgs.msg import String

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
_TOPICS = itertools.count()


class Ends:
    """A node that listens, one that publishes, and a topic that nobody has used before."""

    def __init__(self, listener, speaker, other):
        self.listener = listener
        self.speaker = speaker
        # Another context, as one cannot have a topic of two types.
        self.other = other
        self.topic = f'topic_{next(_TOPICS)}'
        self.received = []
        self.lost = []
        self._executor = SingleThreadedExecutor(context=listener.context)
        self._executor.add_node(listener)
        self._subscriptions = []
        self._publishers = []

    def subscribe(self, depth=1, node=None):
        subscription = AdaptiveSubscription(
            node or self.listener, CameraInfo, 'sensor_msgs/msg/CameraInfo', self.topic,
            lambda info: self.received.append(info.width), self.lost.append, depth)
        self._subscriptions.append(subscription)
        return subscription

    def advertise(self, reliability, durability=VOLATILE, depth=5):
        """Return a publisher that the listener has discovered."""
        count = self.known()
        publisher = self.speaker.create_publisher(CameraInfo, self.topic, QoSProfile(
            depth=depth, reliability=reliability, durability=durability))
        self._publishers.append(publisher)
        self.spin(lambda: self.known() > count)
        return publisher

    def withdraw(self, publisher):
        """Take a publisher off the graph, and let the listener see it."""
        count = self.known()
        self._publishers.remove(publisher)
        self.speaker.destroy_publisher(publisher)
        self.spin(lambda: self.known() < count)

    def known(self):
        return len(self.listener.get_publishers_info_by_topic(self.topic))

    def spin(self, condition):
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, (self.received, self.lost)
            self._executor.spin_once(timeout_sec=0.01)

    def rest(self, seconds=0.2):
        """Let come what may still be on its way."""
        end = time.monotonic() + seconds
        self.spin(lambda: time.monotonic() > end)

    def hear(self, publisher, number):
        """Publish a number until it arrives, as a publisher does not wait for a connection."""
        def heard():
            publisher.publish(CameraInfo(width=number))
            return number in self.received
        self.spin(heard)

    def add(self, node):
        self._executor.add_node(node)

    def close(self):
        while self._subscriptions:
            self._subscriptions.pop().destroy()
        while self._publishers:
            self.speaker.destroy_publisher(self._publishers.pop())
        self._executor.shutdown()


@pytest.fixture(scope='module')
def nodes():
    with Graph() as graph:
        yield (rclpy.create_node('listener', context=graph._new_context()),
               rclpy.create_node('speaker', context=graph._new_context()), graph._new_context())


@pytest.fixture
def ends(nodes):
    ends = Ends(*nodes)
    yield ends
    ends.close()


def policies(subscription):
    used = subscription._subscription.qos_profile
    return used.reliability, used.durability


@pytest.mark.parametrize('offers, expected', [
    ([], (BEST_EFFORT, VOLATILE)),
    ([(RELIABLE, VOLATILE)], (RELIABLE, VOLATILE)),
    ([(BEST_EFFORT, VOLATILE)], (BEST_EFFORT, VOLATILE)),
    ([(RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE)], (BEST_EFFORT, VOLATILE)),
    ([(RELIABLE, LATCHED)], (RELIABLE, LATCHED)),
    ([(BEST_EFFORT, LATCHED)], (BEST_EFFORT, LATCHED)),
    ([(RELIABLE, LATCHED), (RELIABLE, VOLATILE)], (RELIABLE, VOLATILE)),
    ([(RELIABLE, LATCHED), (BEST_EFFORT, VOLATILE)], (BEST_EFFORT, VOLATILE)),
])
def test_it_asks_for_the_most_that_all_publishers_offer(ends, offers, expected):
    publishers = [ends.advertise(*offer) for offer in offers]
    subscription = ends.subscribe()
    assert policies(subscription) == expected
    for number, publisher in enumerate(publishers):
        ends.hear(publisher, number)


def test_it_follows_publishers_as_they_come_and_go(ends):
    subscription = ends.subscribe()
    steady = ends.advertise(RELIABLE)
    subscription.follow()
    assert policies(subscription) == (RELIABLE, VOLATILE)
    other = ends.advertise(BEST_EFFORT)
    # Without waiting for the next second: what does not connect is told at once.
    ends.spin(lambda: policies(subscription) == (BEST_EFFORT, VOLATILE))
    ends.hear(other, 1)
    ends.hear(steady, 2)
    ends.withdraw(other)
    subscription.follow()
    assert policies(subscription) == (RELIABLE, VOLATILE)
    ends.hear(steady, 3)
    ends.withdraw(steady)
    subscription.follow()
    # A camera that starts over is no reason to subscribe anew.
    assert policies(subscription) == (RELIABLE, VOLATILE)


def test_publishers_of_another_type_do_not_count(ends):
    subscription = ends.subscribe()
    ends.advertise(RELIABLE)
    other = rclpy.create_node('other', context=ends.other)
    other.create_publisher(String, ends.topic, QoSProfile(depth=1, reliability=BEST_EFFORT))
    ends.spin(lambda: ends.known() == 2)
    subscription.follow()
    other.destroy_node()
    assert policies(subscription) == (RELIABLE, VOLATILE)


@pytest.mark.parametrize('depth', [1, 5])
def test_no_message_is_lost_or_heard_twice_while_it_changes(ends, depth):
    subscription = ends.subscribe(depth)
    steady = ends.advertise(RELIABLE, depth=10)
    ends.hear(steady, 0)
    ends.rest()
    ends.received.clear()
    numbers = iter(range(1, 1000))

    def send(count):
        for number in itertools.islice(numbers, count):
            steady.publish(CameraInfo(width=number))
            ends.spin(lambda number=number: number in ends.received)

    changes = []
    for _ in range(3):
        subscription.follow()
        changes.append(policies(subscription)[0])
        send(10)
        other = ends.advertise(BEST_EFFORT)
        send(10)
        ends.withdraw(other)
        send(10)
    ends.rest()
    assert changes == [RELIABLE] * 3
    assert ends.received == list(range(1, 91))


@pytest.mark.parametrize('kept', [1, 5])
def test_what_is_latched_arrives_once(ends, kept):
    late = ends.advertise(RELIABLE, LATCHED, depth=kept)
    for number in range(1, kept + 1):
        late.publish(CameraInfo(width=number))
    subscription = ends.subscribe(depth=kept)
    ends.spin(lambda: len(ends.received) == kept)
    for _ in range(2):
        # It becomes volatile, and transient local again: that sends everything once more.
        other = ends.advertise(RELIABLE, VOLATILE)
        subscription.follow()
        assert policies(subscription) == (RELIABLE, VOLATILE)
        ends.withdraw(other)
        subscription.follow()
        assert policies(subscription) == (RELIABLE, LATCHED)
        ends.rest()
    assert ends.received == list(range(1, kept + 1))


def test_what_was_latched_by_a_publisher_that_came_later_arrives(ends):
    subscription = ends.subscribe()
    late = ends.advertise(RELIABLE, LATCHED)
    subscription.follow()
    late.publish(CameraInfo(width=7))
    ends.spin(lambda: ends.received)
    ends.rest()
    assert ends.received == [7]


@pytest.mark.parametrize('overrides, offer, expected, heard', [
    ({'reliability': 'best_effort'}, (RELIABLE, LATCHED), (BEST_EFFORT, LATCHED), True),
    ({'reliability': 'reliable'}, (BEST_EFFORT, VOLATILE), (RELIABLE, VOLATILE), False),
    ({'durability': 'volatile'}, (RELIABLE, LATCHED), (RELIABLE, VOLATILE), True),
    ({'durability': 'transient_local'}, (RELIABLE, VOLATILE), (RELIABLE, LATCHED), False),
    ({'reliability': 'reliable', 'durability': 'volatile'}, (BEST_EFFORT, LATCHED),
     (RELIABLE, VOLATILE), False),
    ({'reliability': 'system_default', 'depth': 3}, (RELIABLE, VOLATILE), (RELIABLE, VOLATILE),
     True),
])
def test_overrides_hold_whoever_comes(ends, capfd, overrides, offer, expected, heard):
    node = rclpy.create_node('overridden', context=ends.listener.context, parameter_overrides=[
        Parameter(f'qos_overrides./{ends.topic}.subscription.{policy}', value=value)
        for policy, value in overrides.items()])
    ends.add(node)
    subscription = ends.subscribe(node=node)
    publisher = ends.advertise(*offer)
    try:
        for _ in range(2):
            ends.rest(0.05)
            subscription.follow()
            assert policies(subscription) == expected
        assert subscription._subscription.qos_profile.depth == overrides.get('depth', 1)
        assert subscription.fits(QoSProfile(
            depth=1, reliability=offer[0], durability=offer[1])) == heard
        if heard:
            ends.hear(publisher, 1)
        said = capfd.readouterr().err
        assert (f'ros2 topic info -v /{ends.topic}' in said) != heard
    finally:
        ends.close()
        node.destroy_node()


# In another process: within one, Fast DDS loses nothing.
CAMERA = """if True:
    import array, sys, time, rclpy
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image
    rclpy.init(domain_id=int(sys.argv[1]))
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, sys.argv[2], QoSProfile(depth=1))
    image = Image(width=1920, height=1080, step=5760, encoding='rgb8')
    image.data = array.array('B', bytes(5760 * 1080))
    while True:
        publisher.publish(image)
        time.sleep(0.02)
"""


def test_losses_are_counted():
    lost = []
    with Graph() as graph:
        name = 'qos_overrides./large.subscription.reliability'
        node = rclpy.create_node('listener', context=graph._new_context(), parameter_overrides=[
            Parameter(name, value='best_effort')])
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        subscription = AdaptiveSubscription(
            node, Image, 'sensor_msgs/msg/Image', 'large', lambda image: None, lost.append)
        camera = subprocess.Popen([sys.executable, '-c', CAMERA, str(graph.domain), 'large'])
        try:
            deadline = time.monotonic() + TIMEOUT
            while sum(lost) < 3:
                assert time.monotonic() < deadline, lost
                executor.spin_once(timeout_sec=0.1)
        finally:
            camera.kill()
            camera.wait()
            subscription.destroy()
            node.destroy_node()
            executor.shutdown()
    assert min(lost) > 0


def test_a_middleware_without_events_will_do(ends, monkeypatch):
    create = ends.listener.create_subscription

    def create_without_events(*arguments, event_callbacks=None, **keywords):
        if event_callbacks:
            raise RuntimeError('this event is not supported')
        return create(*arguments, **keywords)

    monkeypatch.setattr(ends.listener, 'create_subscription', create_without_events)
    ends.subscribe()
    ends.hear(ends.advertise(BEST_EFFORT), 1)


@pytest.mark.parametrize('middleware, said', [
    ('rmw_fastrtps_cpp', 'large_images:=true'),
    ('rmw_fastrtps_dynamic_cpp', 'fastdds_large_images.xml'),
    ('rmw_fastrtps_dynamic_cpp', 'fastdds_network.xml'),
    ('rmw_cyclonedds_cpp', 'CYCLONEDDS_URI'),
    ('rmw_zenoh_cpp', 'ZENOH_CONFIG_OVERRIDE'),
    ('rmw_connextdds', 'smaller'),
])
def test_the_remedy_is_that_of_the_middleware(middleware, said):
    assert said in remedy_for_losses(middleware, True)
    assert ('reliable' in remedy_for_losses(middleware, False)) and (
        'reliable' not in remedy_for_losses(middleware, True))
    others = {'large_images:=true', 'CYCLONEDDS_URI', 'ZENOH_CONFIG_OVERRIDE'} - {said}
    if middleware != 'rmw_fastrtps_dynamic_cpp':
        assert not [text for text in others if text in remedy_for_losses(middleware, False)]
