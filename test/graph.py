"""A camera and a listener around a segment node, over DDS."""

import array
from contextlib import ExitStack
from dataclasses import replace
import gc
import itertools
import json
import os
import threading
import time

from csa_ros.ros.node import SegmentNode
from csa_ros.segmenter import Segmenter
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from lifecycle_msgs.srv import GetAvailableTransitions
from lifecycle_msgs.srv import GetState
import numpy as np
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters
from rcl_interfaces.srv import SetParameters
from rcl_interfaces.srv import SetParametersAtomically
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from towers import make_backbone

TIMEOUT = 40.0
CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP
WORDS = ['sky', 'road']
# Of the ROS domains; the next ten are those that single tests name.
DOMAINS = 90
# pytest-xdist's, which run at the same time.
_WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
_WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
# Each graph has a domain of its own: what ended is not gone from the network at once. Another run
# of the tests beside this one begins elsewhere.
_NUMBERS = itertools.count(os.getpid())


def wait_for(condition, what='what was waited for', timeout=TIMEOUT):
    """Return the first true result of a function, or fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.005)
    raise AssertionError(f'{what} did not happen within {timeout:.0f} s')


def wait_for_service(client):
    """Wait for the server of a client; its own way looks four times a second."""
    wait_for(client.service_is_ready, f'the service {client.srv_name}')


class ProbeSegmenter(Segmenter):
    """
    A real segmenter with a tiny random tower, whose masks tell the size of the vocabulary.

    Every pixel has the last class, so that a mask under the wrong legend stands out. Tests hold
    up words and frames with events, and let them fail.
    """

    def __init__(self, folder, attention, residual, settings):
        super().__init__(make_backbone(), attention, settings, folder, residual)
        self.may_encode = threading.Event()
        self.may_segment = threading.Event()
        self.may_encode.set()
        self.may_segment.set()
        self.encoding = threading.Event()
        self.encoded = []
        self.batches = []
        self.error = None

    @property
    def frames(self):
        """Return the number of frames that were segmented."""
        return sum(self.batches)

    def encode(self, vocabulary, prompts, examples):
        self.encoding.set()
        assert self.may_encode.wait(TIMEOUT)
        self.encoded.append(vocabulary.names)
        if 'unencodable' in vocabulary.names:
            raise RuntimeError('out of memory')
        return super().encode(vocabulary, prompts, examples)

    def _finish(self, images, pixels, features, words, *arguments):
        assert self.may_segment.wait(TIMEOUT)
        self.batches.append(len(images))
        if self.error:
            raise self.error
        results = super()._finish(images, pixels, features, words, *arguments)
        return [replace(result, labels=np.full_like(result.labels, len(words.vocabulary) - 1))
                for result in results]


def make_image(width=64, height=48, stamp=(1, 0), encoding='rgb8', channels=3):
    message = Image(width=width, height=height, encoding=encoding, step=channels * width)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = 'camera_optical'
    message.data = array.array('B', bytes(channels * width * height))
    return message


def stamp_of(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


class Graph:
    """The node in one context, and a client that knows it by topics and services alone."""

    def __init__(self):
        self.domain = 1 + (_WORKER + _WORKERS * next(_NUMBERS)) % (DOMAINS // _WORKERS * _WORKERS)
        self.node = None
        self.segmenter = None
        self.labels = []
        self.legends = []
        self.statuses = []
        self._stack = ExitStack()
        self._sent = 0
        self._publishers = {}

    def __enter__(self):
        self.client = rclpy.create_node('client', context=self._new_context())
        self._spin(self.client)
        self._camera = self.client.create_publisher(Image, 'image', QoSProfile(depth=10))
        self.client.create_subscription(
            DiagnosticArray, '/diagnostics', lambda message: self.statuses.extend(message.status),
            10)
        return self

    def __exit__(self, *_):
        if self.segmenter:
            self.segmenter.may_encode.set()
            self.segmenter.may_segment.set()
        self._stack.close()
        self.node = self.segmenter = None
        gc.collect()

    def start(self, folder, autostart=True, listen=True, load=None, remappings=(), **parameters):
        """Run the node; `listen` subscribes to its labels and legend."""
        parameters = {'vocabulary': WORDS, 'prompts': 'simple', 'autostart': autostart,
                      **parameters}

        def load_probe(model, device, precision, attention, residual, settings, measure):
            self.segmenter = ProbeSegmenter(folder, attention, residual, settings)
            return self.segmenter

        if listen:
            self.listen('labels', self.labels)
            self.listen_to_legend(self.legends)
        self.node = SegmentNode(
            load or load_probe, context=self._new_context(),
            cli_args=['--ros-args', *(item for rule in remappings for item in ('-r', rule))],
            parameter_overrides=[Parameter(name, value=value)
                                 for name, value in parameters.items()])
        self._spin(self.node)
        if autostart:
            assert self.change_state(CONFIGURE)
            assert self.change_state(ACTIVATE)
        return self

    def listen(self, topic, messages, message_type=Image):
        """Collect the messages of an output; return the subscription."""
        return self.client.create_subscription(
            message_type, f'/segment/{topic}', messages.append, QoSProfile(depth=50))

    def listen_to_legend(self, legends):
        qos = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                         reliability=ReliabilityPolicy.RELIABLE)
        self.client.create_subscription(
            String, '/segment/legend', lambda message: legends.append(json.loads(message.data)),
            qos)

    def send(self, image):
        self._camera.publish(image)

    def send_to(self, topic, message):
        """Publish a message on any topic."""
        if topic not in self._publishers:
            self._publishers[topic] = self.client.create_publisher(
                type(message), topic, QoSProfile(depth=10))
        self._publishers[topic].publish(message)

    def hang_up(self):
        """Take the camera off the graph."""
        self.client.destroy_publisher(self._camera)

    def stream(self, condition, make=make_image, what='a frame'):
        """Send images with rising stamps until a condition holds, and return its result."""
        def step():
            self._sent += 1
            self.send(make(stamp=(1000 + self._sent // 100, self._sent % 100 * 10**7)))
            time.sleep(0.01)
            return condition()

        return wait_for(step, what)

    def flow(self):
        """Stream until masks and a legend have arrived, so that everything has been discovered."""
        seen = len(self.labels)
        self.stream(lambda: len(self.labels) > seen and self.legends)
        self.settle()

    def report(self, camera=''):
        """Return what the node has counted for a camera."""
        return self.node._statistics[camera].report()

    def settle(self):
        """Wait until what was sent before is worked off."""
        def count():
            return len(self.labels), [
                self.report(camera).totals for camera in self.node._statistics]

        before = None
        while before != (before := count()):
            time.sleep(0.1)

    def mask_of(self, image):
        """Send one image, again if it gets lost, and return the mask with its stamp."""
        def arrived():
            self.send(image)
            time.sleep(0.02)
            return [mask for mask in self.labels if stamp_of(mask) == stamp_of(image)]

        return wait_for(arrived)[-1]

    def set_each(self, **values):
        """Set parameters one by one, as the command line does; return the reasons of refusals."""
        messages = [Parameter(name, value=value).to_parameter_msg()
                    for name, value in values.items()]
        return [result.reason for result in self.set_messages(messages)]

    def set_atomically(self, **values):
        messages = [Parameter(name, value=value).to_parameter_msg()
                    for name, value in values.items()]
        response = self._call(SetParametersAtomically, 'set_parameters_atomically',
                              SetParametersAtomically.Request(parameters=messages))
        return response.result.reason

    def set_value(self, name, **value):
        """Set a parameter to any ParameterValue; return (successful, reason)."""
        message = ParameterMessage(name=name, value=ParameterValue(**value))
        result, = self.set_messages([message])
        return result.successful, result.reason

    def set_messages(self, messages):
        request = SetParameters.Request(parameters=messages)
        return self._call(SetParameters, 'set_parameters', request).results

    def get(self, name):
        response = self._call(
            GetParameters, 'get_parameters', GetParameters.Request(names=[name]))
        return Parameter.from_parameter_msg(
            ParameterMessage(name=name, value=response.values[0])).value

    def change_state(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self._call(ChangeState, 'change_state', request).success

    def state(self):
        return self._call(GetState, 'get_state', GetState.Request()).current_state.label

    def transitions(self):
        """Return the labels of the transitions that there are from the state."""
        answer = self._call(GetAvailableTransitions, 'get_available_transitions',
                            GetAvailableTransitions.Request())
        return {item.transition.label for item in answer.available_transitions}

    def call_later(self, kind, name, request):
        """Call a service of the node; return the future of its answer."""
        client = self.client.create_client(kind, f'/segment/{name}')
        self._stack.callback(self.client.destroy_client, client)
        wait_for_service(client)
        time.sleep(0.2)  # it has to know its client
        return client.call_async(request)

    def _call(self, kind, name, request):
        client = self.client.create_client(kind, f'/segment/{name}')
        try:
            wait_for_service(client)
            # Fast DDS gives up answering a client that it has not discovered after a moment, which
            # is too short for a busy machine.
            # By the name that DDS has for answers: Humble's rclpy does not count clients.
            answers = f'rr{client.srv_name}Reply'
            wait_for(lambda: not self.node or self.node.get_subscriptions_info_by_topic(
                answers, no_mangle=True), 'a server that knows its client')
            future = client.call_async(request)
            wait_for(future.done, f'an answer of {name}')
            return future.result()
        finally:
            self.client.destroy_client(client)

    def _new_context(self):
        context = Context()
        rclpy.init(context=context, domain_id=self.domain)
        self._stack.callback(rclpy.try_shutdown, context=context)
        return context

    def _spin(self, node):
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        stop = threading.Event()

        def spin():
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)

        thread = threading.Thread(target=spin)
        thread.start()

        def end():
            # Something to do, for which it stops waiting.
            executor.create_task(stop.set)
            thread.join()
            executor.shutdown()
            node.destroy_node()

        self._stack.callback(end)
