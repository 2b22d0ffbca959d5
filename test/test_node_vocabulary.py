"""Words change while the node runs: atomically, checked, and never against the legend."""

from csa_ros.settings import Settings
from csa_ros.vocabulary import Vocabulary
from graph import make_image
from graph import stamp_of
from graph import wait_for
from graph import WORDS
import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy


def class_count(mask):
    """Return the number of classes that a probe mask was made with."""
    labels = np.unique(np.frombuffer(mask.data, np.uint8))
    assert len(labels) == 1
    return int(labels[0]) + 1


def stamp_of_legend(legend):
    return legend['stamp']['sec'], legend['stamp']['nanosec']


def legend_by_stamp(graph, mask):
    """Return the legend that a reader of a recording would choose."""
    return max((legend for legend in graph.legends if stamp_of_legend(legend) <= stamp_of(mask)),
               key=lambda legend: (stamp_of_legend(legend), legend['version']))


def names(legend):
    return [item['name'] for item in legend['classes']]


def has_masks_of(graph, count):
    return lambda: graph.labels and class_count(graph.labels[-1]) == count


def test_legend_is_out_before_any_image(graph, tmp_path):
    graph.start(tmp_path)
    legend = wait_for(lambda: graph.legends)[0]
    assert names(legend) == WORDS
    assert (legend['version'], legend['unknown_id'], legend['model']) == (1, 255, 'tiny')
    assert stamp_of_legend(legend) == (0, 0)


def test_late_joiner_gets_the_legend_in_force(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.set_each(vocabulary='car, bus, tree')
    graph.stream(has_masks_of(graph, 3))
    late = []
    graph.listen_to_legend(late)
    wait_for(lambda: late)
    assert [names(legend) for legend in late] == [['car', 'bus', 'tree']]


def test_label_info_says_the_same_where_vision_msgs_is_installed(graph, tmp_path):
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    graph.start(tmp_path, unknown_threshold=0.25).flow()
    infos = []
    graph.client.create_subscription(
        messages.LabelInfo, '/segment/label_info', infos.append, QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL))
    info = wait_for(lambda: infos)[-1]
    assert [(item.class_id, item.class_name) for item in info.class_map] == [
        (index, name) for index, name in enumerate(WORDS)]
    assert info.threshold == 0.25
    stamp = wait_for(lambda: graph.legends)[-1]['stamp']
    assert stamp_of(info) == (stamp['sec'], stamp['nanosec'])


