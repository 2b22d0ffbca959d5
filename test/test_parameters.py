"""Parameter values to one checked configuration."""

from csa_ros import choices
from csa_ros.model.attention.methods import ATTENTION
from csa_ros.model.backbone import PRECISIONS
from csa_ros.model.text import TEMPLATES
from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.config import read_config
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.loadable import loadable
from csa_ros.parameters.table import LOADED
from csa_ros.parameters.table import NAMES
from csa_ros.parameters.table import PARAMETERS
from csa_ros.ros.descriptors import declarations
from csa_ros.settings import Settings
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
import yaml

DEFAULTS = {item.name: item.default for item in PARAMETERS}


def read_with(**values):
    return read_config({**DEFAULTS, **values})


def test_defaults_are_the_contract():
    config = read_config(DEFAULTS)
    assert config.settings == Settings()
    assert config.vocabulary == Vocabulary.parse(DEFAULT_VOCABULARY)
    assert config.prompts == TEMPLATES['imagenet80']
    assert vars(config.model) == {
        'model': 'ViT-B-16-quickgelu/openai', 'device': 'auto', 'precision': 'auto',
        'attention': 'auto', 'residual': 'auto', 'threads': 0}
    assert (config.overlay_alpha, config.overlay_legend, config.max_rate, config.lazy) == (
        0.5, True, 0.0, True)


def test_every_parameter_is_described_in_a_sentence():
    for name, _, descriptor in declarations():
        assert descriptor.name == name
        assert descriptor.description[0].isupper() and descriptor.description.endswith('.')


def test_ranges_are_shown_to_tools():
    descriptors = {name: descriptor for name, _, descriptor in declarations()}
    assert descriptors['overlay_alpha'].floating_point_range[0].to_value == 1.0
    assert descriptors['crop'].integer_range[0].from_value == 0
    assert descriptors['autostart'].read_only
    assert 'unconfigured' in descriptors['model'].additional_constraints


@pytest.mark.parametrize('value', [50, 50.0])
def test_an_integer_is_a_number(value):
    assert read_with(logit_scale=value).settings.logit_scale == 50.0


def test_zero_pixels_are_the_models_own():
    settings = read_with(short_side=0, crop=64, stride=0).settings
    assert (settings.short_side, settings.crop, settings.stride) == (None, 64, None)


def test_reuse_goes_into_the_settings():
    settings = read_with(reuse_threshold=2, reuse_frames=10).settings
    assert (settings.reuse_threshold, settings.reuse_frames) == (2.0, 10)


@pytest.mark.parametrize('value, expected', [
    ('off', 'off'), (False, 'off'), ('pamr', 'pamr'), ('pamr-output', 'pamr-output')])
def test_off_may_arrive_as_what_yaml_makes_of_it(value, expected):
    assert read_with(refine=value).settings.refine == expected


def test_threads_are_no_argument_of_load():
    config = read_with(threads=3)
    assert config.model.threads == 3
    assert config.model.to_load == {
        'model': 'ViT-B-16-quickgelu/openai', 'device': 'auto', 'precision': 'auto',
        'attention': 'auto', 'residual': 'auto'}


@pytest.mark.parametrize('value, expected', [
    ('simple', TEMPLATES['simple']),
    (['simple'], TEMPLATES['simple']),
    ('a {}', ('a {}',)),
    (['a {}', 'the {}'], ('a {}', 'the {}')),
])
def test_forms_of_prompts(value, expected):
    assert read_with(prompts=value).prompts == expected


