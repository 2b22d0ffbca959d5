"""Parameter files, read as a node reads them."""

from pathlib import Path
import re

from csa_ros.parameters.config import read_config_file
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.file import read_file
from csa_ros.parameters.file import read_files
from csa_ros.ros.node import SegmentNode
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import reject
from hypothesis import settings
from hypothesis import strategies as st
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

NAMES = ('segment', 'robot/segment', 'robot/arm/segment')
SECTIONS = (
    'segment', '/segment', '/**', '/*', '"*"', '"**"', '/robot/segment', 'robot/segment',
    '/robot/*', '/*/segment', '/**/segment', '/robot/**', '/other', '/robot/arm/*')
# What YAML and rcl may see with different eyes.
SCALARS = (
    'true', 'Yes', 'on', 'OFF', 'n', 'y', 'tRue', '~', 'null', 'none', '5', '-5', '+5', '010',
    '08', '0x1F', '-0x1f', '1_000', '1:30', '0o17', '9223372036854775807', '9223372036854775808',
    '5e-1', '5.', '.5', '-.5', '1e3', '1.5e+3', '1e400', '1e-400', '1e-310', '.inf', '-.Inf',
    '+.INF', '.nan', '.NaN', '.Nan', 'inf', 'nan', 'infinity', '0x1p3', '1d3', '5 ', '2024-01-31',
    'sky', "'5'", '"5"', "''", '""', "'on'", '!!str 5', '!!str on', '!!int "5"', '!!float 5',
    '!!bool no', "'it''s'", '"\\u00e9"', 'é', '', '@street', '-', '&a 5', '*a')


@pytest.fixture(scope='module')
def context():
    context = Context()
    rclpy.init(context=context)
    yield context
    context.shutdown()


def from_node(path, name, context):
    """Return the parameters of a node that was given the file, None if it does not start."""
    namespace, _, base = name.rpartition('/')
    try:
        node = Node(
            base, namespace=namespace, context=context,
            cli_args=['--ros-args', '--params-file', str(path)], start_parameter_services=False,
            enable_rosout=False)
    except Exception as error:
        assert 'params file' in str(error) or 'ROS arguments' in str(error), error
        return None
    try:
        return {key: item.value for key, item in node._parameter_overrides.items()}
    finally:
        node.destroy_node()


def from_file(path, name):
    """Return what we read, None if the file is refused as a node refuses it."""
    try:
        return read_file(path, name)
    except ParameterError as error:
        assert str(path) in str(error)
        if 'is set again' in str(error):
            reject()
        return {} if 'has no parameters for a node' in str(error) else None


def shown(values):
    """Return values such that equal types, signs and NaN are equal, and nothing else is."""
    return values if values is None else {name: repr(value) for name, value in values.items()}


def agree(path, name, context):
    # With a namespace the name is that of one node.
    full = name if '/' in name else f'/{name}'
    assert shown(from_file(path, full)) == shown(from_node(path, name, context))


TEXT = st.one_of(
    st.sampled_from([text for text in SCALARS if text != '1:30']), st.integers().map(str),
    st.floats().map(repr),
    st.text('0123456789+-._eExXpPabinfINFyY~', max_size=8))
LISTS = st.lists(TEXT, max_size=3).map(lambda items: f'[{", ".join(items)}]')
PARAMETERS = st.lists(st.tuples(st.sampled_from(['a', 'b', 'c.d', '"e"', 'f', 'g']), TEXT | LISTS),
                      min_size=1, max_size=3)


@st.composite
def files(draw):
    lines = []
    for name in draw(st.lists(st.sampled_from(SECTIONS), min_size=1, max_size=4)):
        indent = ''
        if draw(st.booleans()) and re.fullmatch(r'/?\w+/[\w*]+', name):
            namespace, _, name = name.rpartition('/')
            lines.append(f'{namespace}:')
            name, indent = (f'"{name}"' if '*' in name else name), '  '
        lines += [f'{indent}{name}:', f'{indent}  ros__parameters:']
        for key, value in draw(PARAMETERS):
            if draw(st.booleans()):
                lines.append(f'{indent}    {key}: {value}')
            else:
                # A name is either a parameter's or a namespace's, or rcl itself loses one.
                lines += [f'{indent}    of_{len(key)}:', f'{indent}      {key}: {value}',
                          f'{indent}      z: 1']
    return '\n'.join(lines) + '\n'


