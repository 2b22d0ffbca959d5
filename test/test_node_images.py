"""Images in, labels out: every image has its mask, and no image stops the node."""

import array

from csa_ros import draw
from csa_ros.vocabulary import Vocabulary
from diagnostic_msgs.msg import DiagnosticStatus
from graph import ACTIVATE
from graph import DEACTIVATE
from graph import make_image
from graph import stamp_of
from graph import wait_for
from graph import WORDS
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def totals(graph):
    return graph.report().totals


def test_mask_has_size_stamp_and_frame_of_its_image(graph, tmp_path):
    graph.start(tmp_path).flow()
    mask = graph.mask_of(make_image(80, 60, stamp=(5000, 123)))
    assert (mask.encoding, mask.width, mask.height, mask.step) == ('mono8', 80, 60, 80)
    assert stamp_of(mask) == (5000, 123)
    assert mask.header.frame_id == 'camera_optical'
    assert (pixels(mask) == len(WORDS) - 1).all()


def test_overlay_and_confidence_come_with_their_listener(graph, tmp_path):
    overlays, confidences = [], []
    graph.start(tmp_path, overlay_alpha=1.0, overlay_legend=False).flow()
    graph.listen('overlay', overlays)
    graph.listen('confidence', confidences)
    graph.stream(lambda: overlays and confidences)
    assert overlays[-1].encoding == 'rgb8'
    assert (pixels(overlays[-1]) == Vocabulary.parse(WORDS).colors[-1]).all()
    assert confidences[-1].encoding == 'mono8'
    assert stamp_of(overlays[0]) in [stamp_of(mask) for mask in graph.labels]


@pytest.mark.parametrize('topic, durability', [
    ('/segment/labels', DurabilityPolicy.VOLATILE),
    ('/segment/overlay', DurabilityPolicy.VOLATILE),
    ('/segment/confidence', DurabilityPolicy.VOLATILE),
    ('/segment/legend', DurabilityPolicy.TRANSIENT_LOCAL),
])
def test_outputs_are_reliable(graph, tmp_path, topic, durability):
    graph.start(tmp_path)
    info, = wait_for(lambda: graph.client.get_publishers_info_by_topic(topic))
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert info.qos_profile.durability == durability