@pytest.mark.parametrize('name, value', [
    ('prompts', []), ('prompts', ['a']), ('prompts', ['simple', 'a {}']), ('prompts', 3),
    ('vocabulary', []), ('vocabulary', ''), ('vocabulary', True), ('vocabulary', [b'a']),
    ('logit_scale', -0.5), ('denoise', 1.5), ('logit_scale', float('inf')), ('logit_scale', True),
    ('overlay_alpha', 1.01), ('max_rate', -1.0), ('crop', 10**6), ('crop', True),
    ('threads', -1), ('threads', 257), ('threads', 1.0), ('reuse_threshold', -1.0),
    ('reuse_threshold', 255.5), ('reuse_frames', 0), ('reuse_frames', 1001),
    ('cameras', 'front,'), ('cameras', ['front', 'front']), ('cameras', [1]),
    ('cameras', '/front'), ('cameras', 'my camera'), ('cameras', '1st'), ('cameras', '[front'),
    ('cameras', '[[a], b]'), ('cameras', 'a//b'), ('cameras', 'a/'), ('cameras', 'a{node}'),
    ('cameras', '_a'), ('cameras', 'a/1'), ('cameras', 'é'), ('cameras', 'a-b'),
    ('cameras', '[' * 10**4),
    ('cameras', [f'camera{i}' for i in range(17)]), ('cameras', '{node}'),
    ('transport', 'theora'), ('points_layout', 'sparse'), ('depth_slop', -0.1),
    ('mask_classes', 'lava'), ('mask_classes', ['road', 'road']), ('mask_classes', 5),
    ('attention', 'cs'), ('residual', 'yes'), ('precision', 'fp8'), ('lazy', 'yes'),
    ('refine', 'crf'), ('refine', True),
    *[(name, None) for name in NAMES],
])
def test_refusals_name_the_parameter(name, value):
    with pytest.raises(ParameterError, match=name):
        read_with(**{name: value})


@pytest.mark.parametrize('value', ['', [], '  ', '[]'])
def test_no_names_are_one_camera_without_a_name_and_no_mask(value):
    config = read_with(cameras=value, mask_classes=value)
    assert config.cameras == (CameraTopics('', 'image', 'depth', 'camera_info'),)
    assert config.mask_classes == ()


@pytest.mark.parametrize('value', [
    'front, rear/left', '[front, rear/left]', ['front', 'rear/left'], ' front,rear/left ',
    "'front', 'rear/left'", '"front, rear/left"', ["'front'", 'rear/left']])
def test_forms_of_names(value):
    assert [camera.name for camera in read_with(cameras=value).cameras] == ['front', 'rear/left']


@given(st.text('aZ_09/~{}-é. ', max_size=8))
def test_names_of_cameras_are_names_of_topics(name):
    try:
        camera, = read_config({**DEFAULTS, 'cameras': [name]}).cameras
    except ParameterError:
        return
    for topic in f'/{camera.image}', f'/segment/{camera.name}/labels':
        validate_full_topic_name(topic)


def topics_of(cameras, **topics):
    return [(camera.image, camera.depth, camera.camera_info)
            for camera in read_with(cameras=cameras, **topics).cameras]


def test_topics_without_patterns_are_below_the_names():
    assert topics_of('') == [('image', 'depth', 'camera_info')]
    assert topics_of('front, rear/left') == [
        ('front/image', 'front/depth', 'front/camera_info'),
        ('rear/left/image', 'rear/left/depth', 'rear/left/camera_info')]


@pytest.mark.parametrize('cameras, value, expected', [
    ('', '/camera/color/image_raw', ['/camera/color/image_raw']),
    ('', ['image_raw'], ['image_raw']),
    ('', '~/image', ['~/image']),
    ('front', '/robot/front/image_raw', ['/robot/front/image_raw']),
    ('front, left', '{camera}/color/image_raw', ['front/color/image_raw', 'left/color/image_raw']),
    ('front, left', '/{camera}/{camera}/image', ['/front/front/image', '/left/left/image']),
    ('front, left', '/camera_{camera}/image', ['/camera_front/image', '/camera_left/image']),
    ('front, left', '{camera}', ['front', 'left']),
    ('front, rear/left', '/{camera}/image', ['/front/image', '/rear/left/image']),
    ('front, left', '/a/image_raw, /b/image', ['/a/image_raw', '/b/image']),
    ('front, left', ['/{camera}/image_raw', '/usb_cam/image_raw'],
     ['/front/image_raw', '/usb_cam/image_raw']),
    ('front, left', "['/{camera}/image_raw', /usb_cam/image_raw]",
     ['/front/image_raw', '/usb_cam/image_raw']),
    ('front, left', '/{camera:zed}/node/image', ['/front/node/image', '/left/node/image']),
    ('', '/{camera:zed}/{camera:node}/image', ['/zed/node/image']),
    ('', '{camera:}/image', ['/image']),
    ('', '/{camera:a/b}/image', ['/a/b/image']),
    ('front, left', [], ['front/image', 'left/image']),
])
@pytest.mark.parametrize('kind', ['image', 'depth', 'camera_info'])
def test_patterns_of_topics(kind, cameras, value, expected):
    found = read_with(cameras=cameras, **{f'{kind}_topic': value}).cameras
    defaults = [topic.replace('/image', f'/{kind}') for topic in expected]
    assert [getattr(camera, kind) for camera in found] == (expected if value else defaults)


