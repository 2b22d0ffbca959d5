"""The short prompt ensembles: what they are, and how close they come to the 80 templates."""

from csa_ros.bench.agreement import compare
from csa_ros.demo.scenes import CLASSES
from csa_ros.evaluation import prompts
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import templates
from csa_ros.parameters.config import read_config
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.table import PARAMETERS
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import pytest
import torch
from towers import make_backbone

SHORT = ('imagenet7', 'robot8')


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return Segmenter.load('demo', 'cpu', cache_dir=tmp_path_factory.mktemp('cache'))


@pytest.mark.parametrize('name', SHORT)
def test_short_ensembles_are_some_of_the_eighty(name):
    ensemble = templates(name)
    assert len(ensemble) == len(set(ensemble)) == int(name[-1])
    assert set(ensemble) < set(TEMPLATES['imagenet80'])


def test_imagenet7_is_what_openai_selected():
    assert templates('imagenet7') == (
        'itap of a {}.', 'a bad photo of the {}.', 'a origami {}.', 'a photo of the large {}.',
        'a {} in a video game.', 'art of the {}.', 'a photo of the small {}.')


def test_a_robots_camera_takes_photos():
    assert all(' photo of ' in template for template in templates('robot8'))


def test_the_parameter_and_its_error_name_every_ensemble():
    parameter, = (item for item in PARAMETERS if item.name == 'prompts')
    values = {item.name: item.default for item in PARAMETERS}
    with pytest.raises(ParameterError) as refusal:
        read_config({**values, 'prompts': 'robot9'})
    for name in TEMPLATES:
        assert name in parameter.constraints
        assert repr(name) in str(refusal.value)
        assert read_config({**values, 'prompts': name}).prompts == TEMPLATES[name]


def test_short_ensembles_label_streets_as_the_eighty_do(demo):
    """So does a single sentence, by a model that has learned from all of them."""
    vocabulary = Vocabulary.parse(CLASSES)
    ways = {key: lambda rgb, words=demo.encode(vocabulary, key): demo.segment(rgb, words).labels
            for key in TEMPLATES}
    found = compare(ways['imagenet80'], ways, range(40, 42), (160, 120))
    for name in SHORT:
        assert found[name]['equal'] > 0.999


def test_robot8_is_closer_to_the_eighty_than_others_for_a_word_it_was_not_chosen_by(demo):
    vocabulary = Vocabulary.parse(['harbour crane', 'forklift', 'snow', 'puddle', 'gate', 'dog'])
    reference = demo.encode(vocabulary).features
    found = {name: prompts.distance(demo.encode(vocabulary, name).features, reference)
             for name in TEMPLATES}
    assert 0 < found['robot8'] < found['simple'] / 4
    assert found['imagenet80'] == 0


def test_distance_is_a_share_and_ignores_what_words_have_in_common():
    reference = torch.eye(3)
    assert prompts.distance(reference + 5, reference) == pytest.approx(0, abs=1e-12)
    assert prompts.distance(torch.zeros(3, 3), reference) == pytest.approx(1)
    assert prompts.distance(1.5 * reference, reference) == pytest.approx(0.25)


def test_all_words_are_those_of_the_presets():
    words = prompts.all_words()
    assert len(words) == len(set(words)) > 300
    assert {'sky', 'traffic cone', 'sofa'} <= set(words)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Let the measurement take a tiny tower, three words and one round."""
    segmenter = Segmenter(make_backbone(), cache_dir=tmp_path)
    monkeypatch.setattr(prompts, 'all_words', lambda: ['road', 'sky', 'traffic light'])
    monkeypatch.setattr(prompts, 'ROUNDS', 1)
    monkeypatch.setattr(prompts, 'SIZE', (64, 48))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(Segmenter, 'load', lambda *_: segmenter)


def test_table_has_every_ensemble(few, capsys):
    assert prompts.main(['--scenes', '1']) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split('`')[1] for row in rows] == list(TEMPLATES)
    cells = [cell.strip() for cell in rows[0].split('|')[1:-1]]
    assert header.count('|') == len(cells) + 1
    assert cells[1:6] == ['80', '1.00', '0.0000', '1.0000', '100.00%']


def test_features_alone_need_no_streets(few, capsys):
    assert prompts.main(['--scenes', '0']) == 0
    assert 'mIoU' not in capsys.readouterr().out


def test_bad_arguments_are_explained(capsys):
    with pytest.raises(SystemExit):
        prompts.main(['--scenes', '-1'])
    assert 'at least 0' in capsys.readouterr().err
    assert prompts.main(['--model', 'no/model', '--scenes', '0']) == 1
    assert "no architecture 'no'" in capsys.readouterr().err