def test_input_follows_its_publishers_and_says_what_gets_lost(graph, tmp_path):
    def asks(reliability):
        return {info.qos_profile.reliability for info in
                graph.client.get_subscriptions_info_by_topic('/image')} == {reliability}

    graph.start(tmp_path).flow()
    wait_for(lambda: asks(ReliabilityPolicy.RELIABLE))
    graph.client.create_publisher(Image, 'image', QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    wait_for(lambda: asks(ReliabilityPolicy.BEST_EFFORT))
    graph.flow()
    # Their number is the middleware's to tell: test_subscription.py.
    graph.node._statistics[''].lost(1000)
    last = wait_for(lambda: [status for status in graph.statuses if 'lost' in status.message])[-1]
    assert last.level == last.WARN
    assert 'large_images:=true' in last.message
    assert {item.key: item.value for item in last.values}['images lost on their way'] == '1000'


def test_input_qos_can_be_overridden(graph, tmp_path):
    graph.start(tmp_path, **{'qos_overrides./image.subscription.reliability': 'reliable'})
    info, = wait_for(lambda: graph.client.get_subscriptions_info_by_topic('/image'))
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def short_step(image):
    image.step -= 1


def short_data(image):
    image.data = array.array('B', bytes(10))


def unknown_encoding(image):
    image.encoding = 'rgb9'


def depth_encoding(image):
    image.encoding = '32FC1'


def zero_size(image):
    image.width = image.height = image.step = 0
    image.data = array.array('B')


@pytest.mark.parametrize('spoil, reason', [
    (short_step, 'step'),
    (short_data, 'arrived'),
    (unknown_encoding, 'rgb9'),
    (depth_encoding, 'depth'),
    (zero_size, 'too small'),
])
def test_bad_image_is_dropped_counted_and_explained(graph, tmp_path, spoil, reason):
    graph.start(tmp_path).flow()
    bad = make_image(stamp=(9000, 0))
    spoil(bad)

    def counted():
        graph.send(bad)
        return totals(graph)['bad']

    wait_for(counted)
    good = graph.mask_of(make_image(stamp=(9001, 0)))
    assert pixels(good).shape == (48, 64, 1)
    assert (9000, 0) not in [stamp_of(mask) for mask in graph.labels]
    last = wait_for(lambda: [status for status in graph.statuses if reason in status.message])[-1]
    assert last.level == last.WARN


def test_bits_that_do_not_fit_the_camera_are_warned_of_and_auto_mends_it(graph, tmp_path, capfd):
    def image_of_12_bits(stamp):
        image = make_image(stamp=stamp, encoding='mono16', channels=2)
        image.data = array.array('B', np.linspace(0, 4095, 64 * 48).astype('<u2').tobytes())
        return image

    def has_status(level, text):
        return any(status.level == level and text in status.message + str(status.values)
                   for status in graph.statuses[-1:])

    graph.start(tmp_path, sensor_bits=16)
    graph.stream(lambda: has_status(DiagnosticStatus.WARN, 'set sensor_bits to auto or 12'),
                 image_of_12_bits)
    graph.stream(lambda: has_status(DiagnosticStatus.WARN, 'the 16-bit samples are 0 to 4095'),
                 image_of_12_bits)
    assert graph.set_each(sensor_bits='nine') != ['']
    assert graph.set_each(sensor_bits='auto') == ['']
    graph.stream(lambda: has_status(DiagnosticStatus.OK, '0 to 4095, shown as 12 bits'),
                 image_of_12_bits)
    assert capfd.readouterr().err.count('set sensor_bits to auto or 12') == 1


def test_frame_that_fails_is_counted_and_the_next_goes_on(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.segmenter.error = RuntimeError('CUDA out of memory')
    graph.stream(lambda: totals(graph)['failed'])
    graph.segmenter.error = None
    graph.mask_of(make_image(stamp=(9000, 0)))
    assert 'CUDA out of memory' in graph.report().last_error


def test_resolution_may_change(graph, tmp_path):
    graph.start(tmp_path).flow()
    for number, (width, height) in enumerate([(64, 48), (48, 64), (33, 31), (1, 1), (200, 40)]):
        mask = graph.mask_of(make_image(width, height, stamp=(2000 + number, 0)))
        assert (mask.width, mask.height) == (width, height)


def test_stamps_may_go_back(graph, tmp_path):
    graph.start(tmp_path).flow()
    for stamp in [(5000, 0), (10, 0), (0, 0), (7, 5)]:
        assert stamp_of(graph.mask_of(make_image(stamp=stamp))) == stamp


def test_newest_image_is_next_when_the_model_is_slow(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.segmenter.may_segment.clear()
    dropped = totals(graph)['dropped']
    graph.stream(lambda: totals(graph)['dropped'] >= dropped + 5)
    graph.settle()
    newest = graph._sent
    before = len(graph.labels)
    graph.segmenter.may_segment.set()
    wait_for(lambda: len(graph.labels) >= before + 2)
    graph.settle()
    assert len(graph.labels) == before + 2  # the one in progress, and the newest
    assert stamp_of(graph.labels[-1]) == (1000 + newest // 100, newest % 100 * 10**7)


def test_lazy_node_rests_until_somebody_listens(graph, tmp_path):
    graph.start(tmp_path, listen=False)
    warm_up = graph.segmenter.frames
    graph.listen_to_legend(graph.legends)
    wait_for(lambda: graph.legends)
    graph.stream(lambda: totals(graph)['idle'] > 5)
    assert graph.segmenter.frames == warm_up
    graph.listen('labels', graph.labels)
    graph.stream(lambda: graph.labels)


def test_overlay_is_composed_only_while_somebody_listens(graph, tmp_path, monkeypatch):
    composed = []
    blend = draw.overlay
    monkeypatch.setattr(draw, 'overlay', lambda *args: composed.append(1) or blend(*args))
    graph.start(tmp_path).flow()
    assert not composed
    overlays = []
    graph.listen('overlay', overlays)
    graph.stream(lambda: overlays)
    assert composed


def test_unchanged_images_are_not_encoded_again_while_reuse_is_on(graph, tmp_path):
    graph.start(tmp_path, reuse_threshold=1.0, reuse_frames=1000)
    memory = graph.node._pipeline.cameras[0].memory
    graph.stream(lambda: len(graph.labels) > 2)
    graph.settle()
    assert memory.windows_encoded < memory.windows_seen
    assert graph.set_each(reuse_threshold=0.0) == ['']
    wait_for(lambda: not graph.node._pipeline._snapshot.settings.reuse_threshold)
    seen = memory.windows_seen
    graph.flow()
    assert memory.windows_seen == seen


def test_refining_is_switched_while_the_node_runs(graph, tmp_path):
    graph.start(tmp_path).flow()
    refused, = graph.set_each(refine='crf')
    assert "'crf'" in refused and 'pamr' in refused
    for value, settings in ('pamr', 'pamr'), (False, 'off'):
        assert graph.set_each(refine=value) == ['']
        wait_for(lambda: graph.node._pipeline._snapshot.settings.refine == settings)
        graph.flow()


def test_pause_forgets_what_was_seen(graph, tmp_path):
    graph.start(tmp_path, reuse_threshold=255.0, reuse_frames=1000).flow()
    memory = graph.node._pipeline.cameras[0].memory
    for transition in DEACTIVATE, ACTIVATE:
        assert graph.change_state(transition)
    encoded = memory.windows_encoded
    graph.flow()
    assert memory.windows_encoded > encoded


def test_busy_node_works_without_listeners(graph, tmp_path):
    graph.start(tmp_path, listen=False, lazy=False)
    graph.stream(lambda: totals(graph)['published'])


def test_max_rate_leaves_time_between_frames(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.settle()
    bad = make_image(stamp=(8000, 0))
    short_step(bad)
    bad_images = totals(graph)['bad']
    graph.send(bad)
    wait_for(lambda: totals(graph)['bad'] > bad_images)
    assert graph.set_each(max_rate=0.001) == ['']
    wait_for(lambda: graph.node._config.max_rate)
    # An image that cannot be read does not use up the time of the next.
    graph.mask_of(make_image(stamp=(9000, 0)))
    frames = graph.segmenter.frames
    dropped = totals(graph)['dropped']
    graph.stream(lambda: totals(graph)['dropped'] > dropped + 5)
    assert graph.segmenter.frames <= frames + 1
    assert graph.set_each(max_rate=0) == ['']
    graph.flow()


def test_silence_is_explained(graph, tmp_path):
    graph.start(tmp_path, **{'qos_overrides./image.subscription.reliability': 'reliable'})
    client, listener = graph.client, graph.node._pipeline.cameras[0].image_input
    graph.hang_up()
    wait_for(lambda: 'remap' in listener.explain_silence())
    wrong_type = client.create_publisher(String, 'image', 1)
    wait_for(lambda: 'std_msgs/msg/String' in listener.explain_silence())
    client.destroy_publisher(wrong_type)
    client.create_publisher(Image, 'image', QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    wait_for(lambda: 'qos_overrides' in listener.explain_silence())
    client.create_publisher(Image, 'image', 1)
    wait_for(lambda: 'ros2 topic hz /image' in listener.explain_silence())