@pytest.mark.parametrize('cameras, value, reason', [
    ('front, left', '/camera/image', 'front and left the same topic, /camera/image.*put {camera}'),
    ('front, left', ['/front/x', '/{camera}/x', '/x'], '3 topics, but cameras has 2 names'),
    ('', '/front/image, /left/image', '2 topics, but cameras has no names'),
    ('front, left', ['/front/image', '/{camera}/image', '/x'], 'one for each camera'),
    ('front, left', ['/left/image', '/{camera}/image'], 'front and left the same topic'),
    ('', '/{camera}/image', r'no name to put for {camera}: name them, as in cameras: \[front'),
    ('front', '/{cam}/image', 'cannot have {cam}, only {camera}'),
    ('front', '/{Camera}/image', 'cannot have {Camera}'),
    ('front', '/{ camera }/image', 'cannot have { camera }'),
    ('front', '/{}/image', 'cannot have {}'),
    ('front', '/{camera/image', 'cannot have {camera/image'),
    ('front', '/camera}/image', 'cannot have }'),
    ('front', '/{ns}/{camera}', 'cannot have {ns}'),
    ('front', '/{cam:zed}/image', 'cannot have {cam:zed}'),
    ('', '/{camera:zed}/{camera}', 'no name to put for {camera}'),
    ('', '/{camera:}/image', "'//image' is no name of a topic"),
    ('', '/{camera:1st}/image', "'/1st/image' is no name of a topic"),
    ('front, left', ['/{camera:a}/x', '/front/x'], 'front and left the same topic'),
    ('', '{node}/image', 'cannot have {node}'),
    ('', '/camera//image', "'/camera//image' is no name of a topic"),
    ('', '/camera/', 'is no name of a topic'), ('', '/', 'is no name of a topic'),
    ('', '/1camera/image', 'is no name of a topic'), ('', '~image', 'is no name of a topic'),
    ('', 'my camera/image', 'is no name of a topic'), ('', 'bild/größe', 'is no name of a topic'),
    ('front', '1{camera}/image', "'1front/image' is no name of a topic"),
    ('', 'a' * 231, '231 characters, more than 230'),
    ('', 5, 'must be a list of names'), ('', [True], 'must be a list of names'),
    ('front, left', '/{camera}/image,', 'empty name'),
    ('front, left', ['/a', '/a'], "'/a' 2 times"),
])
@pytest.mark.parametrize('kind', ['image', 'depth', 'camera_info'])
def test_refusals_of_topics(kind, cameras, value, reason):
    with pytest.raises(ParameterError, match=f'{kind}_topic.*{reason}'):
        topics_of(cameras, **{f'{kind}_topic': value})


@given(st.text('aZ_09/~{:}-é. ', max_size=8), st.sampled_from(['', 'front', 'rear/_left2']))
def test_topics_are_valid_in_ros(pattern, camera):
    try:
        (topic, *_), = topics_of(camera, image_topic=pattern.replace('Z', '{camera:a}'))
    except ParameterError:
        return
    validate_full_topic_name(expand_topic_name(topic, 'segment', '/robot'))


def test_names_that_yaml_takes_for_booleans_arrive_as_text():
    assert read_with(vocabulary='on, off', mask_classes='[on, off]').mask_classes == ('on', 'off')


@pytest.mark.parametrize('value, bits', [
    ('auto', 'auto'), ('stretch', 'stretch'), (12, '12'), ('12', '12'), (16, '16')])
def test_sensor_bits_may_be_numbers(value, bits):
    assert read_with(sensor_bits=value).sensor_bits == bits


@pytest.mark.parametrize('value', [7, 17, '7', 12.0, True, 'full', ''])
def test_other_sensor_bits_are_refused(value):
    with pytest.raises(ParameterError, match=r'sensor_bits is .*: (use auto or 8|it must be)'):
        read_with(sensor_bits=value)


