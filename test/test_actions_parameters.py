"""Parameters of the node that names actions, to one checked configuration."""

from csa_ros.actions.choices import METHODS
from csa_ros.actions.choices import PROMPTS
from csa_ros.model.text import TEMPLATES
from csa_ros.parameters.actions import NAMES
from csa_ros.parameters.actions import PARAMETERS
from csa_ros.parameters.actions_config import read_actions_config
from csa_ros.parameters.actions_config import with_actions
from csa_ros.parameters.errors import ParameterError
from csa_ros.ros.descriptors import declarations
import pytest

DEFAULTS = {item.name: item.default for item in PARAMETERS}


def read_with(**values):
    return read_actions_config({**DEFAULTS, **values})


def test_defaults_name_nothing_and_watch_one_camera():
    config = read_with()
    assert (config.actions, config.prompts, config.action_name, config.examples) == (
        (), PROMPTS, '', None)
    assert (config.threshold, config.window, config.max_rate) == (0.5, 2.0, 0.0)
    assert (config.camera.name, config.camera.image, config.transport) == ('', 'image', 'raw')
    assert config.model.to_load == {
        'model': 'ViT-B-16-quickgelu/openai', 'device': 'auto', 'precision': 'auto',
        'method': 'clip-fsar', 'weights': ''}
    assert set(config.loaded) <= {*NAMES} - {'actions'}
    assert all(item.loaded for item in PARAMETERS if item.name in config.loaded)


def test_every_parameter_is_described_in_a_sentence():
    assert len(set(NAMES)) == len(NAMES)
    for name, _, descriptor in declarations(PARAMETERS):
        assert descriptor.name == name
        assert descriptor.description[0].isupper() and descriptor.description.endswith('.')


@pytest.mark.parametrize('value', [
    'waving, pointing at it', ['waving', 'pointing at it'], "[waving, 'pointing at it']"])
def test_forms_of_actions(value):
    assert read_with(actions=value).actions == ('waving', 'pointing at it')
    assert with_actions(value, ['nodding']) == ['waving', 'pointing at it', 'nodding']


@pytest.mark.parametrize('value', ['', [], '[]'])
def test_no_actions(value):
    assert read_with(actions=value).actions == ()


def test_prompts_may_be_an_ensemble():
    assert read_with(prompts='simple').prompts == TEMPLATES['simple']


@pytest.mark.parametrize('name, value', [
    ('actions', 'a, a'), ('actions', 'a, A'), ('actions', 'None'), ('actions', ['']),
    ('actions', [1]), ('actions', 'a|b'), ('actions', True),
    ('actions', [f'a{number}' for number in range(101)]),
    ('action_name', 'none'), ('action_name', 'a=b'), ('action_name', 3), ('prompts', 'a'),
    ('prompts', []), ('threshold', 1.1), ('window', 0.1), ('window', 61), ('method', 'dtw'),
    ('method_weights', '~no such user/x'), ('precision', 'int8'), ('image_topic', 'a, b'),
    ('image_topic', 'a b'), ('transport', 'theora'), ('max_rate', -1.0),
    *[(name, None) for name in NAMES]])
def test_refusals_name_the_parameter(name, value):
    with pytest.raises(ParameterError, match=name):
        read_with(**{name: value})


def test_every_method_is_a_choice():
    item, = (item for item in PARAMETERS if item.name == 'method')
    assert item.choices == tuple(METHODS)