@given(files(), st.sampled_from(NAMES))
@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_the_node_reads_the_same(tmp_path, context, text, name):
    path = tmp_path / 'node.yaml'
    path.write_text(text)
    agree(path, name, context)


@pytest.mark.parametrize('text', SCALARS)
@pytest.mark.parametrize('form', ['a: {}', 'a: [{}]', 'a:\n      - {}', 'a: [x, {}]'])
def test_values_are_those_of_the_node(tmp_path, context, text, form):
    if '[' in form and text == '1:30':
        pytest.skip('libyaml 0.1, which the wheels have, refuses a colon here; 0.2 takes it')
    path = tmp_path / 'node.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n    b: 1\n    {form.format(text)}\n')
    agree(path, 'segment', context)


ORDERS = [('segment', '/**'), ('/**', 'segment'), ('/segment', 'segment'), ('/*', '/**'),
          ('/**', '/segment', '/**'), ('/**/segment', '/*')]


@pytest.mark.parametrize('sections', ORDERS, ids=' '.join)
def test_of_several_sections_the_last_counts_as_for_the_node(tmp_path, context, sections):
    path = tmp_path / 'node.yaml'
    path.write_text(''.join(
        f'{name}:\n  ros__parameters: {{logit_scale: {scale}e-1, max_rate: {scale}}}\n'
        for scale, name in enumerate(sections, 5)))
    node = SegmentNode(context=context, cli_args=['--ros-args', '--params-file', str(path)])
    try:
        running = node._config
    finally:
        node.destroy_node()
    config, ignored = read_config_file(path, 'segment', {})
    assert not ignored
    assert config == running
    places = list(dict.fromkeys(sections))
    last = max(index for index, name in enumerate(sections, 5) if name == places[-1])
    assert (config.settings.logit_scale, config.max_rate) == (last / 10, last)


@pytest.mark.parametrize('text', [
    'segment: {ros__parameters: {refine: off, lazy: no, prompts: simple}}',
    '/**: {ros__parameters: {vocabulary: [sky, "on", "5"], mask_classes: ["on"]}}',
    'segment: {ros__parameters: {crop: 0x40, stride: 010, unknown_threshold: .5}}',
    '"*": {ros__parameters: {logit_scale: 5, cameras: [front, rear/left], reuse_frames: +3}}',
])
def test_the_configuration_is_that_of_the_node(tmp_path, context, text):
    path = tmp_path / 'node.yaml'
    path.write_text(text)
    node = SegmentNode(context=context, cli_args=['--ros-args', '--params-file', str(path)])
    try:
        assert read_config_file(path, 'segment', {}) == (node._config, [])
    finally:
        node.destroy_node()


def test_a_bare_name_stands_for_the_namespace_in_the_file(tmp_path):
    path = tmp_path / 'node.yaml'
    path.write_text('/robot/segment: {ros__parameters: {a: 1}}\n'
                    '/robot/*: {ros__parameters: {b: 2}}\n'
                    '/other/*: {ros__parameters: {b: 3}}\n')
    assert read_file(path, 'segment') == {'a': 1, 'b': 2}
    assert read_file(path, 'other/segment') == read_file(path, '/other/segment') == {'b': 3}


def test_a_bare_name_that_stands_for_two_nodes_is_refused(tmp_path):
    path = tmp_path / 'node.yaml'
    path.write_text('/rear/segment: {ros__parameters: {a: 1}}\n'
                    'front/segment: {ros__parameters: {a: 2}}\n')
    with pytest.raises(ParameterError, match='for /front/segment and /rear/segment: say which is '
                                             'meant with --name, such as --name front/segment'):
        read_file(path, 'segment')
    assert read_file(path, 'rear/segment') == {'a': 1}