def test_label_info_names_every_class_but_never_the_id_of_unknown_pixels(graph, tmp_path):
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    infos = []
    graph.client.create_subscription(
        messages.LabelInfo, '/segment/label_info', infos.append, QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    graph.start(tmp_path, listen=False, vocabulary=[f'word {i}' for i in range(255)])
    info = wait_for(lambda: infos)[-1]
    assert [item.class_id for item in info.class_map] == list(range(255))
    assert info.threshold == 0.0


def test_masks_and_legends_agree_while_words_change_under_load(graph, tmp_path):
    graph.start(tmp_path).flow()
    for size in (3, 1, 5, 2, 4):
        assert graph.set_each(vocabulary=[f'word {i}' for i in range(size)]) == ['']
        graph.stream(has_masks_of(graph, size), what=f'a mask of {size} classes')
    graph.settle()
    assert [legend['version'] for legend in graph.legends] == [1, 2, 3, 4, 5, 6]
    for mask in graph.labels:
        assert len(legend_by_stamp(graph, mask)['classes']) == class_count(mask)


def test_frames_go_on_with_the_old_words_until_the_new_ones_are_encoded(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.segmenter.may_encode.clear()
    assert graph.set_each(vocabulary='car, bus, tree') == ['']
    graph.flow()
    assert class_count(graph.labels[-1]) == len(WORDS)
    assert len(graph.legends) == 1
    graph.segmenter.may_encode.set()
    wait_for(lambda: len(graph.legends) == 2, 'a legend without another image')
    last_old = stamp_of(graph.labels[-1])
    graph.stream(has_masks_of(graph, 3))
    assert stamp_of_legend(graph.legends[1]) > last_old


def test_of_many_changes_only_the_newest_waiting_one_is_encoded(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.segmenter.encoding.clear()
    graph.segmenter.may_encode.clear()
    graph.set_each(vocabulary='first')
    wait_for(graph.segmenter.encoding.is_set)
    for i in range(5):
        graph.set_each(vocabulary=['last'] if i == 4 else [f'{i}a', f'{i}b', f'{i}c'])
    graph.segmenter.may_encode.set()
    wait_for(lambda: graph.segmenter.encoded[-1] == ('last',))
    assert graph.segmenter.encoded[1:] == [('first',), ('last',)]


def test_legend_covers_masks_whose_stamps_go_back(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.mask_of(make_image(stamp=(9000, 0)))
    graph.set_each(vocabulary='car, bus, tree')
    wait_for(lambda: graph.legends[-1]['version'] == 2)
    assert stamp_of_legend(graph.legends[-1]) == (9000, 1)
    mask = graph.mask_of(make_image(stamp=(10, 0)))
    legend = wait_for(
        lambda: [legend for legend in graph.legends if stamp_of_legend(legend) == (10, 0)])[0]
    assert class_count(mask) == len(legend['classes']) == 3


def test_same_words_again_are_no_new_version(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.set_each(vocabulary=' sky ,road', overlay_alpha=0.25) == ['', '']
    wait_for(lambda: graph.node._pipeline.newest.overlay_alpha == 0.25)
    graph.flow()
    assert [legend['version'] for legend in graph.legends] == [1]


def test_words_that_fail_to_encode_leave_the_old_ones_in_force(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert graph.set_atomically(vocabulary='unencodable', overlay_alpha=0.25) == ''
    failed = wait_for(lambda: [
        status for status in graph.statuses if 'out of memory' in status.message
    ] or graph.send(make_image()))
    assert failed[0].level == failed[0].WARN
    graph.flow()
    assert class_count(graph.labels[-1]) == len(WORDS)
    assert graph.node._pipeline.newest.overlay_alpha == 0.25
    assert graph.set_each(vocabulary='car, bus, tree') == ['']
    graph.stream(has_masks_of(graph, 3))
    assert graph.node._pipeline.fault == ''


def test_parameters_set_together_come_into_force_together(graph, tmp_path):
    graph.start(tmp_path).flow()
    graph.segmenter.may_encode.clear()
    reason = graph.set_atomically(vocabulary='a, b, c', crop=24, stride=16, logit_scale=50)
    assert reason == ''
    graph.flow()
    assert graph.node._pipeline.newest.settings == Settings()
    graph.segmenter.may_encode.set()
    graph.stream(has_masks_of(graph, 3))
    assert graph.node._pipeline._snapshot.settings == Settings(
        crop=24, stride=16, logit_scale=50.0)


STREET = Vocabulary.parse('@street').names
STRING = ParameterType.PARAMETER_STRING
STRINGS = ParameterType.PARAMETER_STRING_ARRAY


FORMS = [
    ({'type': STRINGS, 'string_array_value': ['road', 'car|truck']}, ['road', 'car']),
    ({'type': STRING, 'string_value': 'road, sky'}, ['road', 'sky']),
    ({'type': STRING, 'string_value': '[road, no, on]'}, ['road', 'no', 'on']),
    ({'type': STRING, 'string_value': 'background=sky|wall'}, ['background']),
    ({'type': STRING, 'string_value': "'road', 'sky'"}, ['road', 'sky']),
    ({'type': STRING, 'string_value': 'preset:street'}, list(STREET)),
    ({'type': STRING, 'string_value': 'indoor'}, ['indoor']),
    ({'type': STRING, 'string_value': '@street, lava'}, [*STREET, 'lava']),
]


def test_forms_of_a_vocabulary_that_are_accepted(graph, tmp_path, capfd):
    graph.start(tmp_path)
    for value, expected in FORMS:
        assert graph.set_value('vocabulary', **value) == (True, '')
        wait_for(lambda: graph.legends and names(graph.legends[-1]) == expected)
    # What no command of ros2 param could load again is held as a list that means the same.
    wait_for(lambda: graph.get('vocabulary') == ['@street', 'lava'])
    warned = capfd.readouterr().err
    assert warned.count("the vocabulary is the one word 'indoor'") == 1
    assert 'set it to preset:indoor' in warned


REFUSALS = [
    ('vocabulary', {'type': ParameterType.PARAMETER_BOOL_ARRAY}, 'empty'),
    ('vocabulary', {'type': ParameterType.PARAMETER_BYTE_ARRAY}, 'empty'),
    ('vocabulary', {'type': STRINGS}, 'empty'),
    ('vocabulary', {'type': STRING}, 'empty'),
    ('vocabulary', {'type': ParameterType.PARAMETER_NOT_SET}, 'unset'),
    ('vocabulary', {'type': ParameterType.PARAMETER_BOOL_ARRAY,
                    'bool_array_value': [False, True]}, 'quote'),
    ('vocabulary', {'type': ParameterType.PARAMETER_INTEGER_ARRAY,
                    'integer_array_value': [1, 2]}, 'quote'),
    ('vocabulary', {'type': ParameterType.PARAMETER_DOUBLE, 'double_value': 1.5}, 'quote'),
    ('vocabulary', {'type': ParameterType.PARAMETER_BOOL, 'bool_value': True}, 'quote'),
    ('vocabulary', {'type': STRING, 'string_value': 'car, car'}, 'car'),
    ('vocabulary', {'type': STRING, 'string_value': '@indor'}, 'use @indoor'),
    ('vocabulary', {'type': STRING, 'string_value': 'x' * 500}, '100'),
    ('vocabulary', {'type': STRINGS, 'string_array_value': [f'w{i}' for i in range(256)]}, '255'),
    ('prompts', {'type': STRING, 'string_value': 'a photo'}, 'imagenet80'),
    ('prompts', {'type': STRING, 'string_value': '[a {}, 1]'}, 'quote'),
    ('vocabulary', {'type': STRING, 'string_value': 'one two three four five ' * 4},
     'shorten the query'),
    ('prompts', {'type': ParameterType.PARAMETER_BOOL_ARRAY}, 'imagenet80'),
    ('prompts', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 3}, 'imagenet80'),
    ('logit_scale', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': -1}, '1000'),
    ('logit_scale', {'type': STRING, 'string_value': 'high'}, 'number'),
    ('logit_scale', {'type': ParameterType.PARAMETER_DOUBLE, 'double_value': float('nan')},
     'nan'),
    ('unknown_threshold', {'type': ParameterType.PARAMETER_DOUBLE, 'double_value': 1.5}, '1.5'),
    ('unknown_threshold', {'type': ParameterType.PARAMETER_BOOL, 'bool_value': True}, 'number'),
    ('inference', {'type': STRING, 'string_value': 'fast'}, 'slide or whole'),
    ('short_side', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': -1}, '-1'),
    ('short_side', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 4}, 'patch'),
    ('crop', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 33}, 'patch'),
    ('stride', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 64}, 'gaps'),
    ('lazy', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 1}, 'true or false'),
    ('crop', {'type': ParameterType.PARAMETER_DOUBLE, 'double_value': 32.0}, 'whole number'),
    ('inference', {'type': ParameterType.PARAMETER_BOOL, 'bool_value': True}, 'slide or whole'),
    ('lazy', {'type': ParameterType.PARAMETER_NOT_SET}, 'unset'),
    ('autostart', {'type': ParameterType.PARAMETER_BOOL, 'bool_value': False}, 'read-only'),
    ('model', {'type': STRING, 'string_value': 'demo'}, 'cleanup'),
    ('device', {'type': STRING, 'string_value': 'cuda'}, 'cleanup'),
    ('precision', {'type': STRING, 'string_value': 'bf16'}, 'cleanup'),
    ('attention', {'type': STRING, 'string_value': 'vanilla'}, 'cleanup'),
    ('threads', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 1}, 'cleanup'),
    ('reuse_threshold', {'type': ParameterType.PARAMETER_DOUBLE, 'double_value': -0.5}, '-0.5'),
    ('reuse_frames', {'type': ParameterType.PARAMETER_INTEGER, 'integer_value': 0}, '1000'),
    ('vocabluary', {'type': STRING, 'string_value': 'road'}, 'declared'),
]


def test_refused_changes_give_a_reason_and_change_nothing(graph, tmp_path):
    graph.start(tmp_path).flow()
    config = graph.node._config
    for name, value, reason in REFUSALS:
        before = graph.get(name) if name != 'vocabluary' else None
        successful, given = graph.set_value(name, **value)
        assert not successful, (name, value)
        assert reason in given, (name, value, given)
        if name != 'vocabluary':
            assert graph.get(name) == before
    graph.flow()
    assert graph.node._config == config
    assert class_count(graph.labels[-1]) == len(WORDS)
    assert [legend['version'] for legend in graph.legends] == [1]


def test_one_refused_member_refuses_an_atomic_set(graph, tmp_path):
    graph.start(tmp_path).flow()
    assert 'gaps' in graph.set_atomically(vocabulary='a, b, c', stride=64)
    graph.flow()
    assert class_count(graph.labels[-1]) == len(WORDS)
    assert graph.get('vocabulary') == WORDS


def test_another_callback_may_still_refuse(graph, tmp_path):
    from rcl_interfaces.msg import SetParametersResult
    graph.start(tmp_path).flow()
    graph.node.add_on_set_parameters_callback(
        lambda _: SetParametersResult(successful=False, reason='not today'))
    assert graph.set_each(vocabulary='a, b, c') == ['not today']
    graph.flow()
    assert class_count(graph.labels[-1]) == len(WORDS)