@pytest.mark.parametrize('value', ["'road', 'sky'", '"road", sky', ["'road'", "'sky'"]])
def test_mask_classes_may_stand_in_quotes(value):
    assert read_with(mask_classes=value).mask_classes == ('road', 'sky')


def read_again(text):
    """Return what rclpy.parameter.get_parameter_value guesses of the text of a value."""
    try:
        read = yaml.safe_load(text)
    except yaml.parser.ParserError:
        return text
    mixed = isinstance(read, list) and not all(isinstance(item, str) for item in read)
    return text if read is None or mixed else read


@pytest.mark.parametrize('name, value', [
    *(('vocabulary', value) for value in (
        '@indoor', 'preset:indoor', '@indoor, suitcase', "'road', 'sky'", '"road", sky', 'no', '1',
        'road, car|truck', 'a: b', '2026-11-26', 'rock, %', '`tick`', 'stuff=sky|wall', '*, car',
        '[road, no]', '5" pipe', "driver's seat", ['@indoor', 'no', '1'], ['road'])),
    ('mask_classes', ''), ('mask_classes', 'on'), ('mask_classes', "'on', road"),
    ('cameras', 'off'), ('cameras', "'front', 'on'"), ('cameras', ['on', 'off']),
    ('prompts', 'simple'), ('prompts', '{} in the street.'), ('prompts', ['a {}: close by']),
])
def test_words_mean_the_same_after_dump_and_load(name, value):
    def meaning(given):
        return read_with(**{'vocabulary': ['road', 'on', 'sky'], name: given})

    held = loadable(value)
    assert loadable(held) == held
    # As ros2 param does it: the value becomes YAML, which is read, and its text is read again.
    read = yaml.safe_load(yaml.dump({'ros__parameters': {name: held}}))['ros__parameters'][name]
    assert meaning(read_again(str(read))) == meaning(held) == meaning(value)


def test_mask_class_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match=r"'raod'.*did you mean 'road'.*sky, road, pavement"):
        read_with(mask_classes='raod')


def test_vocabulary_cannot_take_the_mask_its_class():
    with pytest.raises(ParameterError, match="mask_classes has 'road'.*Set mask_classes to ''"):
        read_with(mask_classes='road', vocabulary='sky, tree')


def test_what_is_loaded_is_what_says_so():
    assert tuple(read_config(DEFAULTS).loaded) == LOADED


ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2**63, 2**63 - 1), st.floats(), st.text(max_size=20),
    st.lists(st.booleans(), max_size=3), st.lists(st.integers(), max_size=3),
    st.lists(st.floats(), max_size=3), st.lists(st.text(max_size=9), max_size=3),
    st.lists(st.binary(min_size=1, max_size=1), max_size=3))


@given(st.dictionaries(st.sampled_from(NAMES), ODD_VALUES))
def test_whatever_comes_is_read_or_refused(values):
    try:
        config = read_with(**values)
    except ParameterError:
        return
    assert 1 <= len(config.vocabulary) <= 255
    assert all('{}' in template for template in config.prompts)
    assert 1 <= len(config.cameras) <= 16


# What YAML, and so `ros2 param set`, makes of bare words and numbers.
@pytest.mark.parametrize('value, shown', [
    (True, 'true, as YAML reads yes, on and y: use '),
    (False, 'false, as YAML reads no, off and n: use '),
    (0, '0: use '), (1.5, '1.5: use '), (['a'], "['a']: use ")], ids=str)
@pytest.mark.parametrize('item', [item for item in PARAMETERS if isinstance(item.default, str)
                                  and not item.words], ids=lambda item: item.name)
def test_a_text_that_is_none_is_answered_with_the_choices(item, value, shown):
    if value is False and 'off' in item.choices:
        assert item.check(value) == 'off'
        return
    with pytest.raises(ParameterError) as caught:
        read_with(**{item.name: value})
    assert f'{item.name} is {shown}' in str(caught.value)
    assert all(choice in str(caught.value) for choice in item.choices or [item.constraints])


def test_choices_are_the_names_of_what_there_is():
    assert choices.ATTENTIONS == tuple(ATTENTION)
    assert choices.PRECISIONS == tuple(PRECISIONS)
    assert choices.ENSEMBLES == tuple(TEMPLATES)