@pytest.mark.parametrize('text, reason', [
    ('', 'has no parameters for a node called segment; put them under'),
    ('/robot/other: {ros__parameters: {a: 1}}', r'called segment \(it has /robot/other\)'),
    ('/**: {ros__parameters: {a: [1, x]}}', "line 1: a has 1 and 'x', which are of two types"),
    ('/**: {ros__parameters: {a: [1, 2.5]}}', 'write all as numbers with a point'),
    ('/**: {ros__parameters: {a: [[1]]}}', 'a holds a list or a mapping'),
    ('/**: {ros__parameters: {a: {}}}', 'a has no value'),
    ('/**:\n  ros__parameters:\n    a:\n', "line 3: a has no value; write '' for an empty"),
    ('/**:\n  ros__parameters:\n', r'ros__parameters of /\*\* are no mapping'),
    ('/**: {ros__parameters: {"": 1}}', 'a name is missing before the colon'),
    ('/**: {ros__parameters: {a: &x 1, b: *x}}', 'ROS has no aliases'),
    ('/**: {ros__parameters: {a: 1, a: x}}', "a of /.. is 1 and is set again, to 'x' of another"),
    ('a: 1', 'line 1: a has no ros__parameters'),
    ('/**: {a: 1}', r'line 1: /\*\* has no ros__parameters; indent them below it'),
    ('segment:\n', 'line 1: segment has no ros__parameters'),
    ('[1]', 'has no parameters for a node called segment; put them under'),
    ('/**: {ros__parameters: {a: 1}, b: {ros__parameters: {a: 2}}}', 'has something beside'),
    ('my-node: {ros__parameters: {a: 1}}', "'my-node' is no name of a node"),
    ('seg*: {ros__parameters: {a: 1}}', "'seg[*]' is no name of a node"),
    ('ros__parameters: {a: 1}', "'' is no name of a node"),
    ('[' * 10**4, 'cannot be read'),
    ('{', 'cannot be read'),
    ('\0', 'cannot be read'),
])
def test_what_a_node_would_not_start_with_is_refused_with_the_place(tmp_path, text, reason):
    path = tmp_path / 'node.yaml'
    path.write_text(text)
    with pytest.raises(ParameterError, match=reason) as refusal:
        read_file(path, 'segment')
    assert str(path) in str(refusal.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / 'node.yaml'
    path.write_bytes(b'/**: \xff')
    for wrong in (path, tmp_path, tmp_path / 'none.yaml'):
        with pytest.raises(ParameterError, match='cannot be read'):
            read_file(wrong, 'segment')


def test_files_of_this_package_are_read():
    folder = Path(__file__).parents[1] / 'config'
    for path in (folder / 'segment.yaml', folder / 'demo.yaml',
                 *(folder / 'vocabularies').glob('*.yaml')):
        config, ignored = read_config_file(path, 'segment', {})
        assert not ignored and config.vocabulary


@pytest.mark.parametrize('texts', [
    ['/**: {ros__parameters: {a: 1, b: 1}}', 'segment: {ros__parameters: {a: 2}}',
     '/**: {ros__parameters: {a: 3, b: 3}}'],
    ['/**: {ros__parameters: {a: 1}}', '/**: {ros__parameters: {a: 2}}'],
    ['segment: {ros__parameters: {a: 1}}', '/**: {ros__parameters: {a: 2}}'],
    ['/other: {ros__parameters: {a: 1}}', '"*": {ros__parameters: {a: 2}}'],
    ['/other: {ros__parameters: {a: 1}}'],
])
def test_several_files_are_read_as_a_node_reads_them(tmp_path, context, texts):
    paths = [tmp_path / f'{number}.yaml' for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    arguments = [item for path in paths for item in ('--params-file', str(path))]
    node = Node('segment', context=context, cli_args=['--ros-args', *arguments],
                start_parameter_services=False, enable_rosout=False)
    found = {key: item.value for key, item in node._parameter_overrides.items()}
    node.destroy_node()
    assert read_files(paths, '/segment') == found
